"""The reduction of a direct convolution's register tile by scheduled assembly.

An iteration is a row of the kernel for a block of input channels; all columns of the kernel
are in its body, without the pixels that they would take outside the input.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from armlet.targets import Target

from ..window import inside_rows
from .multiply import Nested, Operand, Steps, multiply
from .tile import Shape, Tap, fits

if TYPE_CHECKING:
    from ..conv2d_direct import Shape as Convolution

#: bytes of a number
_SIZE = 4
#: pixels of four channels in a cache line
_LINE = 4


def can_schedule(s: Convolution, target: Target) -> bool:
    """Whether tiles of assembly do a convolution on a target."""
    return target.in_order and s.lanes == 4 and s.ki == s.block and _rows_inside(s)


def _rows_inside(s: Convolution) -> bool:
    """Whether every row of the output has a row of the kernel inside the input."""
    if s.flat:
        return True
    for row in range(s.out_height):
        above = row * s.strides[0] - s.pads[0]
        if not any(0 <= above + r * s.dilations[0] < s.height for r in range(s.kernel[0])):
            return False
    return True


def _shape(s: Convolution, start: int, pixels: int, vectors: int) -> tuple[Shape, int]:
    """The tile of ``pixels`` from column ``start``; pixels from its first column to its data."""
    pixel = _SIZE * s.block
    every = tuple(range(pixels))
    if s.flat:
        return Shape(vectors, tuple(j * pixel for j in every), (Tap(0, every),), s.ki), 0
    left = start * s.strides[1] - s.pads[1]
    columns = [
        {j: j * s.strides[1] + k * s.dilations[1] for j in every} for k in range(s.kernel[1])
    ]
    inside = [{j: c for j, c in tap.items() if 0 <= left + c < s.width} for tap in columns]
    first = min((c for tap in inside for c in tap.values()), default=0)
    taps = tuple(
        Tap((k * s.dilations[1] - first) * pixel, tuple(tap)) for k, tap in enumerate(inside)
    )
    rows = tuple(j * s.strides[1] * pixel for j in every)
    return Shape(vectors, rows, taps, s.ki, nested=s.kernel[0] > 1 and s.chunks > 1), first


def tile_of(s: Convolution, run: Any, vectors: int, target: Target) -> tuple[Shape, int] | None:
    """The shape that all tiles of a run have, and their first column's; None: not by assembly."""
    if not can_schedule(s, target):
        return None
    starts = range(run.start, run.start + run.count * run.width, run.width)
    made, *others = {_shape(s, start, run.width, vectors) for start in starts}
    return made if not others and fits(made[0], target) else None


def reduce(tile: Any, made: tuple[Shape, int], target: Target) -> None:
    """acc = bias + the sum over all taps, for a tile of ``conv2d_direct``."""
    _announce(tile)
    s: Convolution = tile.shape
    shape, first = made
    x, w, *bias = (tile.graph.arrays[v] for v in tile.operands)
    skipped, rows = (0, 1) if s.flat else inside_rows(s, tile.row)
    if s.flat:
        h, column = tile.pixel(0)
    else:
        h = tile.row * s.strides[0] + skipped * s.dilations[0] - s.pads[0]
        column = tile.start * s.strides[1] - s.pads[1] + first
    data = Operand(x, x.at([tile.n, tile.g * s.chunks, h, column, 0]))
    weights = Operand(w, w.at([tile.channel, 0, skipped, 0, 0, 0]))
    start = [Operand(b, b.at([0, tile.channel, 0, 0, 0])) for b in bias]
    taps = _SIZE * s.lanes * s.ki * s.kernel[1]
    # of the array: a chain keeps some rows of the input only
    plane, line = _SIZE * math.prod(x.shape[2:]), _SIZE * s.block * s.width * s.dilations[0]
    nested = None
    if shape.nested:
        steps = Steps(rows * s.chunks, line, taps)
        back = rows - 1
        nested = Nested(rows, plane - back * line, s.kernel[0] * taps - back * taps)
    else:
        steps = Steps(rows, line, taps) if s.kernel[0] > 1 else Steps(s.chunks, plane, taps)
    multiply(
        tile.code, target, shape, tile.acc, data, weights,
        s.chunks * s.kernel[0] * taps, steps, nested, *start,
    )  # fmt: skip


def _announce(tile: Any) -> None:
    """Asks for the lines that the epilogue will write and read, once each along a row.

    Few stores may wait for memory, and while they do, nothing else issues.
    """
    for o in range(tile.vectors):
        for j in range(min(_LINE, tile.run.width) - 1, tile.run.width, _LINE):
            at = [tile.n, tile.channel + o, *tile.pixel(j), 0]
            tile.code.prefetch(tile.graph.out, at, write=True)
