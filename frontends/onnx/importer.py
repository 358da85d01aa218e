"""The walk over a model's nodes: each becomes calls, constants, or a problem; none stops it."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

import onnx

from armlet.compiler.ir import Const, Module, Value, Var
from armlet.errors import ModelFileError, UnsupportedModelError
from armlet.frontends.report import NodeReport, Problem, Report, Status, summary

from . import reader
from .attributes import attribute_value
from .definitions import body_of, has_body
from .emitter import Emitter
from .inputs import InputShapes, parameter_dtype
from .node import FreeDimension, Node, Operand, Symbolic, Unsupported
from .normalize import RENAMED, STEPS, normalize
from .refused import reason_for
from .registry import HANDLERS, Handler
from .symbolic import EVALUATORS, is_arithmetic
from .tensors import Tensors

#: subgraphs and functions inside one another
MAX_DEPTH = 64
#: nodes after functions are expanded
MAX_NODES = 1_000_000


class Poison:
    """The value of a tensor that could not be imported; ``culprit`` is the node at fault."""

    def __init__(self, culprit: str) -> None:
        self.culprit = culprit


class _NotReached(Exception):
    """A node reads what could not be imported."""

    def __init__(self, culprit: str) -> None:
        self.culprit = culprit


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


class Importer:
    """Imports one model. ``run`` once; ``nodes`` and ``problems`` tell what happened."""

    def __init__(self, model: onnx.ModelProto, path: Path, shapes: Mapping[str, Sequence[int]]):
        self.model, self.path = model, path
        self.tensors = Tensors(path)
        self.emitter = Emitter()
        self.nodes: list[NodeReport] = []
        self.problems: list[Problem] = []
        self.functions = {(reader.domain(f.domain), f.name): f for f in model.functions}
        initial = {t.name for t in model.graph.initializer}
        inputs = [i for i in model.graph.input if i.name not in initial]
        self.shapes = InputShapes(inputs, shapes, str(path))
        self._read_names = set(_names_read(model))
        self.params: list[Var] = []
        self.results: list[Value] = []

    def run(self) -> None:
        graph = self.model.graph
        self._check_interface(graph)
        names: ChainMap[str, Entry] = ChainMap()
        for info in self.shapes.inputs.values():
            names[info.name] = self._parameter(info)
        frame = Frame(names, reader.opsets(self.model))
        self._graph(graph, frame)
        for output in graph.output:
            found = self._resolve(frame, output.name)
            if isinstance(found, Symbolic):
                error = FreeDimension(f"output {output.name!r} depends on", found.free)
                self._problem("output", output.name, "", error)
            elif isinstance(found, (Var, Const)):
                self.results.append(found)

    def module(self) -> Module:
        """The imported model; only where there are no problems."""
        if self.problems:
            raise self._error()
        main = self.emitter.finish(self.params, self.results)
        return Module(main, tuple(o.name for o in self.model.graph.output), self._metadata())

    def report(self) -> Report:
        outputs = {}
        if not self.problems:
            names = (o.name for o in self.model.graph.output)
            outputs = {n: str(v.type) for n, v in zip(names, self.results)}
        return Report(
            str(self.path),
            tuple(self.nodes),
            tuple(self.problems),
            {p.name: str(p.type) for p in self.params},
            outputs,
            tuple(self.shapes.notes),
        )

    def _metadata(self) -> dict[str, Any]:
        model = self.model
        return {
            "format": "onnx",
            "ir_version": model.ir_version,
            "opset": {domain or "ai.onnx": v for domain, v in reader.opsets(model).items()},
            "producer": f"{model.producer_name} {model.producer_version}".strip(),
            "graph": model.graph.name,
            "properties": {p.key: p.value for p in model.metadata_props},
            "notes": list(self.shapes.notes),
        }

    def _error(self) -> UnsupportedModelError:
        return UnsupportedModelError(
            summary(self.problems), problems=self.problems, where=str(self.path)
        )

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
            self._problem("input", info.name, "", error)
            return Poison(info.name)
        param = Var(info.name, self.shapes.type(info, dtype))
        self.params.append(param)
        return param

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
            self._problem("initialiser", name, "", Unsupported("sparse tensors are not supported"))
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
        except Unsupported as error:
            self._problem("initialiser", name, "", error)
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
            status = self._status(start, outputs)
            if status is Status.DECOMPOSED and not reason:
                reason = "into " + ", ".join(c.op.name for c in emitter.calls[start:][:12])
        except _NotReached as error:
            outputs, status = [Poison(error.culprit)] * len(proto.output), Status.NOT_REACHED
            reason = f"reads a result of {error.culprit!r}"
        except Unsupported as error:
            del emitter.calls[start:]
            self._problem(proto.op_type, source, self._version(proto, frame), error)
            outputs, status = [Poison(source)] * len(proto.output), Status.UNSUPPORTED
            reason = error.reason
        self.nodes.append(NodeReport(source, proto.op_type, status, reason))
        if len(self.nodes) > MAX_NODES:
            raise ModelFileError(f"the model has more than {MAX_NODES} nodes", where=str(self.path))
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
            raise _NotReached(culprits[0])
        version = frame.opsets.get(domain, 1)
        operands = [v for v in resolved if not isinstance(v, Poison)]
        outputs = list(proto.output)
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

    def _status(self, start: int, outputs: Sequence[Entry]) -> Status:
        """How many calls a node became says what to call its fate."""
        if any(isinstance(v, Poison) for v in outputs):
            return Status.NOT_REACHED
        made = len(self.emitter.calls) - start
        return Status.FOLDED if made == 0 else Status.NATIVE if made == 1 else Status.DECOMPOSED

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

    def _problem(self, operator: str, node: str, version: str, error: Unsupported) -> None:
        way_out = error.way_out
        if isinstance(error, FreeDimension):
            way_out = self.shapes.way_out(error.names)
        self.problems.append(
            Problem(node, operator, version, error.reason, error.attribute, way_out)
        )


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
