"""Boxes: parts of an output in which a moving operator has no condition left.

A concatenation, a padding or a packing chooses by index what an element is. Cut where the
choice changes, each part is a plain copy, which vectorises.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from armlet.compiler.ir import Call
from armlet.compiler.ir.group import Group
from armlet.compiler.ops.registry import Fusion

#: for each axis: first index, size
Box = list[tuple[int, int]]

#: more parts than this are not worth their code
MOST = 48


def mover(group: Group) -> Call | None:
    """The last call that moves elements, if its output has the shape of the group's."""
    for call in reversed(group.calls):
        if call.op.fusion != Fusion.ELEMENTWISE:  # type: ignore[attr-defined]
            same = call.output.type.shape == group.output.type.shape
            return call if same else None
    return None


def boxes(group: Group) -> list[Box]:
    """The parts of the output, in order."""
    whole: Box = [(0, n) for n in group.output.type.static_shape]
    call = mover(group)
    cut = CUTS.get(call.op.name) if call else None
    found = list(cut(call, whole)) if cut and call else [whole]
    found = [box for box in found if all(size for _, size in box)]
    return found if len(found) <= MOST else [whole]


def _with(box: Box, axis: int, start: int, size: int) -> Box:
    return [*box[:axis], (start, size), *box[axis + 1 :]]


def _concat(call: Call, whole: Box) -> Iterator[Box]:
    op: Any = call.op
    axis, start = op.axis % len(whole), 0
    for operand in call.operands:
        size = operand.type.static_shape[axis]
        yield _with(whole, axis, start, size)
        start += size


def _pad(call: Call, whole: Box) -> Iterator[Box]:
    """Slabs before and after along each axis, and what remains inside."""
    op: Any = call.op
    rest = whole
    for axis, size in enumerate(call.operands[0].type.static_shape):
        before, after = op.before[axis], op.after[axis]
        yield _with(rest, axis, 0, before)
        yield _with(rest, axis, before + size, after)
        rest = _with(rest, axis, before, size)
    yield rest


def _pack(call: Call, whole: Box) -> Iterator[Box]:
    return _segments(whole, [call.operands[0].type.static_shape[1]], [1])


def _concat_blocked(call: Call, whole: Box) -> Iterator[Box]:
    op: Any = call.op
    return _segments(whole, op.channels, [v.type.static_shape[4] for v in call.operands])


def _segments(whole: Box, channels: Sequence[int], own: Sequence[int]) -> Iterator[Box]:
    """Runs of channels that lie in one block here and, if ``own`` > 1, in one block there."""
    block = whole[4][1]
    held = whole[1][1] * block
    ends = {0, held}
    start = 0
    for count, size in zip(channels, own, strict=True):
        ends.update(range(start, start + count, size) if size > 1 else (start,))
        ends.add(start + count)
        start += count
    ordered = sorted(ends)
    for first, last in itertools.pairwise(ordered):
        yield from _blocks(whole, block, first, last)


def _blocks(whole: Box, block: int, first: int, last: int) -> Iterator[Box]:
    """The channels from ``first`` to ``last`` as a part of a block, whole blocks, a part."""
    while first < last:
        lane = first % block
        if lane == 0 and last - first >= block:
            count = (last - first) // block
            yield _with(whole, 1, first // block, count)
            first += count * block
        else:
            size = min(block - lane, last - first)
            yield _with(_with(whole, 1, first // block, 1), 4, lane, size)
            first += size


CUTS: dict[str, Callable[[Call, Box], Iterator[Box]]] = {
    "concat": _concat,
    "pad": _pad,
    "pack_channels": _pack,
    "concat_blocked": _concat_blocked,
}
