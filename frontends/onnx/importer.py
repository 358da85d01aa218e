"""The walk over a model's nodes: each becomes calls, constants, or a problem; none stops it."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

import onnx

from armlet.compiler.ir import Const, Value, Var
from armlet.errors import ModelFileError
from armlet.frontends.operands import FreeDimension, Operand, Symbolic, Unsupported
from armlet.frontends.report import Status
from armlet.frontends.walk import NotReached, Poison, Walk

from . import reader
from .attributes import attribute_value
from .definitions import body_of, has_body
from .inputs import declared_shape, parameter_dtype
from .node import Node
from .normalize import RENAMED, STEPS, normalize
from .refused import reason_for
from .registry import HANDLERS, Handler
from .symbolic import EVALUATORS, is_arithmetic
from .tensors import NARROW, Tensors

#: subgraphs and functions inside one another
MAX_DEPTH = 64


class _MissingOutput(Unsupported):
    """A handler does not make an output that something reads."""


#: what a name stands for; an initialiser becomes a constant when it is first read
Entry = Union[Operand, Poison, onnx.TensorProto, None]


@dataclass(frozen=True)
class Frame:
    """Where a node stands: the names it sees, the opsets and function around it."""

    names: ChainMap[str, Entry]
    opsets: Mapping[str, int]
    #: attributes of the call of the function that the node is in
    attributes: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    depth: int = 0


class Importer(Walk):
    """Imports one model; ``run`` once."""

    def __init__(self, model: onnx.ModelProto, path: Path, shapes: Mapping[str, Sequence[int]]):
        initial = {t.name for t in model.graph.initializer}
        self.inputs = [i for i in model.graph.input if i.name not in initial]
        super().__init__(path, {i.name: declared_shape(i) for i in self.inputs}, shapes)
        self.model = model
        self.tensors = Tensors(path)
        self.functions = {(reader.domain(f.domain), f.name): f for f in model.functions}
        self._read_names = set(_names_read(model))
        #: values of less than a byte each -> their data type
        self.narrow: dict[Value, int] = {}

    def run(self) -> None:
        graph = self.model.graph
        self._check_interface(graph)
        names: ChainMap[str, Entry] = ChainMap()
        for info in self.inputs:
            names[info.name] = self._parameter(info)
        frame = Frame(names, reader.opsets(self.model))
        self._graph(graph, frame)
        for output in graph.output:
            self.result(output.name, self._resolve(frame, output.name))

    def output_names(self) -> tuple[str, ...]:
        return tuple(o.name for o in self.model.graph.output)

    def metadata(self) -> dict[str, Any]:
        model = self.model
        return {
            "format": "onnx",
            "ir_version": model.ir_version,
            "opset": {domain or "ai.onnx": v for domain, v in reader.opsets(model).items()},
            "producer": f"{model.producer_name} {model.producer_version}".strip(),
            "graph": model.graph.name,
            "properties": {p.key: p.value for p in model.metadata_props},
        }

    # -- the interface ----------------------------------------------------------------------------

    def _check_interface(self, graph: onnx.GraphProto) -> None:
        if not graph.output:
            raise ModelFileError("the graph has no outputs", where=str(self.path))
        for what, names in (
            ("input", [i.name for i in graph.input]),
            ("output", [o.name for o in graph.output]),
        ):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice or "" in names:
                fault = f"{twice[0]!r} is listed twice" if twice else "one has no name"
                raise ModelFileError(f"{what}s of the graph: {fault}", where=str(self.path))

    def _parameter(self, info: onnx.ValueInfoProto) -> Entry:
        try:
            dtype = parameter_dtype(info)
        except Unsupported as error:
            self.problem("input", info.name, "", error)
            return Poison(info.name)
        return self._noted(self.parameter(info.name, dtype), info.type.tensor_type.elem_type)

    def _noted(self, value: Entry, data_type: int) -> Entry:
        if data_type in NARROW and isinstance(value, (Var, Const)):
            self.narrow[value] = data_type
        return value

    # -- graphs -----------------------------------------------------------------------------------

    def _graph(self, graph: onnx.GraphProto, frame: Frame) -> None:
        """Walks a graph; its names end up in the frame."""
        own, outer = frame.names.maps[0], frame.names.parents
        for tensor in graph.initializer:
            known = own.get(tensor.name)
            if isinstance(known, onnx.TensorProto) and known != tensor:
                raise ModelFileError(
                    f"initialiser {tensor.name!r} is given twice", where=str(self.path)
                )
            own[tensor.name] = tensor
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            self.problem("initialiser", name, "", Unsupported("sparse tensors are not supported"))
            own[name] = Poison(name)
        wanted = [o.name for o in graph.output]
        for node in reader.ordered(graph.node, own.keys(), outer, wanted, str(self.path)):
            self._node(node, frame)

    def subgraph(self, graph: onnx.GraphProto, frame: Frame) -> list[Entry]:
        """The outputs of a branch, whose nodes see the names around it."""
        inner = self._inner(frame.names.new_child(), frame, frame.opsets, frame.prefix)
        self._graph(graph, inner)
        return [self._resolve(inner, o.name) for o in graph.output]

    def _function(self, function: onnx.FunctionProto, node: Node, frame: Frame) -> list[Entry]:
        """The outputs of a call of one of the model's own functions."""
        names: ChainMap[str, Entry] = ChainMap()
        for index, name in enumerate(function.input):
            # an input that is not given is the empty value, as "" is
            names[name] = node.operand(index)
        attributes = {**self._attributes(function.attribute_proto, frame), **node.attributes}
        opsets = reader.opsets(function)
        inner = self._inner(names, frame, opsets, f"{node.source}/", attributes)
        own, where = set(function.input), str(self.path)
        wanted = [name if o else "" for name, o in zip(function.output, node.outputs)]
        for member in reader.ordered(function.node, own, (), filter(None, wanted), where):
            self._node(member, inner)
        return [self._resolve(inner, name) if name else None for name in wanted]

    def _inner(
        self,
        names: ChainMap[str, Entry],
        frame: Frame,
        opsets: Mapping[str, int],
        prefix: str,
        attributes: Mapping[str, Any] | None = None,
    ) -> Frame:
        if frame.depth >= MAX_DEPTH:
            raise ModelFileError("subgraphs or functions lie too deep", where=str(self.path))
        within = frame.attributes if attributes is None else attributes
        return Frame(names, opsets, within, prefix, frame.depth + 1)

    def _resolve(self, frame: Frame, name: str) -> Operand | Poison | None:
        entry = frame.names[name]
        if not isinstance(entry, onnx.TensorProto):
            return entry
        resolved: Const | Poison
        try:
            resolved = Const(name, self.tensors.array(entry))
            self.emitter.claim(resolved, frame.prefix + name, frame.depth)
            self._noted(resolved, entry.data_type)
        except Unsupported as error:
            self.problem("initialiser", name, "", error)
            resolved = Poison(name)
        home = next(m for m in frame.names.maps if name in m)
        home[name] = resolved
        return resolved

    # -- nodes ------------------------------------------------------------------------------------

    def _node(self, proto: onnx.NodeProto, frame: Frame) -> None:
        source = frame.prefix + reader.node_name(proto)
        emitter = self.emitter
        emitter.source, emitter.stem = source, next(filter(None, proto.output), source)
        start = len(emitter.calls)
        outputs: Sequence[Entry]
        try:
            outputs, reason = self._outputs(proto, frame, source)
            status, reason = self.fate(start, outputs, reason)
            if proto.op_type == "Constant" and proto.attribute[0].HasField("t"):
                self._noted(outputs[0], proto.attribute[0].t.data_type)
        except NotReached as error:
            outputs, status = [Poison(error.culprit)] * len(proto.output), Status.NOT_REACHED
            reason = f"reads a result of {error.culprit!r}"
        except Unsupported as error:
            del emitter.calls[start:]
            self.problem(proto.op_type, source, self._version(proto, frame), error)
            outputs, status = [Poison(source)] * len(proto.output), Status.UNSUPPORTED
            reason = error.reason
        self.told(source, proto.op_type, status, reason)
        for name, value in zip(proto.output, outputs):
            if name:
                frame.names[name] = value
                if isinstance(value, (Var, Const)):
                    emitter.claim(value, frame.prefix + name, frame.depth)

    def _outputs(
        self, proto: onnx.NodeProto, frame: Frame, source: str
    ) -> tuple[Sequence[Entry], str]:
        """What a node computes, and a remark for the report."""
        domain = reader.domain(proto.domain)
        key = domain, proto.op_type
        function = self.functions.get(key)
        handler = HANDLERS.get((domain, RENAMED.get(proto.op_type, proto.op_type)))
        body = function is not None or key == ("", "If") or has_body(key, frame.opsets)
        if handler is None and not body:
            raise reason_for(domain, proto.op_type)
        resolved = [self._resolve(frame, i) if i else None for i in proto.input]
        attributes = self._attributes(proto.attribute, frame)
        culprits = [v.culprit for v in resolved if isinstance(v, Poison)]
        if culprits:
            if handler is not None:
                self._check_version(handler, proto, frame)
                if handler.operator not in STEPS:
                    handler.bind_attributes(attributes)
            raise NotReached(culprits[0])
        version = frame.opsets.get(domain, 1)
        operands = [v for v in resolved if not isinstance(v, Poison)]
        outputs = list(proto.output)
        if key == ("", "QuantizeLinear") and operands[-1] in self.narrow:
            # the type of the result is that of the zero point
            attributes.setdefault("output_dtype", self.narrow[operands[-1]])  # type: ignore[index]
        node = Node(proto.op_type, domain, version, source, operands, outputs, attributes)
        if function is not None:
            return self._function(function, node, frame), f"function {proto.op_type} of the model"
        if handler is not None:
            self._check_version(handler, proto, frame)
            try:
                return self._handled(node), ""
            except _MissingOutput:
                if not has_body(key, frame.opsets):
                    raise
        elif key == ("", "If"):
            return self._if(node, frame)
        return self._function(body_of(proto, node), node, frame), "by ONNX's own definition"

    def _handled(self, node: Node) -> Sequence[Operand]:
        """The outputs by the operator's handler."""
        try:
            node = normalize(node, self.emitter)
            if node.operator in EVALUATORS and is_arithmetic(node):
                outputs: tuple[Any, ...] = (EVALUATORS[node.operator](self.emitter, node),)
            else:
                outputs = HANDLERS[node.domain, node.operator](self.emitter, node)
                outputs = (node.finish(outputs[0]), *outputs[1:])
        except (TypeError, ValueError, IndexError, ArithmeticError, MemoryError) as error:
            raise Unsupported(str(error) or type(error).__name__) from error
        for name in node.outputs[len(outputs) :]:
            if name and name in self._read_names:
                index = node.outputs.index(name)
                raise _MissingOutput(f"output {index} ({name}) is read, but not supported")
        return outputs

    def _if(self, node: Node, frame: Frame) -> tuple[Sequence[Entry], str]:
        """The branch that a condition known at compile time takes."""
        condition = node.operand(0)
        if isinstance(condition, Symbolic):
            raise FreeDimension("its condition depends on", condition.free)
        if not isinstance(condition, Const):
            raise Unsupported(
                "its condition is computed from the model's input; "
                "only conditions known at compile time are supported",
                way_out="export the model without data-dependent control flow",
            )
        taken = "then_branch" if condition.data.reshape(-1)[:1].all() else "else_branch"
        branch = node.attributes.get(taken)
        if not isinstance(branch, onnx.GraphProto):
            raise Unsupported("the branch is missing", attribute=taken)
        return self.subgraph(branch, frame), f"{taken} is taken"

    def _attributes(self, protos: Iterable[onnx.AttributeProto], frame: Frame) -> dict[str, Any]:
        """Attributes by name; one may refer to the call of the function around it."""
        found = {}
        for proto in protos:
            if not proto.ref_attr_name:
                found[proto.name] = attribute_value(proto, self.tensors)
            elif proto.ref_attr_name in frame.attributes:
                found[proto.name] = frame.attributes[proto.ref_attr_name]
        return found

    def _check_version(self, handler: Handler, proto: onnx.NodeProto, frame: Frame) -> None:
        version = frame.opsets.get(handler.domain)
        if version is None:
            raise Unsupported("the model does not import the operator's opset")
        if version < handler.since and handler.operator == proto.op_type:
            raise Unsupported(
                f"the operator came with opset {handler.since}; the model declares {version}"
            )

    def _version(self, proto: onnx.NodeProto, frame: Frame) -> str:
        domain = reader.domain(proto.domain)
        version = frame.opsets.get(domain)
        return f"{domain or 'ai.onnx'} {version}" if version is not None else domain


def _names_read(model: onnx.ModelProto) -> Iterator[str]:
    """Every name that some node or graph output of the model reads."""
    yield from (o.name for o in model.graph.output)
    for function in model.functions:
        yield from function.output
    members = [*model.graph.node, *(n for f in model.functions for n in f.node)]
    while members:
        node = members.pop()
        yield from node.input
        for graph in reader.subgraphs(node):
            yield from (o.name for o in graph.output)
            members.extend(graph.node)
