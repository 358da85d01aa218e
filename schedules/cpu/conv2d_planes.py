"""A row of a direct convolution's kernel on a plane by itself, such as a picture's colour.

Where a plane is not blocked, vectors hold neighbouring pixels. A tile loads those that it reads
of a row once; each tap multiplies by the lanes that are its pixels. This needs multiplication by
lane. Vectors that reach outside are put together lane by lane, with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from armlet.compiler.ops.lazy import tirx

if TYPE_CHECKING:
    from .conv2d_direct import TileWriter


def vectors_of_row(tile: TileWriter) -> list[int]:
    """Where vectors begin that cover what the tile reads of a row, from its first column.

    Nowhere if they are more than the tile's pixels, or reach further than it.
    """
    s, width = tile.shape, tile.run.width
    last = (width - 1) * s.strides[1] + (s.kernel[1] - 1) * s.dilations[1] + 1 - s.lanes
    starts = [*range(0, last, s.lanes), last]
    return starts if last >= 0 and len(starts) <= width else []


def kernel_row(tile: TileWriter, chunk: Any, r: Any, starts: Sequence[int]) -> None:
    """acc += row ``r`` of the kernel on plane ``chunk``."""
    s, code, dtype = tile.shape, tile.code, tile.writer.dtype
    held = [code.registers(s.lanes, dtype=dtype) for _ in starts]
    for register, start in zip(held, starts, strict=True):
        if _inside(tile, start):
            with code.vector(s.lanes) as v:
                code.store(register, [v], _column(tile, chunk, r, start + v))
            continue
        for lane in range(s.lanes):
            code.store(register, [lane], _bounded(tile, chunk, r, start + lane))
    for k in range(s.kernel[1]):
        columns = [j * s.strides[1] + k * s.dilations[1] for j in range(tile.run.width)]
        vectors = [min(c // s.lanes, len(starts) - 1) for c in columns]
        pixels = [held[i][[c - starts[i]]] for i, c in zip(vectors, columns)]
        tile.multiply(chunk, 0, r, k, pixels)


def _inside(tile: TileWriter, start: int) -> bool:
    """Whether a vector from there on is inside the input in all tiles of the run."""
    s, run = tile.shape, tile.run
    first = run.start * s.strides[1] - s.pads[1] + start
    last = first + (run.count - 1) * run.width * s.strides[1]
    return first >= 0 and last + s.lanes <= s.width


def _column(tile: TileWriter, chunk: Any, r: Any, column: Any) -> Any:
    """The input at a column, counted from the first that the tile reads."""
    s = tile.shape
    h = tile.row * s.strides[0] + r * s.dilations[0] - s.pads[0]
    w = tile.start * s.strides[1] - s.pads[1] + column
    return tile.graph.read(tile.writer.x, [tile.n, tile.g * s.chunks + chunk, h, w, 0])


def _bounded(tile: TileWriter, chunk: Any, r: Any, column: int) -> Any:
    """As ``_column``, zero outside the input."""
    s = tile.shape
    w = tile.start * s.strides[1] - s.pads[1] + column
    near = column + tirx.max(0, tirx.min(w, s.width - 1)) - w
    value = _column(tile, chunk, r, near)
    inside = tirx.And(w >= 0, w < s.width)
    return tirx.Select(inside, value, tirx.const(0, tile.writer.dtype))
