"""Sliding windows as templates see them: sizes, tiles of a row, rows of the window inside.

A tile of a row knows which of its pixels each column of the window may read, so templates
write nothing for what lies outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from armlet.compiler.ir import Call
from armlet.compiler.ops.lazy import tirx
from armlet.targets import Target

from ..emit import ceil_div, pieces

#: pixels that are too few to read all weights for
FEW_PIXELS = 24


@dataclass(frozen=True)
class Window:
    n: int
    #: channel blocks (or channels, of plain data), which do not meet
    planes: int
    height: int
    width: int
    #: lanes of a channel block; 1 for plain data
    lanes: int
    out_height: int
    out_width: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    #: top, left
    pads: tuple[int, int]


@dataclass(frozen=True)
class ColumnRun:
    """``count`` tiles in a row that are alike: ``taps[s]`` are the pixels that column s reads."""

    start: int
    width: int
    count: int
    taps: tuple[tuple[int, ...], ...]


def window_of(call: Call | None) -> Window:
    """The window of an anchor that keeps channels apart."""
    assert call is not None
    op: Any = call.op
    n, planes, height, width, *lanes = call.operands[0].type.static_shape
    out = call.output.type.static_shape
    if len(call.operands) > 1:
        kernel = call.operands[1].type.static_shape[1:3]
        if call.op.name == "depthwise_conv2d_quads":
            kernel = kernel[0], op.width
    else:
        kernel = tuple(op.kernel)
    return Window(
        n, planes, height, width, lanes[0] if lanes else 1, out[2], out[3],
        kernel, op.strides, op.dilations, op.pads[:2],  # type: ignore[arg-type]
    )  # fmt: skip


@lru_cache(maxsize=1024)
def column_runs(w: Window, tile: int) -> list[ColumnRun]:
    """The tiles of a row, alike neighbours together."""
    found: list[ColumnRun] = []
    for start, width, count in pieces(w.out_width, tile):
        for first in range(start, start + width * count, width):
            taps = _taps(w, first, width)
            if found and (found[-1].width, found[-1].taps) == (width, taps):
                last = found.pop()
                found.append(ColumnRun(last.start, width, last.count + 1, taps))
            else:
                found.append(ColumnRun(first, width, 1, taps))
    return found


def _taps(w: Window, start: int, width: int) -> tuple[tuple[int, ...], ...]:
    def inside(j: int, k: int) -> bool:
        return 0 <= (start + j) * w.strides[1] + k * w.dilations[1] - w.pads[1] < w.width

    return tuple(tuple(j for j in range(width) if inside(j, k)) for k in range(w.kernel[1]))


def whole_rows(w: Window) -> range:
    """The rows of the output whose windows lie between the first and the last row of the input."""
    reach = (w.kernel[0] - 1) * w.dilations[0]
    first = ceil_div(w.pads[0], w.strides[0])
    end = (w.height - 1 - reach + w.pads[0]) // w.strides[0] + 1
    return range(first, max(first, min(end, w.out_height)))


def inside_rows(w: Any, row: Any) -> tuple[Any, Any]:
    """The first row of the window whose input row exists, and how many there are."""
    kernel, stride, dilation, pad = w.kernel[0], w.strides[0], w.dilations[0], w.pads[0]
    above = row * stride - pad
    first = 0 if pad == 0 else tirx.max(0, (dilation - 1 - above) // dilation)
    bottom = (w.out_height - 1) * stride + (kernel - 1) * dilation - pad
    if bottom < w.height:
        return first, kernel if pad == 0 else kernel - first
    last = tirx.min(kernel, (w.height - above + dilation - 1) // dilation)
    return first, tirx.max(0, last - first)


def flat_rows(pixels: int, pixel_bytes: int, target: Target) -> tuple[int, int]:
    """``pixels`` as equal rows, each long enough for whole tiles and short enough for L2."""
    least, ideal = 96, 192
    if target.in_order:
        # a line from beyond L2 is late: a row stays there while all channels are computed,
        # unless only so few pixels do that the weights would be read too often
        held = target.l2_bytes // 2 // pixel_bytes
        least, ideal = (held // 2, held) if FEW_PIXELS <= held < ideal else (least, ideal)
    fitting = [r for r in range(1, pixels + 1) if pixels % r == 0 and pixels // r >= least]
    rows = min(fitting, key=lambda r: abs(pixels // r - ideal), default=1)
    return rows, pixels // rows
