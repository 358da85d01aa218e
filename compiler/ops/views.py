"""Slices and concatenations that move nothing: what ``passes/form_views.py`` makes of others.

Where the bytes of a slice lie in one run, it is an offset into its operand's buffer; where
those of each operand do, a concatenation is the buffer that its operands are written into.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from armlet.compiler.ir import Call, TensorType, Value

from .helpers import cases, check
from .registry import Fusion, Layout, op
from .shape import Concat, Reshape, Slice


def offset_of(op: Slice, x: TensorType) -> int | None:
    """First byte of a slice in its operand, if its elements follow one another there."""
    shape, sizes = x.static_shape, TensorType(op.sizes).static_shape
    first = next((a for a, size in enumerate(sizes) if size != 1), x.rank)
    whole = sizes[first + 1 :] == shape[first + 1 :]
    runs = [step for size, step in zip(sizes, op.steps) if size != 1]
    if not whole or any(step != 1 for step in runs):
        return None
    strides = [math.prod(shape[a + 1 :]) for a in range(x.rank)]
    return sum(s * n for s, n in zip(op.starts, strides)) * np.dtype(x.dtype).itemsize


def joins_whole(op: Concat, output: TensorType) -> bool:
    """Whether each operand of a concatenation is one run of its result's bytes."""
    axis = op.axis % output.rank
    return math.prod(output.static_shape[:axis]) == 1


@op("slice_view", fusion=Fusion.VIEW, layout=Layout.PLAIN)
class SliceView(Slice):
    """A ``slice`` whose elements follow one another in the operand: no kernel."""

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        types = super().infer(operands)
        check(offset_of(self, operands[0]) is not None, f"{self.name} of {operands[0]} has gaps")
        return types

    samples = cases(
        ({"starts": (1, 0), "sizes": (2, 5), "steps": (1, 1)}, (3, 5)),
        ({"starts": (1, 2, 0), "sizes": (1, 1, 4), "steps": (1, 1, 1)}, (2, 3, 4)),
        ({"starts": (0, 3, 0, 0), "sizes": (1, 4, 2, 3), "steps": (1, 1, 1, 1)}, (1, 9, 2, 3)),
    )


@op("concat_view", fusion=Fusion.VIEW, layout=Layout.PLAIN)
class ConcatView(Concat):
    """A ``concat`` whose operands are written where they belong in the result: no kernel."""

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        types = super().infer(operands)
        check(joins_whole(self, types[0]), f"{self.name} into {types[0]} would interleave")
        return types

    samples = cases(
        ({"axis": 0}, (2, 3), (5, 3)),
        ({"axis": 1}, (1, 2, 3, 3, 4), (1, 1, 3, 3, 4)),
    )


def placements(call: Call) -> list[tuple[Value, Value, int]]:
    """(part, whole, offset): the bytes of each part lie in the whole's from there on."""
    record: Any = call.op
    if isinstance(record, Reshape):
        return [(call.output, call.operands[0], 0)]
    if isinstance(record, SliceView):
        offset = offset_of(record, call.operands[0].type)
        assert offset is not None
        return [(call.output, call.operands[0], offset)]
    assert isinstance(record, ConcatView), record.name
    starts = itertools.accumulate((v.type.bytes for v in call.operands), initial=0)
    return [(v, call.output, start) for v, start in zip(call.operands, starts)]
