"""Depthwise convolution on channel-blocked data: a tile of ``rows`` x ``columns`` pixels.

Each input vector that a tile needs is loaded once and goes to every pixel that it belongs to,
so rows of a tile share what they read. Tiles of several rows are written out; a row by itself
loops over the kernel's rows, which is shorter at the upper and lower border. Taps outside at
the left and right are not written at all. So nothing is multiplied by padding.

Bytes are multiplied in float32, whose sums of so few products are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from armlet.compiler.ir import Call
from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.compiler.ops.nn import SMALL
from armlet.targets import Target

from ..emit import pieces, unravel
from ..loops import band, bands_of
from ..template import Config, Template, roofline
from ..tensor_graph import TensorGraph
from .inorder.fetch import fetch_below
from .window import ColumnRun, Window, column_runs, inside_rows, whole_rows, window_of

#: products of bytes less a zero point whose sum float32 holds
EXACT = (1 << 24) // (255 * 128)
#: multiply-adds of a tile that are written out
WRITTEN_OUT = 200
#: rows of a tile: more share little more
MOST_ROWS = 4
#: tiles that a band of rows has at least: rows at its ends may be left over
BAND = 3


class Conv2dDepthwise(Template):
    name = "conv2d_depthwise"
    version = 2

    @property
    def rows(self) -> type[DepthwiseRows]:
        """What writes rows."""
        return DepthwiseRows

    def applies(self, group: Group, target: Target) -> bool:
        call = group.anchor
        if call is None or call.op.name != "depthwise_conv2d_blocked":
            return False
        taps = math.prod(call.operands[1].type.static_shape[1:3])
        return call.operands[0].type.dtype not in SMALL or taps <= EXACT

    def default(self, group: Group, target: Target) -> Config:
        w = window_of(group.anchor)
        return min(tiles_of(w, target), key=lambda c: row_cycles(w, c, target))

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        return tiles_of(window_of(group.anchor), target)

    def estimate(self, group: Group, target: Target, config: Config) -> float:
        """The tiles' cycles over all rows, and what memory adds."""
        w = window_of(group.anchor)
        read = sum(v.type.bytes for v in group.inputs)
        arithmetic = w.n * w.planes * w.out_height * row_cycles(w, config, target)
        return roofline(target, arithmetic, read, group.output.type.bytes)

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        call = graph.group.anchor
        assert call is not None
        w, code = window_of(call), graph.code
        writer = self.rows(graph, target, call, config)
        # a core that issues in order waits wherever a stream begins
        bands = 1 if target.in_order else bands_of(w.out_height, config["rows"], BAND)
        with code.parallel(w.n * bands * w.planes) as p:
            n, index, cb = map(code.index, unravel(p, (w.n, bands, w.planes)))
            writer.write(n, cb, *band(code, index, bands, w.out_height))
        return graph.function()


