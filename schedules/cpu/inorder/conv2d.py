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
from .tile import Shape, Tap, fits, speaks

if TYPE_CHECKING:
    from ..conv2d_direct import Shape as Convolution

#: bytes of a number
_SIZE = 4


def can_schedule(s: Convolution, target: Target) -> bool:
    """Whether tiles of assembly do a convolution on a target."""
    return speaks(target) and s.lanes == 4 and s.ki == s.block and _rows_inside(s)


def _rows_inside(s: Convolution) -> bool:
    """Whether every row of the output has a row of the kernel inside the input."""
    if s.flat:
        return True
    for row in range(s.out_height):
        above = row * s.strides[0] - s.pads[0]
        if not any(0 <= above + r * s.dilations[0] < s.height for r in range(s.kernel[0])):
            return False
    return True


def _shape(s: Convolution, start: int, pixels: int, vectors: int, far: bool) -> tuple[Shape, int]:
    """The tile of ``pixels`` from column ``start``; pixels from its first column to its data."""
    pixel = _SIZE * s.block
    every, written = tuple(range(pixels)), _SIZE * s.lanes * pixels * far
    if s.flat:
        rows = tuple(j * pixel for j in every)
        return Shape(vectors, rows, (Tap(0, every),), s.ki, written=written), 0
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
    nested = s.kernel[0] > 1 and s.chunks > 1
    return Shape(vectors, rows, taps, s.ki, nested, written), first


def tile_of(tile: Any, target: Target) -> tuple[Shape, int] | None:
    """The shape that all tiles of a run have, and their first column's; None: not by assembly."""
    s, run, graph = tile.shape, tile.run, tile.graph
    x = graph.arrays.get(tile.operands[0])
    # rows of a ring do not follow one another
    if x is None or not (s.kernel[0] == 1 or x.shape[2] == s.height):
        return None
    if not can_schedule(s, target) or not graph.arrays.keys() >= set(tile.operands[1:]):
        return None
    # an output this large is not in any cache when it is written
    far = graph.group.output.type.bytes > 8 * target.l2_bytes and not graph.group.producers
    starts = range(run.start, run.start + run.count * run.width, run.width)
    made, *others = {_shape(s, start, run.width, tile.vectors, far) for start in starts}
    return made if not others and fits(made[0], target) else None


def reduce(tile: Any, made: tuple[Shape, int], target: Target) -> None:
    """acc = bias + the sum over all taps, for a tile of ``conv2d_direct``."""
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
    between = _SIZE * s.chunks * s.ki * s.kernel[0] * s.kernel[1] * s.lanes
    weights = Operand(w, w.at([tile.channel, 0, skipped, 0, 0, 0]), between)
    out = tile.graph.out
    place = out.at([tile.n, tile.channel, *tile.pixel(0), 0])
    written = Operand(out, place, _SIZE * s.lanes * s.out_height * s.out_width)
    start = Operand(bias[0], bias[0].at([0, tile.channel, 0, 0, 0])) if bias else None
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
    multiply(tile.code, target, shape, tile.acc, data, weights, steps, nested, start, written)
