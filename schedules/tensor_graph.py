"""A group as tensors: buffers of its interface, and the expression of any of its elements.

Templates write loops and ask ``read(value, indices)`` for what a call computes there: the
operators' tensor expressions, inlined. A template that computes the anchor itself says so
with ``known[anchor output]`` = how to read its register tile. What a chain keeps in scratch on
the way is stored ``into`` an array, and ``held`` there for what reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tvm_ffi
from tvm.ir import Call as CallExpr

from armlet.compiler.ir import Call, Const, Value
from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import te, tirx
from armlet.compiler.ops.vector_math import EXPANSIONS

from .emit import Array, Code


def stored(dtype: str) -> str:
    """How a dtype lies in memory: a bool is a byte."""
    return "uint8" if dtype == "bool" else dtype


def immediate(value: Const) -> Any:
    """A constant of one element as an expression."""
    item = value.data.ravel()[0].item()
    return tirx.const(item, value.type.dtype)


def _converted(tensor: Any, dtype: str) -> Any:
    if tensor.dtype == dtype:
        return tensor
    return te.compute(tensor.shape, lambda *i: tensor(*i).astype(dtype), name="converted")


def _filled(value: Value) -> Any:
    assert isinstance(value, Const)
    return te.compute(value.type.static_shape, lambda *_: immediate(value), name="immediate")


class TensorGraph:
    def __init__(self, group: Group, code: Any = None) -> None:
        """``code`` is what the kernel is written with, a ``Code`` unless it is given."""
        self.group = group
        self.code = code or Code()
        names = [f"p{i}" for i in range(len(group.inputs))]
        self.arrays: dict[Value, Array] = {
            v: Array(v.type.static_shape, stored(v.type.dtype), n)
            for v, n in zip([*group.inputs, group.output], [*names, "out"], strict=True)
        }
        self.known: dict[Value, Callable[..., Any]] = {}
        #: as ``known``, of stages within the anchor, by their tensor operation
        self.staged: dict[Any, Callable[..., Any]] = {}
        self._calls: dict[Value, Call] = {v: c for c in group.calls for v in c.outputs}
        #: what ``store`` stores
        self._sink: Value = group.output
        #: whether indices have divisions to cancel: it takes time
        self.simplifies = False
        #: the places that were read or stored since this was cleared, if they are simplified
        self.places: list[Any] = []
        #: the call of an epilogue that puts each element somewhere else
        self._placing = next((c for c in group.calls[1:] if c.op.name == "depth_to_space"), None)
        self._may_bind = True
        self._readers = Counter(v for c in group.calls for v in set(c.operands))
        self._stages: dict[Call, tuple[dict[Any, Value], Sequence[Any]]] = {}

    @property
    def out(self) -> Array:
        """Where the output goes."""
        return self.arrays[self.group.output]

    def function(self) -> Any:
        """The PrimFunc of the code written so far."""
        order = [*self.group.inputs, self.group.output]
        return self.code.function([self.arrays[v] for v in order])

    def read(self, value: Value, indices: Sequence[Any]) -> Any:
        """The element of a value at ``indices``."""
        if value in self.known:
            return self.known[value](*indices)
        if value in self._calls:
            return self._called(value, indices)
        if value in self.arrays:
            array = self.arrays[value]
            loaded = tirx.BufferLoad(array.buffer, [self._place(array, indices)])
            return loaded != 0 if value.type.dtype == "bool" else loaded
        assert isinstance(value, Const)
        return immediate(value)

    def _called(self, value: Value, indices: Sequence[Any]) -> Any:
        """As ``read``, of a call's output; named where several calls read it."""
        call = self._calls[value]
        shared = self._readers[value] > 1 and self._may_bind
        key = (value, tvm_ffi.structural_hash([tirx.convert(i) for i in indices]))
        if shared and key in self.code.named:
            return self.code.named[key]
        element = self.inline(self.stage(call)[1][call.outputs.index(value)], indices, call)
        if shared:
            element = self.code.named[key] = self.code.bind(element)
        return element

    def lies(self, value: Value) -> Array:
        """Where a value's elements are: in its own array, or in that of what it is cast from."""
        return self.arrays[self._calls[value].operands[0] if value in self._calls else value]

    def store(self, *indices: Any) -> None:
        """Stores the element of the output at ``indices``, as the group's calls say.

        With an anchor, ``indices`` are those of its output.
        """
        out, call = self.arrays[self._sink], self._placing
        places = indices
        if call is not None and self.group.anchor is not None and self._sink is self.group.output:
            (x,), op = call.operands, call.op
            element = self.read(x, indices)
            self.known[call.output] = lambda *_: element
            places = op.place(indices, x.type)  # type: ignore[attr-defined]
        value = self.read(self._sink, places).astype(stored(self._sink.type.dtype))
        self.code.store_at(out, self._place(out, places), value)

    def transcendental(self) -> bool:
        """Whether ``store`` computes a function that is many instructions long."""
        waiting = [self._sink]
        while waiting:
            value = waiting.pop()
            if value in self._calls and value not in self.known:
                call = self._calls[value]
                if any(
                    intrinsics(t.op.body[t.value_index]) & EXPANSIONS.keys()
                    for t in self.stage(call)[1]
                ):
                    return True
                waiting += call.operands
        return False

    @contextmanager
    def into(self, value: Value, array: Array) -> Iterator[None]:
        """``store`` stores ``value`` into ``array`` meanwhile."""
        outer, self._sink = self._sink, value
        self.arrays[value] = array
        yield
        self._sink = outer

    @contextmanager
    def held(self, value: Value) -> Iterator[None]:
        """Meanwhile ``value`` is read from the array that it was stored into."""
        call = self._calls.pop(value)
        yield
        self._calls[value] = call

    def _choice(self, node: Any, mutator: Any) -> Any:
        """An ``if_then_else``: one branch only, where the loops' ranges decide it."""
        condition = self.code.simple(mutator.mutate(node.args[0]))
        taken = branch_of(condition)
        if taken:
            return mutator.mutate(node.args[taken])
        return tirx.if_then_else(condition, *map(mutator.mutate, node.args[1:]))

    def _place(self, array: Array, indices: Sequence[Any]) -> Any:
        place = array.at(indices)
        if self.simplifies:
            place = self.code.simple(place)
            self.places.append(place)
        return place

    def compose(self) -> list[Any]:
        """The whole group as TE tensors: the inputs, then the output."""
        inputs = [
            te.placeholder(
                v.type.static_shape, stored(v.type.dtype), name=self.arrays[v].buffer.name
            )
            for v in self.group.inputs
        ]
        made: dict[Value, Any] = {
            v: _converted(t, v.type.dtype) for v, t in zip(self.group.inputs, inputs, strict=True)
        }
        for call in self.group.calls:
            for value in call.operands:
                if value not in made:
                    made[value] = _filled(value)
            outputs = call.op.compute(*(made[v] for v in call.operands))  # type: ignore[attr-defined]
            outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
            made.update(zip(call.outputs, outputs, strict=True))
        out = self.group.output
        return [*inputs, _converted(made[out], stored(out.type.dtype))]

    def stage(self, call: Call) -> tuple[dict[Any, Value], Sequence[Any]]:
        """A call's tensor expression by itself: {placeholder's operation: operand}, outputs."""
        if call not in self._stages:
            inputs = [te.placeholder(v.type.static_shape, v.type.dtype) for v in call.operands]
            made = call.op.compute(*inputs)  # type: ignore[attr-defined]
            outputs = made if isinstance(made, (tuple, list)) else [made]
            names = {t.op: v for t, v in zip(inputs, call.operands, strict=True)}
            self._stages[call] = names, outputs
        return self._stages[call]

    def inline(self, tensor: Any, indices: Sequence[Any], call: Call) -> Any:
        """The element of a stage of ``call`` at ``indices``."""
        operands = self.stage(call)[0]
        if tensor.op in operands:
            return self.read(operands[tensor.op], indices)
        if tensor.op in self.staged:
            return self.staged[tensor.op](*indices)
        axes, body = tensor.op.axis, tensor.op.body[tensor.value_index]
        if isinstance(body, tirx.Reduce):
            raise TypeError(f"{tensor.op.name} is a reduction and cannot be inlined")
        at = {a.var: tirx.convert(i) for a, i in zip(axes, indices, strict=True)}
        return self.substitute(body, at, call)

    def substitute(self, body: Any, at: dict[Any, Any], owner: Call) -> Any:
        """An expression of a stage with variables replaced, and loads by what they load.

        What is loaded twice gets a name, or a chain of calls would double at every link. Not
        under a condition, which may be what keeps an index within its bounds.
        """
        loads, guarded = _loads(body)
        outer, self._may_bind = self._may_bind, self._may_bind and not guarded
        bound: dict[Any, Any] = {}

        def variable(var: Any, mutator: Any) -> Any:
            return at.get(var, var)

        def call(node: Any, mutator: Any) -> Any:
            if node.op.name == "tirx.isnan":
                return is_nan(mutator.mutate(node.args[0]))
            if node.op.name == "prim.if_then_else" and self.simplifies:
                return self._choice(node, mutator)
            if node.op.name != "te.tensor_load":
                return mutator.default_mutate(node)
            key = _element(node)
            if key not in bound:
                tensor, *indices = node.args
                value = self.inline(tensor, [mutator.mutate(i) for i in indices], owner)
                known = isinstance(value, (tirx.IntImm, tirx.FloatImm))
                if key is None or loads[key] < 2 or not self._may_bind or known:
                    return value
                bound[key] = self.code.bind(value)
            return bound[key]

        try:
            return tvm_ffi.structural_mutate(body, [(tirx.Var, variable), (CallExpr, call)])
        finally:
            self._may_bind = outer


