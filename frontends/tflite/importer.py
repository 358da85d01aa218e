"""The walk over a model's operators: each becomes calls, constants, or a problem; none stops it."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np

from armlet.compiler.ir import Const, Value, Var
from armlet.compiler.ir.names import transposed_name
from armlet.errors import ModelFileError
from armlet.frontends.inputs import Declared
from armlet.frontends.operands import Operand, Unsupported
from armlet.frontends.report import Status
from armlet.frontends.walk import NotReached, Poison, Walk

from .integer.convert import MOVES
from .integer.scales import is_quantised
from .model import Graph, ModelFile, Operator, Tensor
from .refused import reason_for
from .registry import DECLARED, HANDLERS, INTEGERS, Handler
from .tensors import array_of, dtype_of
from .variables import OPERATORS, Handle, Variables

#: graphs inside one another
MAX_DEPTH = 64

#: what an index of a tensor stands for, once it is read or made
Entry = Union[Operand, Poison, Handle, None]


class Scope:
    """The values of one graph's tensors; ``prefix`` and ``depth`` tell where it is."""

    def __init__(self, graph: Graph, prefix: str = "", depth: int = 0) -> None:
        self.graph, self.prefix, self.depth = graph, prefix, depth
        self.values: dict[int, Entry] = {}


class Importer(Walk):
    """Imports one model; ``run`` once."""

    def __init__(self, model: ModelFile, path: Path, shapes: Mapping[str, Sequence[int]]) -> None:
        inputs = [model.main.tensors[i] for i in model.main.inputs]
        self.inputs = dict(zip(model.input_names(), inputs))
        super().__init__(path, {n: _declared(t) for n, t in self.inputs.items()}, shapes)
        self.model = model
        self.variables = Variables()

    def run(self) -> None:
        graph = self.model.main
        scope = Scope(graph)
        for index, (name, tensor) in zip(graph.inputs, self.inputs.items()):
            try:
                scope.values[index] = self.parameter(name, dtype_of(tensor))
            except Unsupported as error:
                self.problem("input", name, "", error)
                scope.values[index] = Poison(name)
        self._graph(scope)
        for index, name in zip(graph.outputs, self.model.output_names()):
            self.result(name, self._resolve(scope, index))
        self.params += self.variables.inputs.values()
        for name, kept in self.variables.kept().items():
            self.result(kept.output, self.variables.now[name])
            first = "zero" if not kept.start.any() else f"{kept.start.reshape(-1)[0]} at first"
            self.shapes.notes.append(
                f"variable {name!r} is an input, {first}, and {kept.output!r} its next value"
            )

    def output_names(self) -> tuple[str, ...]:
        kept = self.variables.kept().values()
        return (*self.model.output_names(), *(v.output for v in kept))

    def metadata(self) -> dict[str, Any]:
        found = {"format": "tflite", "producer": self.model.description}
        return {**found, "variables": self.variables.kept()}

    # -- graphs -----------------------------------------------------------------------------------

    def _graph(self, scope: Scope) -> None:
        for place, operator in enumerate(scope.graph.operators):
            self._operator(operator, scope, place)

    def _branch(
        self, index: int, operands: Sequence[Value], scope: Scope, what: str
    ) -> list[Value]:
        """The outputs of another graph of the model on these operands."""
        if not 0 <= index < len(self.model.graphs):
            raise Unsupported(f"graph {index} of {len(self.model.graphs)} is named", attribute=what)
        if scope.depth >= MAX_DEPTH:
            raise ModelFileError("graphs call one another too deeply", where=str(self.path))
        graph = self.model.graphs[index]
        if len(graph.inputs) != len(operands):
            raise Unsupported(
                f"graph {index} takes {len(graph.inputs)} values, not {len(operands)}"
            )
        inner = Scope(graph, f"{scope.prefix}{what}/", scope.depth + 1)
        inner.values.update(zip(graph.inputs, operands))
        self._graph(inner)
        found = [self._resolve(inner, i) for i in graph.outputs]
        for value in found:
            if isinstance(value, Poison):
                raise NotReached(value.culprit)
        return found  # type: ignore[return-value]

    def _resolve(self, scope: Scope, index: int) -> Entry:
        """What a tensor stands for; a constant of the file is made when it is first read."""
        if index not in scope.values:
            tensor = scope.graph.tensors[index]
            try:
                scope.values[index] = self._alone(tensor, scope)
            except Unsupported as error:
                name = scope.prefix + tensor.name
                self.problem("tensor", name, "", error)
                scope.values[index] = Poison(name)
        return scope.values[index]

    def _alone(self, tensor: Tensor, scope: Scope) -> Const:
        if tensor.data is not None:
            found = Const(tensor.name, array_of(tensor, self.path))
        else:
            # a variable: its first value is zero
            self.shapes.notes.append(f"variable {tensor.name!r} is zero at the start of every run")
            found = Const(
                tensor.name, np.zeros([max(1, d) for d in tensor.shape], dtype_of(tensor))
            )
        self.emitter.claim(found, scope.prefix + tensor.name, scope.depth)
        return found

    # -- operators --------------------------------------------------------------------------------

    def _operator(self, operator: Operator, scope: Scope, place: int) -> None:
        made = [scope.graph.tensors[i] for i in operator.outputs]
        source = scope.prefix + next((t.name for t in made if t.name), f"{operator.kind}_{place}")
        emitter = self.emitter
        emitter.source = emitter.stem = source
        start = len(emitter.calls)
        outputs: Sequence[Entry]
        try:
            outputs = self._outputs(operator, scope)
            status, reason = self.fate(start, outputs, "")
        except NotReached as error:
            outputs, status = [Poison(error.culprit)] * len(made), Status.NOT_REACHED
            reason = f"reads a result of {error.culprit!r}"
        except Unsupported as error:
            del emitter.calls[start:]
            self.problem(operator.kind, source, f"version {operator.version}", error)
            outputs, status = [Poison(source)] * len(made), Status.UNSUPPORTED
            reason = error.reason
        self.told(source, operator.kind, status, reason)
        for index, tensor, value in zip(operator.outputs, made, outputs):
            scope.values[index] = value
            self._claim(value, scope.prefix + tensor.name, scope.depth)

    def _claim(self, value: Entry, name: str, depth: int) -> None:
        """The value is tensor ``name``, and what it is a transposition of is called after it."""
        if not isinstance(value, (Var, Const)):
            return
        self.emitter.claim(value, name, depth)
        last = self.emitter.calls[-1] if self.emitter.calls else None
        if last is not None and last.op.name == "transpose" and last.output is value:
            back = tuple(np.argsort(last.op.perm).tolist())  # type: ignore[attr-defined]
            self.emitter.claim(last.operands[0], transposed_name(name, back), depth)

    def _outputs(self, operator: Operator, scope: Scope) -> Sequence[Entry]:
        if operator.kind in OPERATORS:
            return self._variable(operator, scope)
        handler = _handler(operator, scope.graph.tensors)
        operands = [self._resolve(scope, i) if i >= 0 else None for i in operator.inputs]
        culprits = [v.culprit for v in operands if isinstance(v, Poison)]
        if culprits:
            raise NotReached(culprits[0])
        try:
            if handler is None:
                return self._if(operator, operands, scope)
            return self._handled(handler, operator, operands, scope)
        except (
            TypeError, ValueError, IndexError, ArithmeticError, MemoryError, struct.error,
        ) as error:  # fmt: skip
            raise Unsupported(str(error) or type(error).__name__) from error

    def _handled(
        self, handler: Handler, operator: Operator, operands: list[Any], scope: Scope
    ) -> tuple[Entry, ...]:
        given = dict(operator.options)
        for name in set(given) - set(handler.attributes):
            # what the handler does not know must be left at its default
            if not given[name]:
                del given[name]
        tensors = scope.graph.tensors
        declared = {
            "inputs": tuple(tensors[i] for i in operator.inputs if i >= 0),
            "outputs": tuple(tensors[i] for i in operator.outputs),
        }
        given |= {name: declared[name] for name in DECLARED if name in handler.attributes}
        keywords = handler.bind_attributes(given)
        found = handler.function(self.emitter, *handler.bind_inputs(operands), **keywords)
        outputs = found if isinstance(found, tuple) else (found,)
        if len(outputs) != len(operator.outputs):
            raise Unsupported(f"it makes {len(outputs)} tensors, not {len(operator.outputs)}")
        return outputs

    def _variable(self, operator: Operator, scope: Scope) -> Sequence[Entry]:
        """What becomes of an operator on variables."""
        kind, options = operator.kind, operator.options
        if kind == "VAR_HANDLE":
            return [Handle(str(options.get("shared_name") or scope.prefix + "variable"))]
        if kind == "CALL_ONCE":
            self.variables.starting = True
            self._branch(options.get("init_subgraph_index", -1), [], scope, "once")
            self.variables.starting = False
            return []
        handle, *rest = (self._resolve(scope, i) for i in operator.inputs)
        if not isinstance(handle, Handle):
            raise Unsupported("its variable is not known at compile time")
        if kind == "READ_VARIABLE":
            return [self.variables.read(handle, scope.graph.tensors[operator.outputs[0]])]
        for value in rest:
            if isinstance(value, Poison):
                raise NotReached(value.culprit)
            name = scope.graph.tensors[operator.inputs[1]].name
            self.variables.assign(handle, value, name)  # type: ignore[arg-type]
        return []

    def _if(self, operator: Operator, operands: list[Any], scope: Scope) -> Sequence[Entry]:
        """Both branches, as nothing in them has an effect; the condition chooses a result."""
        condition, *rest = operands
        branches = []
        names = ("then_subgraph_index", "else_subgraph_index")
        for name in names:
            index = operator.options.get(name, -1)
            branches.append((index, name.partition("_")[0]))
        if isinstance(condition, Const):
            index, what = branches[0 if condition.data.all() else 1]
            return self._branch(index, rest, scope, what)
        source, stem = self.emitter.source, self.emitter.stem
        taken, other = (self._branch(i, rest, scope, what) for i, what in branches)
        self.emitter.source, self.emitter.stem = source, stem
        chosen = []
        for x, y in zip(taken, other, strict=True):
            if x.type != y.type:
                raise Unsupported(f"its branches give {x.type} and {y.type}")
            one = self.emitter.reshape(condition, (1,) * x.type.rank)
            chosen.append(self.emitter.call("where", one, x, y))
        return chosen


def _declared(tensor: Tensor) -> list[Declared]:
    return [None if d < 0 else d for d in tensor.shape]


def _handler(operator: Operator, tensors: Sequence[Tensor]) -> Handler | None:
    """None of IF, which the importer itself knows."""
    kind = operator.kind
    known = HANDLERS.get(kind)
    used = (tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0)
    quantised = next((t for t in used if is_quantised(t)), None)
    if quantised is not None and kind not in MOVES:
        known = INTEGERS.get(kind)
        if known is None and kind in HANDLERS:
            raise Unsupported(
                f"it is not supported for quantised tensors, as {quantised.name!r} is",
                way_out="keep this layer in float where the model is quantised",
            )
    if known is None and kind != "IF":
        raise reason_for(operator)
    return known
