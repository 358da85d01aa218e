"""Convolution to one output channel on blocked data: input channels are the lanes.

Of a block of output channels there would be one lane to use. So each pixel of the tile has an
accumulator over a chunk of input channels, whose lanes are added up at the end; the epilogue
then runs on vectors of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.targets import Target

from ..emit import Array
from ..loops import blocks_of, powers
from ..template import Config, Template
from ..tensor_graph import TensorGraph
from .window import ColumnRun, Window, column_runs, inside_rows

#: lanes of a chunk below which the plain direct convolution is as good
LEAST_LANES = 4
#: pixels of a tile: a whole vector for the epilogue
PIXELS = 16


def _window(group: Group) -> Window:
    call = group.anchor
    assert call is not None
    op: Any = call.op
    n, _, height, width, block = call.operands[0].type.static_shape
    _, _, kh, kw, _, _ = call.operands[1].type.static_shape
    _, _, out_height, out_width, _ = call.output.type.static_shape
    return Window(
        n, 1, height, width, block, out_height, out_width,
        (kh, kw), op.strides, op.dilations, op.pads[:2],
    )  # fmt: skip


class Conv2dDot(Template):
    name = "conv2d_dot"

    def applies(self, group: Group, target: Target) -> bool:
        if group.anchor is None or group.anchor.op.name != "conv2d_blocked":
            return False
        out_blocks, _, _, _, ki, lanes = group.anchor.operands[1].type.static_shape
        return out_blocks == lanes == 1 and ki >= LEAST_LANES and ki & (ki - 1) == 0

    def default(self, group: Group, target: Target) -> Config:
        return {"pixels": min(_window(group).out_width, PIXELS, target.vector_registers // 2)}

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        return _Writer(graph, _window(graph.group), config["pixels"]).write()


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
        self.dtype = self.anchor.output.type.dtype
        _, self.chunks, _, _, self.ki, _ = self.w.type.static_shape
        blocks, rows = blocks_of(w.out_height, w.n)
        with code.parallel(w.n * blocks) as p:
            n, first = code.index(p // blocks), code.index(p % blocks * rows)
            count = rows if blocks * rows == w.out_height else tirx.min(rows, w.out_height - first)
            with code.loop(count, "row") as r:
                for run in column_runs(w, self.pixels):
                    with code.loop(run.count, "tile") as t:
                        self._tile(run, n, first + r, run.start + t * run.width)
        return self.graph.function()

    def _tile(self, run: ColumnRun, n: Any, row: Any, start: Any) -> None:
        code = self.graph.code
        row, start = code.index(row), code.index(start)
        acc = code.registers(run.width, self.ki, dtype=self.dtype)
        for j in range(run.width):
            with code.vector(self.ki) as v:
                code.store(acc, (j, v), tirx.const(0, self.dtype))
        first, size = inside_rows(self.window, row)
        with code.loop(self.chunks, "chunk") as chunk, code.loop(size, "r", start=first) as r:
            self._row(run, acc, (n, row, start), chunk, r)
        self._finish(run, acc, (n, row, start))

    def _row(self, run: ColumnRun, acc: Array, where: tuple[Any, ...], chunk: Any, r: Any) -> None:
        """One row of the kernel, for one chunk of channels."""
        w, code = self.window, self.graph.code
        n, row, start = where
        per_block = w.lanes // self.ki
        h = code.index(row * w.strides[0] + r * w.dilations[0] - w.pads[0])
        left = code.index(start * w.strides[1] - w.pads[1])
        block, lane = code.index(chunk // per_block), code.index(chunk % per_block * self.ki)
        for k, pixels in enumerate(run.taps):
            for j in pixels:
                with code.vector(self.ki) as v:
                    column = left + j * w.strides[1] + k * w.dilations[1]
                    value = self.graph.read(self.x, [n, block, h, column, lane + v])
                    weight = self.graph.read(self.w, [0, chunk, r, k, v, 0])
                    code.store(acc, (j, v), acc[j, v] + value * weight)

    def _finish(self, run: ColumnRun, acc: Array, where: tuple[Any, ...]) -> None:
        """Adds up the lanes of each pixel; then the epilogue on vectors of pixels."""
        code, lanes = self.graph.code, self.ki
        n, row, start = where
        while lanes > 1:
            lanes //= 2
            for j in range(run.width):
                with code.vector(lanes) as v:
                    code.store(acc, (j, v), acc[j, v] + acc[j, v + lanes])
        sums = code.registers(run.width, dtype=self.dtype)
        for j in range(run.width):
            total = acc[j, 0]
            for bias in self.bias:
                total = total + self.graph.read(bias, [0] * 5)
            code.store(sums, (j,), total)
        for begin, width in powers(run.width):
            with code.vector(width) as v:
                self.graph.known[self.anchor.output] = _element(sums, begin + v)
                self.graph.store(n, 0, row, start + begin + v, 0)
        del self.graph.known[self.anchor.output]


def _element(sums: Array, at: Any) -> Any:
    return lambda *_: sums[[at]]
