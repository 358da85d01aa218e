"""Depthwise convolution of bytes by Arm's SDOT: four columns of the kernel at a time.

Four neighbouring pixels of a block of four channels are one vector, whose bytes are transposed
so that a lane holds one channel's. A kernel of three columns leaves one byte free, so the
vector serves the next pixel too, by weights that are moved by a byte. At the borders the vector
begins where the input does and the weights are moved likewise; what lies outside is the padding's
value, which the weights outside are multiplied by.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.compiler.ops.quads import QUAD
from armlet.targets import Target

from ..template import Config, roofline
from .byte_products import Sdot, load, splat
from .conv2d_depthwise import Conv2dDepthwise, DepthwiseRows, DepthwiseTile
from .window import Window, column_runs, whole_rows, window_of

#: rows and columns of the largest tile: more share little more
MOST_ROWS, MOST_COLUMNS = 4, 16
#: bytes [pixel][channel] as [channel][pixel]
TRANSPOSED = [p * QUAD + c for c in range(QUAD) for p in range(QUAD)]
#: vector instructions that bring a vector of sums to where it belongs
ENDING = 8


def _tiles(w: Window, target: Target) -> list[Config]:
    """Tiles whose sums, two forms of the weights and a vector of pixels are in registers."""
    rows = 1 if target.in_order else min(MOST_ROWS, max(1, len(whole_rows(w))))
    room = target.vector_registers - 2 * w.kernel[0] - 4
    return [
        {"rows": r, "columns": c}
        for r in range(1, rows + 1)
        for c in range(1, min(MOST_COLUMNS, w.out_width) + 1)
        if r * c <= room
    ]


def _row_cycles(w: Window, config: Config, target: Target) -> float:
    rows, columns = config["rows"], config["columns"]
    shared = 2 if w.strides[1] == 1 and w.kernel[1] < QUAD else 1
    vectors = -(-columns // shared) * ((rows - 1) * w.strides[0] + w.kernel[0])
    work = rows * columns * (w.kernel[0] + ENDING) + 2 * vectors
    tiles = len(column_runs(w, columns)) * 0.02 + -(-w.out_width // columns)
    return tiles * (work / target.fma_units + 10) / rows


class Conv2dDepthwiseQuads(Conv2dDepthwise):
    name = "conv2d_depthwise_quads"
    version = 1

    def applies(self, group: Group, target: Target) -> bool:
        anchor = group.anchor
        named = anchor is not None and anchor.op.name == "depthwise_conv2d_quads"
        return named and target.byte_products == "sdot"

    @property
    def rows(self) -> type[DepthwiseRows]:
        return _Rows

    def default(self, group: Group, target: Target) -> Config:
        w = window_of(group.anchor)
        return min(_tiles(w, target), key=lambda c: _row_cycles(w, c, target))

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        return _tiles(window_of(group.anchor), target)

    def estimate(self, group: Group, target: Target, config: Config) -> float:
        w = window_of(group.anchor)
        read = sum(v.type.bytes for v in group.inputs)
        arithmetic = w.n * w.planes * w.out_height * _row_cycles(w, config, target)
        return roofline(target, arithmetic, read, group.output.type.bytes)


class _Tile(DepthwiseTile):
    def _rows_outside(self, first: Any, size: Any) -> None:
        pad = self.parent.call.op.pad_value  # type: ignore[attr-defined]
        if pad == 0 or (isinstance(size, int) and size == self.window.kernel[0]):
            return
        with self.code.loop(self.window.kernel[0], "r", rolled=True) as r:
            outside = tirx.Or(r < first, r >= first + size)
            with self.code.when(outside):
                weights = self._weights(r)
                for j in range(self.run.width):
                    self._add(j, weights, splat(pad, 16, "int8"))

    def _input_row(self, h: Any, taps: list[tuple[int, Any]]) -> None:
        held: tuple[int, Any] = (-QUAD, None)
        weights = [(i, self._weights(r)) for i, r in taps]
        for j in range(self.run.width):
            column, inside = j * self.window.strides[1], self._inside(j)
            free = QUAD - self.window.kernel[1]
            if 0 < column - held[0] <= free:
                # the vector of the pixel before has what this one reads
                self._each(j, weights, held[1], held[0] - column, range(QUAD))
                continue
            if not inside:
                self._each(j, weights, None, 0, inside)
                continue
            begin = column + (inside[0] if inside[0] else inside[-1] - (QUAD - 1))
            pixels = self._pixels(h, begin)
            if len(inside) == QUAD:
                held = begin, pixels
            self._each(j, weights, pixels, begin - column, inside)

    def _inside(self, j: int) -> range:
        """Which of the four columns from pixel j's first on are inside the input."""
        taps = self.run.taps
        inside = [k for k in range(QUAD) if j in taps[k]]
        return range(inside[0], inside[-1] + 1) if inside else range(0)

    def _each(self, j: int, weights: Any, pixels: Any, shift: int, inside: range) -> None:
        """Adds to pixel j of every row what the vector that begins ``shift`` columns later has."""
        pad = self.parent.call.op.pad_value  # type: ignore[attr-defined]
        missing = [k for k in range(self.window.kernel[1]) if k not in inside]
        for i, w in weights:
            at = i * self.run.width + j
            if pixels is not None:
                self._add(at, _moved(w, shift), pixels)
            if missing and pad:
                self._add(at, _kept(w, missing), splat(pad, 16, "int8"))

    def _add(self, at: int, weights: Any, pixels: Any) -> None:
        Sdot(self.code, QUAD, "int8").add_to(self.acc, at, [pixels], [weights])

    def _weights(self, r: Any) -> Any:
        array = self.graph.arrays[self.parent.w]
        place = array.at([self.cb, r, 0, 0, 0])
        return self.code.named_vector(load(array, place, 16, "int8"))

    def _pixels(self, h: Any, column: int) -> Any:
        array = self.graph.arrays[self.parent.x]
        place = array.at([self.n, self.cb, h, self.left + column, 0])
        lanes = [tirx.const(i, "int32") for i in TRANSPOSED]
        return self.code.named_vector(tirx.Shuffle([load(array, place, 16, "int8")], lanes))

    def _begin(self) -> None:
        for at in range(self.count * self.run.width):
            with self.code.vector(QUAD) as v:
                start = self.graph.read(self.parent.bias[0], [0, self.cb, 0, 0, v])
                self.code.store(self.acc, (at, v), start)


class _Rows(DepthwiseRows):
    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.small, self.dtype = False, "int32"
        kernel = self.window.kernel[0], QUAD
        wide = dataclasses.replace(self.window, kernel=kernel)
        # tiles are alike if they are in all four columns that a vector holds
        self.runs = column_runs(wide, parts[3]["columns"])

    def tile(self, *where: Any) -> DepthwiseTile:
        return _Tile(self, *where)


def _moved(weights: Any, shift: int) -> Any:
    """Weights for pixels that begin ``shift`` columns after the kernel's first one."""
    if shift == 0:
        return weights
    words = tirx.reinterpret("uint32x4", weights)
    by = splat(8 * abs(shift), 4, "uint32")
    return tirx.reinterpret("int8x16", words >> by if shift > 0 else words << by)


def _kept(weights: Any, columns: list[int]) -> Any:
    """Weights of some columns, zeros elsewhere."""
    mask = sum(0xFF << 8 * k for k in columns)
    mask -= (1 << 32) * (mask >> 31)
    words = tirx.reinterpret("int32x4", weights) & splat(mask, 4, "int32")
    return tirx.reinterpret("int8x16", words)
