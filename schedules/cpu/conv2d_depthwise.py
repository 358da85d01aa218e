"""Depthwise convolution on channel-blocked data: a row of ``pixels`` vectors in registers.

Each input vector of a row is loaded once and goes to every pixel of the tile that it belongs
to; rows outside shorten the loop over the kernel's rows, and taps outside a tile at the left
or right border are not written at all. So nothing is multiplied by padding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.targets import Target

from ..emit import pieces
from ..loops import blocks_of
from ..template import Config, Template
from ..tensor_graph import TensorGraph
from .window import Window, column_runs, inside_rows, window_of

#: multiply-adds of a tile that are written out
WRITTEN_OUT = 80


class Conv2dDepthwise(Template):
    name = "conv2d_depthwise"

    def applies(self, group: Group, target: Target) -> bool:
        return group.anchor is not None and group.anchor.op.name == "depthwise_conv2d_blocked"

    def default(self, group: Group, target: Target) -> Config:
        w = window_of(group)
        widths = self._widths(w, target)
        return {"pixels": min(widths, key=lambda t: _cycles(w, t, target))}

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        return [{"pixels": t} for t in self._widths(window_of(group), target)]

    @staticmethod
    def _widths(w: Window, target: Target) -> list[int]:
        most = min(
            w.out_width,
            target.vector_registers - min(w.kernel[1], target.vector_registers // 2) - 2,
            max(1, WRITTEN_OUT // w.kernel[1]),
        )
        return list(range(1, max(1, most) + 1))

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        return _Writer(graph, window_of(graph.group), config["pixels"]).write()


def _cycles(w: Window, tile: int, target: Target) -> float:
    """Cycles of a row of the output."""
    (kh, kw), total = w.kernel, 0.0
    for _, width, count in pieces(w.out_width, tile):
        products = width * kw / target.fma_units
        loads = ((width - 1) * w.strides[1] + 2 * kw) / target.load_units
        total += count * (kh * (max(products, loads, target.fma_latency) + 3) + 2 * width + 20)
    return total * (1 + 0.02 * len(column_runs(w, tile)))


@dataclass
class _Writer:
    graph: TensorGraph
    window: Window
    pixels: int

    def write(self) -> Any:
        w, code = self.window, self.graph.code
        assert self.graph.group.anchor is not None
        self.anchor = self.graph.group.anchor
        self.x, self.w, *self.bias = self.anchor.operands
        planes = w.n * w.planes
        blocks, rows = blocks_of(w.out_height, planes)
        with code.parallel(planes * blocks) as p:
            plane, first = p // blocks, p % blocks * rows
            count = rows if blocks * rows == w.out_height else tirx.min(rows, w.out_height - first)
            with code.loop(count, "row") as r:
                for run in column_runs(w, self.pixels):
                    with code.loop(run.count, "tile") as t:
                        self._tile(run, plane, first + r, run.start + t * run.width)
        return self.graph.function()

    def _tile(self, run: Any, plane: Any, row: Any, start: Any) -> None:
        w, code = self.window, self.graph.code
        n, cb = code.index(plane // w.planes), code.index(plane % w.planes)
        row, start = code.index(row), code.index(start)
        acc = code.registers(run.width, w.lanes)
        for j in range(run.width):
            with code.vector(w.lanes) as v:
                begin: Any = tirx.const(0, "float32")
                for bias in self.bias:
                    begin = self.graph.read(bias, [0, cb, 0, 0, v])
                code.store(acc, (j, v), begin)
        first, size = inside_rows(w, row)
        with code.loop(size, "r", start=first) as r:
            self._row(run, acc, (n, cb, row, start), r)
        for j in range(run.width):
            with code.vector(w.lanes) as v:
                self.graph.known[self.anchor.output] = _register(acc, j)
                self.graph.store(n, cb, row, start + j, v)
        del self.graph.known[self.anchor.output]

    def _row(self, run: Any, acc: Any, where: tuple[Any, ...], r: Any) -> None:
        """One row of the kernel: by input column, so that each is loaded once."""
        w, code = self.window, self.graph.code
        n, cb, row, start = where
        h = code.index(row * w.strides[0] + r * w.dilations[0] - w.pads[0])
        left = code.index(start * w.strides[1] - w.pads[1])
        by_column: dict[int, list[tuple[int, int]]] = {}
        for k, pixels in enumerate(run.taps):
            for j in pixels:
                column = j * w.strides[1] + k * w.dilations[1]
                by_column.setdefault(column, []).append((j, k))
        for column in sorted(by_column):
            for j, k in by_column[column]:
                with code.vector(w.lanes) as v:
                    value = self.graph.read(self.x, [n, cb, h, left + column, v])
                    weight = self.graph.read(self.w, [cb, r, k, v])
                    code.store(acc, (j, v), acc[j, v] + value * weight)


def _register(acc: Any, j: int) -> Any:
    return lambda *i: acc[j, i[-1]]