def tiles_of(w: Window, target: Target) -> list[Config]:
    """Every tile whose accumulators, weights and one input vector are in registers."""
    found: list[Config] = []
    # stores of one row are a stream, for which a core that issues in order need not wait
    most_rows = 1 if target.in_order else min(MOST_ROWS, len(whole_rows(w)))
    for rows in range(1, max(1, most_rows) + 1):
        taps = w.kernel[1] * (1 if rows == 1 else w.kernel[0])
        most = min(
            (target.vector_registers - 2 - min(taps, target.vector_registers // 2)) // rows,
            WRITTEN_OUT // (taps * rows),
            w.out_width,
        )
        if rows == 1 or taps <= target.vector_registers // 2:
            found += [{"rows": rows, "columns": c} for c in range(1, max(most, rows == 1) + 1)]
    return found


def row_cycles(w: Window, config: Config, target: Target) -> float:
    """Cycles of a row of the output, its input in L1."""
    (kh, kw), rows, total = w.kernel, config["rows"], 0.0
    span = kh if rows == 1 else (rows - 1) * w.strides[0] + (kh - 1) * w.dilations[0] + 1
    for _, width, count in pieces(w.out_width, config["columns"]):
        products = rows * width * kh * kw
        loads = span * ((width - 1) * w.strides[1] + (kw - 1) * w.dilations[1] + 1)
        loads += kh * kw if rows == 1 else 0
        arithmetic, loading = products / target.fma_units, loads / target.load_units
        # nothing issues beside the wide loads of a core that issues in order
        busy = arithmetic + loading if target.in_order else max(arithmetic, loading)
        busy = max(busy, target.fma_latency * kh * kw)
        total += count * (busy + 3 * span + 2 * rows * width + 10) / rows
    return total * (1 + 0.02 * len(column_runs(w, config["columns"])))


class DepthwiseRows:
    """Writes rows of one block of channels of a depthwise convolution, and what follows it."""

    def __init__(self, graph: TensorGraph, target: Target, call: Call, config: Config) -> None:
        self.graph, self.code, self.target, self.call = graph, graph.code, target, call
        self.window, self.rows = window_of(call), config["rows"]
        self.runs = column_runs(self.window, config["columns"])
        self.x, self.w, *self.bias = call.operands
        self.small = self.x.type.dtype in SMALL
        self.dtype = "float32" if self.small else call.output.type.dtype

    def element(self, *indices: Any) -> Any:
        """An element of the input as what is multiplied."""
        value = self.graph.read(self.x, indices)
        if not self.small:
            return value
        zero = tirx.const(float(self.call.op.zero_point), self.dtype)  # type: ignore[attr-defined]
        return value.astype("int32").astype(self.dtype) - zero

    def weight(self, *indices: Any) -> Any:
        value = self.graph.read(self.w, indices)
        return value.astype("int32").astype(self.dtype) if self.small else value

    def write(self, n: Any, cb: Any, first: Any, count: Any) -> None:
        """The rows from ``first`` on, ``count`` of them."""
        if self.rows == 1:
            self._singly(n, cb, first, count)
            return
        whole, index = whole_rows(self.window), self.code.index
        first, end = index(first), index(self.code.simple(first + count))
        start = first
        if whole.start:
            start = index(tirx.min(end, tirx.max(first, whole.start)))
            self._singly(n, cb, first, start - first)
        inside = tirx.max(0, tirx.min(end, whole.stop) - start)
        tiles = index(self.code.simple(inside // self.rows))
        with self.code.loop(tiles, "rows") as i:
            row = index(start + i * self.rows)
            for run, left in self._tiles():
                self.tile(run, n, cb, row, left, self.rows).whole()
        rest = index(start + tiles * self.rows)
        self._singly(n, cb, rest, end - rest)

    def tile(self, *where: Any) -> DepthwiseTile:
        """What writes a register tile."""
        return DepthwiseTile(self, *where)

    def _singly(self, n: Any, cb: Any, first: Any, count: Any) -> None:
        with self.code.loop(self.code.simple(count), "row") as r:
            row = self.code.index(first + r)
            for run, left in self._tiles():
                tile = self.tile(run, n, cb, row, left, 1)
                if x := self.graph.arrays.get(self.x):
                    where = (n, cb, row, tile.left)
                    fetch_below(self.code, self.target, x, self.window, where, run.width)
                tile.by_kernel_row()

    def _tiles(self) -> Iterator[tuple[ColumnRun, Any]]:
        """Each run of tiles in a row, within the loop over them: its first column too."""
        for run in self.runs:
            with self.code.loop(run.count, "tile") as t:
                yield run, self.code.index(run.start + t * run.width)


class DepthwiseTile:
    """Writes one register tile: bias, multiply-adds, epilogue."""

    def __init__(
        self, rows: DepthwiseRows, run: ColumnRun, n: Any, cb: Any, row: Any, start: Any, count: int
    ) -> None:
        self.parent, self.graph, self.code, self.window = rows, rows.graph, rows.code, rows.window
        self.run, self.n, self.cb, self.row, self.start = run, n, cb, row, start
        self.count = count
        self.left = self.code.index(start * self.window.strides[1] - self.window.pads[1])
        self.acc = self.code.registers(count * run.width, self.window.lanes, dtype=rows.dtype)

    def whole(self) -> None:
        """All of the kernel written out, by input row."""
        w = self.window
        above = self.code.index(self.row * w.strides[0] - w.pads[0])
        self._begin()
        for down in range((self.count - 1) * w.strides[0] + (w.kernel[0] - 1) * w.dilations[0] + 1):
            taps = [(i, r) for i in range(self.count) for r in range(w.kernel[0])]
            taps = [(i, r) for i, r in taps if i * w.strides[0] + r * w.dilations[0] == down]
            if taps:
                self._input_row(self.code.index(above + down), taps)
        self._end()

    def by_kernel_row(self) -> None:
        """A loop over the rows of the kernel that are inside."""
        w = self.window
        self._begin()
        first, size = inside_rows(w, self.row)
        self._rows_outside(first, size)
        with self.code.loop(size, "r", start=first) as r:
            h = self.code.index(self.row * w.strides[0] + r * w.dilations[0] - w.pads[0])
            self._input_row(h, [(0, r)])
        self._end()

    def _rows_outside(self, first: Any, size: Any) -> None:
        """What the rows of the kernel before ``first`` and from ``first + size`` on add: nothing,
        as x stands for its distance from the zero point."""

    def _input_row(self, h: Any, taps: list[tuple[int, Any]]) -> None:
        """What a row of the input adds, by column, so that each vector is loaded once."""
        w, lanes = self.window, self.window.lanes
        by_column: dict[int, list[tuple[int, int]]] = {}
        for k, pixels in enumerate(self.run.taps):
            for j in pixels:
                column = j * w.strides[1] + k * w.dilations[1]
                by_column.setdefault(column, []).append((j, k))
        for column in sorted(by_column):
            for (j, k), (i, r) in ((a, b) for a in by_column[column] for b in taps):
                at = i * self.run.width + j
                with self.code.vector(lanes) as v:
                    x = [self.n, self.cb, h, self.left + column, v]
                    value = self.parent.element(*x)
                    weight = self.parent.weight(self.cb, r, k, v)
                    self.code.store(self.acc, (at, v), self.acc[at, v] + value * weight)

    def _begin(self) -> None:
        for at in range(self.count * self.run.width):
            with self.code.vector(self.window.lanes) as v:
                start: Any = tirx.const(0, self.parent.dtype)
                for bias in [] if self.parent.small else self.parent.bias:
                    start = self.graph.read(bias, [0, self.cb, 0, 0, v])
                self.code.store(self.acc, (at, v), start)

    def _end(self) -> None:
        """The epilogue, on registers, and the stores."""
        output = self.parent.call.output
        for at in range(self.count * self.run.width):
            i, j = divmod(at, self.run.width)
            with self.code.vector(self.window.lanes) as v:
                self.graph.known[output] = self._element(at)
                self.graph.store(self.n, self.cb, self.row + i, self.start + j, v)
        del self.graph.known[output]

    def _element(self, at: int) -> Any:
        def element(*i: Any) -> Any:
            value = self.acc[at, i[-1]]
            if not self.parent.small:
                return value
            whole = value.astype("int32")
            for bias in self.parent.bias:
                whole = whole + self.graph.read(bias, [0, self.cb, 0, 0, i[-1]])
            return whole

        return element
