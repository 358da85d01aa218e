"""Concatenations and slices that need no kernel, as views; copies where a concatenation needs one.

    %y = concat(%a, %x, %a) {axis=1}    ->    %x.1 = copy(%x)
    %s = slice(%y) {...}                      %a.1 = copy(%a)
                                              %y = concat_view(%a, %x.1, %a.1) {axis=1}
                                              %s = slice_view(%y) {...}

An operand's kernel can write into the result's buffer if nothing else decides where it
writes: parameters, constants, results, slices of other values and operands that have their
place already are copied. A concatenation of these alone stays a kernel, and so does a slice
that is a result. ``concat(a, b, c)`` after ``concat(a, b)`` takes that one for an operand.

It comes after ``select``, whose blocked concatenations are among them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from armlet.compiler.ir import Builder, Call, Function, Value
from armlet.compiler.ir.rewriter import names_of
from armlet.compiler.ops import Fusion, Op
from armlet.compiler.ops.elementwise import Copy
from armlet.compiler.ops.shape import Concat, Slice
from armlet.compiler.ops.views import ConcatView, SliceView, joins_whole, offset_of


@dataclass
class _Former:
    """The new function while it is made; values are those of the new one."""

    builder: Builder
    #: views and what they show the whole or a part of
    shown: dict[Value, Value] = field(default_factory=dict)
    #: values that a kernel of their own writes, wherever we like
    free: set[Value] = field(default_factory=set)
    #: results, and what they are reshapes of: kernels write them for the caller
    results: set[Value] = field(default_factory=set)
    #: the operands of each concatenation that became a view
    joined: dict[tuple[int, tuple[Value, ...]], Value] = field(default_factory=dict)

    def root(self, value: Value) -> Value:
        """The value whose bytes a whole view shows."""
        while value in self.shown:
            value = self.shown[value]
        return value

    def visit(self, call: Call) -> Call:
        op = call.op
        assert isinstance(op, Op)
        if type(op) is Concat and joins_whole(op, call.output.type):
            return self._concat(call, op)
        if type(op) is Slice and self._shows(call, op):
            return replace(call, op=SliceView(op.starts, op.sizes, op.steps))
        if op.fusion is Fusion.VIEW:
            self.shown[call.output] = call.operands[0]
        else:
            self.free.update(call.outputs)
        return call

    def _shows(self, call: Call, op: Slice) -> bool:
        inside = offset_of(op, call.operands[0].type) is not None
        return inside and call.output not in self.results

    def _concat(self, call: Call, op: Concat) -> Call:
        axis = op.axis % call.output.type.rank
        operands = self._shared(axis, call.operands)
        taken: set[Value] = set()
        fits = []
        for value in operands:
            root = self.root(value)
            fits.append(root in self.free - self.results - taken)
            taken.add(root)
        if not any(fits):
            self.free.add(call.output)
            return call
        placed = tuple(
            v if fit else self.builder.call(Copy(), v, name=v.name, source=call.source)
            for v, fit in zip(operands, fits)
        )
        self.free.difference_update(taken)
        self.free.add(call.output)
        self.joined[axis, operands] = call.output
        return replace(call, op=ConcatView(axis), operands=placed)

    def _shared(self, axis: int, operands: tuple[Value, ...]) -> tuple[Value, ...]:
        """The operands with the longest leading ones that are joined already as one."""
        for count in range(len(operands) - 1, 1, -1):
            whole = self.joined.get((axis, operands[:count]))
            if whole is not None:
                return self._shared(axis, (whole, *operands[count:]))
        return operands


def _result_roots(function: Function) -> set[Value]:
    """The results, and what they are reshapes of."""
    found: set[Value] = set(function.results)
    for call in reversed(function.bindings):
        if call.op.fusion is Fusion.VIEW and call.output in found:  # type: ignore[attr-defined]
            found.update(call.operands)
    return found


def run(function: Function) -> Function:
    former = _Former(Builder(names_of(function)), results=_result_roots(function))
    for call in function.bindings:
        former.builder.bindings.append(former.visit(call))
    return former.builder.function(function.params, function.results, function.name)
