"""Let operators see the tensor before a transposition, so that transpositions meet and cancel.

    %1 = transpose(%x) {perm=[0,2,3,1]}           %1 = relu(%x)
    %2 = relu(%1)                          ->     %3 = conv2d(%1, $w)
    %3 = transpose(%2) {perm=[0,3,1,2]}
    %4 = conv2d(%3, $w)

Models of channels last come as operators on [N, C, H, W] between two transpositions each;
with what lies between those done before them, a whole network stays in one layout. An
elementwise operator, a concatenation, a padding, a slice or a softmax passes where another
transposition follows by way of such operators alone; operands that were not transposed are
then. A reduction always does, as less is left to transpose. Elsewhere an elementwise operator
does where that adds nothing (every operand is transposed alike and read once, or constant), as
it comes nearer to the anchor that it may follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from armlet.compiler.ir import Builder, Call, Const, Function, Value, transform
from armlet.compiler.ir.names import transposed_name
from armlet.compiler.ops import Fusion, Op
from armlet.compiler.ops.normalize import LogSoftmax, Softmax
from armlet.compiler.ops.reduce import Position, Reduction
from armlet.compiler.ops.shape import Concat, Pad, Reshape, Slice, Transpose

Perm = tuple[int, ...]


def _inverse(perm: Perm) -> Perm:
    return tuple(np.argsort(perm).tolist())


def moved(op: Op, perm: Perm) -> tuple[Op, Perm] | None:
    """The operator that does the same before ``perm``, and the transposition after it."""
    back = _inverse(perm)
    if op.fusion is Fusion.ELEMENTWISE:
        return op, perm
    if isinstance(op, Concat):
        return replace(op, axis=perm[op.axis % len(perm)]), perm
    if isinstance(op, Pad):
        before, after = (tuple(edges[a] for a in back) for edges in (op.before, op.after))
        return replace(op, before=before, after=after), perm
    if isinstance(op, Slice):
        starts, steps = (tuple(v[a] for a in back) for v in (op.starts, op.steps))
        return replace(op, starts=starts, sizes=tuple(op.sizes[a] for a in back), steps=steps), perm
    if isinstance(op, Reduction) and op.axes:
        gone = tuple(sorted(perm[a % len(perm)] for a in op.axes))
        return replace(op, axes=gone), _left(perm, () if op.keepdims else gone)
    if isinstance(op, Position):
        axis = perm[op.axis % len(perm)]
        return replace(op, axis=axis), _left(perm, () if op.keepdims else (axis,))
    if isinstance(op, (Softmax, LogSoftmax)):
        return replace(op, axis=perm[op.axis % len(perm)]), perm  # type: ignore[call-arg]
    return None


def _left(perm: Perm, gone: Perm) -> Perm:
    """The transposition of the axes that are left."""
    left = [a for a in perm if a not in gone]
    return tuple(sorted(left).index(a) for a in left)


class _Sinking:
    def __init__(self, function: Function) -> None:
        self.old = function
        self.made: dict[Value, Call] = {}
        self.indexed = 0
        self.meets = _meeting(function)

    def visit(self, call: Call, b: Builder) -> list[Value] | None:
        for each in b.bindings[self.indexed :]:
            self.made.update(dict.fromkeys(each.outputs, each))
        self.indexed = len(b.bindings)
        if isinstance(call.op, Transpose):
            return self._composed(call, b)
        perms = [p for v in call.operands if (p := self._perm(v))]
        if not perms or len(call.outputs) != 1:
            return None
        assert isinstance(call.op, Op)
        found = moved(call.op, perms[0])
        if found is None or not self._worthwhile(call, perms[0]):
            return None
        op, after = found
        kept = len(call.operands) - call.op.tables
        operands = [self._before(v, perms[0], b) for v in call.operands[:kept]]
        operands += call.operands[kept:]
        name = transposed_name(call.output.name, _inverse(after))
        y: Value = b.call(op, *operands, name=name)
        return [y if after == tuple(sorted(after)) else b.call(Transpose(after), y)]

    def _perm(self, value: Value) -> Perm | None:
        """How a value is transposed; None if it is not."""
        call = self.made.get(value)
        return call.op.perm if call and isinstance(call.op, Transpose) else None

    def _composed(self, call: Call, b: Builder) -> list[Value] | None:
        (x,) = call.operands
        assert isinstance(call.op, Transpose)
        first = self._perm(x)
        if first is None:
            return None
        perm = tuple(first[axis] for axis in call.op.perm)
        source = self.made[x].operands[0]
        return [source if perm == tuple(sorted(perm)) else b.call(Transpose(perm), source)]

    def _worthwhile(self, call: Call, perm: Perm) -> bool:
        rank = call.output.type.rank
        if call.op.fusion is Fusion.ELEMENTWISE and rank != len(perm):  # type: ignore[attr-defined]
            return False
        if not all(v.type.is_static for v in call.operands):
            return False
        if call.output in self.meets or isinstance(call.op, (Reduction, Position)):
            return True
        if call.op.fusion is not Fusion.ELEMENTWISE:  # type: ignore[attr-defined]
            return False
        old = self.old.producers[call.output]
        return all(
            isinstance(v, Const) or (self._perm(v) == perm and self.old.has_single_reader(before))
            for v, before in zip(call.operands, old.operands)
        )

    def _before(self, value: Value, perm: Perm, b: Builder) -> Value:
        """The operand as it was before ``perm``, at its own extents where it is broadcast."""
        back = _inverse(perm)
        if isinstance(value, Const):
            data = value.data.reshape((1,) * (len(perm) - value.data.ndim) + value.data.shape)
            return value if data.size == 1 else b.const(data.transpose(back), value.name)
        if value.type.rank < len(perm):
            shape = (1,) * (len(perm) - value.type.rank) + value.type.shape
            value = b.call(Reshape(shape), value)
        first = self._perm(value)
        source = self.made[value].operands[0] if first else value
        both = tuple(first[axis] for axis in back) if first else back
        return source if both == tuple(sorted(both)) else b.call(Transpose(both), source)


def _meeting(function: Function) -> set[Value]:
    """The values that a transposition reads, by way of operators that let it pass or at once."""
    found: set[Value] = set()
    for call in reversed(function.bindings):
        passes = any(v in found for v in call.outputs) and _lets_pass(call.op, call.operands)
        if isinstance(call.op, Transpose) or passes:
            found.update(call.operands)
    return found


def _lets_pass(op: object, operands: Sequence[Value]) -> bool:
    rank = max((v.type.rank for v in operands), default=0)
    return isinstance(op, Op) and moved(op, tuple(range(rank))) is not None


def run(function: Function) -> Function:
    return transform(function, _Sinking(function).visit)