def branch_of(condition: Any) -> int | None:
    """Which branch a simplified condition takes: 1 or 2, if it is known."""
    return 1 + (not condition.value) if isinstance(condition, tirx.IntImm) else None


def is_nan(x: Any) -> Any:
    """By the bits: TVM does not vectorise its own ``isnan``, and folds ``x != x``."""
    if str(x.expr_ty()) != "float32":
        return tirx.isnan(x)
    bits = tirx.reinterpret("int32", x)
    return (bits & tirx.const(0x7FFFFFFF, "int32")) > tirx.const(0x7F800000, "int32")


def intrinsics(body: Any) -> set[str]:
    """The intrinsics that an expression calls."""
    found: set[str] = set()

    def call(node: Any, visitor: Any) -> None:
        found.add(str(node.op.name))
        for argument in node.args[node.op.name == "te.tensor_load" :]:
            visitor.visit(argument)

    tvm_ffi.structural_visit(body, [(CallExpr, call)])
    return found


def _element(load: Any) -> tuple[Any, int] | None:
    """Which element of which tensor a load reads; None where an index is itself loaded."""
    tensor, *indices = load.args
    if any(_loads(i)[0] for i in indices):
        return None
    return tensor.op, tvm_ffi.structural_hash(indices)


def _loads(body: Any) -> tuple[dict[Any, int], bool]:
    """How often each element is loaded, and whether there is a condition."""
    found: dict[Any, int] = {}
    guarded = False

    def call(node: Any, visitor: Any) -> None:
        nonlocal guarded
        if node.op.name == "te.tensor_load":
            key = _element(node)
            found[key] = found.get(key, 0) + 1
        else:
            guarded |= node.op.name == "prim.if_then_else"
        for argument in node.args[node.op.name == "te.tensor_load" :]:
            visitor.visit(argument)

    tvm_ffi.structural_visit(body, [(CallExpr, call)])
    return found, guarded
