"""Pools: a row of ``pixels`` outputs in registers, by rows and columns of the window.

Data in channel blocks has its lanes as vectors; of plain data each lane is a scalar. Rows
outside shorten a loop, and columns outside are not written at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.compiler.ops.reduce import extreme
from armlet.targets import Target

from ..emit import Array, unravel
from ..loops import band, bands_of
from ..space import cuts
from ..template import Config, Template, roofline
from ..tensor_graph import TensorGraph
from .inorder.fetch import fetch_below
from .window import ColumnRun, Window, column_runs, inside_rows, window_of

#: window elements of a tile that are written out in a row of the window
WRITTEN_OUT = 64
#: cycles of a tile beside its window: where it lies, its stores
TILE_CYCLES = 20
#: rows that a band has at least
BAND = 2


class Pool(Template):
    name = "pool"

    def applies(self, group: Group, target: Target) -> bool:
        return group.anchor is not None and group.anchor.op.name in (
            "max_pool2d",
            "average_pool2d",
        )

    def default(self, group: Group, target: Target) -> Config:
        w = window_of(group.anchor)
        pixels = min(w.out_width, target.vector_registers // 2, max(1, WRITTEN_OUT // w.kernel[1]))
        return {"pixels": pixels}

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        w = window_of(group.anchor)
        most = max(1, min(target.vector_registers - 4, 2 * WRITTEN_OUT // w.kernel[1]))
        widths = {*cuts(w.out_width, most), self.default(group, target)["pixels"]}
        return [{"pixels": pixels} for pixels in sorted(widths)]

    def estimate(self, group: Group, target: Target, config: Config) -> float:
        """Loads and maxima or sums of the tiles, and what memory adds."""
        w = window_of(group.anchor)
        each = max(1 / target.load_units, 1 / target.fma_units)
        row = 0.0
        for run in column_runs(w, config["pixels"]):
            reads = w.kernel[0] * sum(map(len, run.taps))
            row += run.count * (max(reads * each, w.kernel[0] * target.fma_latency) + TILE_CYCLES)
        read = sum(v.type.bytes for v in group.inputs)
        arithmetic = w.n * w.planes * w.out_height * row
        return roofline(target, arithmetic, read, group.output.type.bytes)

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        return _Writer(graph, target, window_of(graph.group.anchor), config["pixels"]).write()


@dataclass
class _Writer:
    graph: TensorGraph
    target: Target
    window: Window
    pixels: int

    def write(self) -> Any:
        w, code = self.window, self.graph.code
        assert self.graph.group.anchor is not None
        self.anchor = self.graph.group.anchor
        self.op: Any = self.anchor.op
        self.largest = self.op.name == "max_pool2d"
        self.dtype = self.anchor.output.type.dtype
        self.blocked = self.anchor.output.type.rank == 5
        bands = bands_of(w.out_height, 1, BAND)
        with code.parallel(w.n * bands * w.planes) as p:
            n, index, c = map(code.index, unravel(p, (w.n, bands, w.planes)))
            first, count = band(code, index, bands, w.out_height)
            with code.loop(count, "row") as r:
                for run in column_runs(w, self.pixels):
                    with code.loop(run.count, "tile") as t:
                        self._tile(run, (n, c), first + r, run.start + t * run.width)
        return self.graph.function()

    def _tile(self, run: ColumnRun, plane: tuple[Any, Any], row: Any, start: Any) -> None:
        w, code = self.window, self.graph.code
        n, c = plane
        row, start = code.index(row), code.index(start)
        if x := self.graph.arrays.get(self.anchor.operands[0]):
            left = code.index(start * w.strides[1] - w.pads[1])
            fetch_below(code, self.target, x, w, (n, c, row, left), run.width)
        acc = code.registers(run.width, w.lanes, dtype=self.dtype)
        outside = extreme(self.dtype, False) if self.largest else tirx.const(0, self.dtype)
        for j in range(run.width):
            with code.vector(w.lanes) as v:
                code.store(acc, (j, v), outside)
        first, size = inside_rows(w, row)
        size = code.index(size)
        with code.loop(size, "r", start=first) as r:
            self._row(run, acc, (n, c, row, start), r)
        for j in range(run.width):
            columns = sum(j in pixels for pixels in run.taps)
            with code.vector(w.lanes) as v:
                self.graph.known[self.anchor.output] = self._result(acc, j, size, columns)
                self.graph.store(n, c, row, start + j, *[v] * self.blocked)
        del self.graph.known[self.anchor.output]

    def _row(self, run: ColumnRun, acc: Array, where: tuple[Any, ...], r: Any) -> None:
        """One row of the window."""
        w, code = self.window, self.graph.code
        n, c, row, start = where
        h = code.index(row * w.strides[0] + r * w.dilations[0] - w.pads[0])
        left = code.index(start * w.strides[1] - w.pads[1])
        for k, pixels in enumerate(run.taps):
            for j in pixels:
                with code.vector(w.lanes) as v:
                    column = left + j * w.strides[1] + k * w.dilations[1]
                    index = [n, c, h, column, *[v] * self.blocked]
                    value = self.graph.read(self.anchor.operands[0], index)
                    old = acc[j, v]
                    new = tirx.max(old, value) if self.largest else old + value
                    code.store(acc, (j, v), new)

    def _result(self, acc: Array, j: int, rows: Any, columns: int) -> Any:
        """The pool of pixel j, with ``rows`` x ``columns`` of its window inside."""
        kernel = self.window.kernel
        whole = self.op.name == "average_pool2d" and self.op.count_include_pad
        if whole or (isinstance(rows, int) and columns == kernel[1] and rows == kernel[0]):
            rows, columns = kernel

        def result(*index: Any) -> Any:
            total = acc[j, index[-1] if self.blocked else 0]
            if self.largest:
                return total
            if isinstance(rows, int):
                return total * tirx.const(1 / max(1, rows * columns), self.dtype)
            count = tirx.max(1, rows * columns).astype(self.dtype)
            return total * (tirx.const(1, self.dtype) / count)

        return result
