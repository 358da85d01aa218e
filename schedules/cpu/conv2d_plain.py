"""Convolution and its transpose on plain [N, C, H, W] data, of any kind of groups and strides.

A step pads its rows of one group's channels into scratch, with the columns sorted by their
remainder to the stride, so that neighbouring pixels of the output read neighbours. Then a
register tile of output channels x vectors of pixels runs over channels, rows and columns of
the kernel. A transposed convolution spreads its input with zeros between: right for any
dilation, though it multiplies the zeros too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.targets import Target

from ..emit import Array, ceil_div, pieces
from ..loops import blocks_of, powers, vectors
from ..template import Config, Template
from ..tensor_graph import TensorGraph
from .register_tile import Tile, best_tile, multiply_add, tiles


@dataclass(frozen=True)
class Shape:
    n: int
    groups: int
    #: channels of a group, in and out
    depth: int
    out: int
    height: int
    width: int
    out_height: int
    out_width: int
    kernel: tuple[int, int]
    #: of the convolution on the padded (and spread) input
    strides: tuple[int, int]
    dilations: tuple[int, int]
    #: where the input's first row and column lie in the padded one
    origin: tuple[int, int]
    #: distance of the input's rows and columns there
    spread: tuple[int, int]
    transposed: bool

    @property
    def steps(self) -> int:
        return self.depth * math.prod(self.kernel)


def shape_of(group: Group) -> Shape:
    call = group.anchor
    assert call is not None
    op: Any = call.op
    n, channels, height, width = call.operands[0].type.static_shape
    kernel = call.operands[1].type.static_shape[2:]
    _, out, out_height, out_width = call.output.type.static_shape
    transposed = call.op.name == "conv_transpose2d"
    strides, spread, origin = op.strides, (1, 1), op.pads[:2]
    if transposed:
        spans = [(k - 1) * d for k, d in zip(kernel, op.dilations, strict=True)]
        strides, spread = (1, 1), op.strides
        origin = (spans[0] - op.pads[0], spans[1] - op.pads[1])
    return Shape(
        n, op.group, channels // op.group, out // op.group, height, width, out_height, out_width,
        kernel, strides, op.dilations, origin, spread, transposed,  # type: ignore[arg-type]
    )  # fmt: skip


class Conv2dPlain(Template):
    name = "conv2d_plain"

    def applies(self, group: Group, target: Target) -> bool:
        return (
            group.anchor is not None
            and group.anchor.op.name in ("conv2d", "conv_transpose2d")
            and group.anchor.output.type.dtype in ("float32", "float16")
        )

    def default(self, group: Group, target: Target) -> Config:
        s = shape_of(group)
        vectors = ceil_div(s.out_width, target.lanes)
        return self._around(s, target, best_tile(target, s.out, vectors, s.steps))

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        s = shape_of(group)
        for tile in tiles(target, s.out, ceil_div(s.out_width, target.lanes)):
            yield self._around(s, target, tile)

    @staticmethod
    def _around(s: Shape, target: Target, tile: Tile) -> Config:
        row_bytes = (
            target.element_bytes
            * s.depth
            * s.strides[0]
            * s.strides[1]
            * (s.out_width + target.lanes)
        )
        least = ceil_div(2 * row_bytes * s.out_height, target.l2_bytes)
        _, rows = blocks_of(s.out_height, s.n * s.groups, least)
        return {"channels": tile.rows, "vectors": tile.columns, "rows": rows}

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        return _Writer(graph, shape_of(graph.group), target, config).write()


class _Writer:
    def __init__(self, graph: TensorGraph, shape: Shape, target: Target, config: Config) -> None:
        self.graph, self.code, self.s, self.config = graph, graph.code, shape, config
        self.lanes = target.lanes
        assert graph.group.anchor is not None
        self.anchor = graph.group.anchor
        self.x, self.w, *self.bias = self.anchor.operands
        self.dtype = self.anchor.output.type.dtype
        self.vectors = ceil_div(shape.out_width, self.lanes)

    def write(self) -> Any:
        s, code, rows = self.s, self.code, self.config["rows"]
        blocks = ceil_div(s.out_height, rows)
        reach = [(k - 1) * d for k, d in zip(s.kernel, s.dilations, strict=True)]
        columns = self.vectors * self.lanes + reach[1] // s.strides[1]
        with code.parallel(s.n * s.groups * blocks) as p:
            plane, first = p // blocks, code.index(p % blocks * rows)
            self.n, self.g = code.index(plane // s.groups), code.index(plane % s.groups)
            count = rows if s.out_height % rows == 0 else tirx.min(rows, s.out_height - first)
            padded_rows = (rows - 1) * s.strides[0] + reach[0] + 1
            padded = code.scratch(s.depth, padded_rows, s.strides[1], columns, dtype=self.dtype)
            self._pad(padded, first)
            for start, width, times in pieces(s.out, self.config["channels"]):
                with code.loop(times, "o") as o:
                    channel = code.index(start + o * width)
                    with code.loop(count, "row") as r:
                        self._row(padded, channel, width, first, r)
        return self.graph.function()

    # -- the padded input -----------------------------------------------------------------------

    def _pad(self, padded: Array, first: Any) -> None:
        s, code = self.s, self.code
        depth, rows, phases, columns = padded.shape
        with code.loop(depth, "k") as k, code.loop(rows, "i") as i:
            for phase in range(phases):
                vectors(
                    code, columns, self.lanes,
                    lambda c, phase=phase: code.store(  # type: ignore[misc]
                        padded, (k, i, phase, c), tirx.const(0, self.dtype)
                    ),
                )  # fmt: skip
            above = code.index(first * s.strides[0] + i - s.origin[0])
            inside = tirx.And(above >= 0, above < s.height * s.spread[0])
            if s.spread[0] > 1:
                inside = tirx.And(inside, tirx.floormod(above, s.spread[0]) == 0)
            with code.when(inside):
                self._copy(padded, k, i, tirx.floordiv(above, s.spread[0]))

    def _copy(self, padded: Array, k: Any, i: Any, h: Any) -> None:
        """Row ``h`` of channel ``k`` to row ``i`` of the padded input."""
        s, code = self.s, self.code
        _, _, phases, columns = padded.shape
        spread, origin = s.spread[1], s.origin[1]
        begin = max(0, ceil_div(-origin, spread))
        end = min(s.width, ceil_div(columns * phases - origin, spread))
        if end <= begin:
            return

        def move(c: Any) -> None:
            to = (begin + c) * spread + origin
            place = (k, i, tirx.floormod(to, phases), tirx.floordiv(to, phases))
            index = [self.n, self.g * s.depth + k, h, begin + c]
            code.store(padded, place, self.graph.read(self.x, index))

        if phases == spread == 1:
            vectors(code, end - begin, self.lanes, move)
            return
        with code.loop(end - begin, "c") as c:
            move(c)

    # -- the register tile ----------------------------------------------------------------------

    def _row(self, padded: Array, channel: Any, channels: int, first: Any, r: Any) -> None:
        tail = self.s.out_width % self.lanes
        runs = pieces(self.vectors, self.config["vectors"])
        for index, (start, width, count) in enumerate(runs):
            last = index == len(runs) - 1 and tail
            if count - bool(last):
                with self.code.loop(count - bool(last), "t") as t:
                    vector = self.code.index(start + t * width)
                    self._tile(padded, channel, Tile(channels, width), first, r, vector)
            if last:
                vector = start + (count - 1) * width
                self._tile(padded, channel, Tile(channels, width), first, r, vector, tail)

    def _tile(
        self, padded: Array, channel: Any, tile: Tile, first: Any, r: Any, vector: Any,
        tail: int = 0,
    ) -> None:  # fmt: skip
        s, code = self.s, self.code
        acc = code.registers(tile.rows, tile.columns, self.lanes, dtype=self.dtype)
        out = self.g * s.out + channel
        for j in range(tile.rows):
            for o in range(tile.columns):
                with code.vector(self.lanes) as v:
                    start: Any = tirx.const(0, self.dtype)
                    for bias in self.bias:
                        start = self.graph.read(bias, [out + j])
                    code.store(acc, (j, o, v), start)
        with (
            code.loop(s.depth, "k") as k,
            code.loop(s.kernel[0], "kr") as kr,
            code.loop(s.kernel[1], "ks") as ks,
        ):
            row = code.index(r * s.strides[0] + kr * s.dilations[0])
            column = ks * s.dilations[1]
            phase = code.index(tirx.floormod(column, s.strides[1]))
            left = code.index(tirx.floordiv(column, s.strides[1]) + vector * self.lanes)
            multiply_add(
                code, acc, tile,
                lambda j: self._weight(channel + j, k, kr, ks),
                lambda o, v: padded[k, row, phase, left + o * self.lanes + v],
            )  # fmt: skip
        for j in range(tile.rows):
            for o in range(tile.columns):
                held = tail if tail and o == tile.columns - 1 else self.lanes
                for begin, width in powers(held):
                    with code.vector(width) as v:
                        self.graph.known[self.anchor.output] = _register(acc, j, o, begin + v)
                        at = (vector + o) * self.lanes + begin + v
                        self.graph.store(self.n, out + j, first + r, at)
        del self.graph.known[self.anchor.output]

    def _weight(self, channel: Any, k: Any, r: Any, c: Any) -> Any:
        s = self.s
        if not s.transposed:
            return self.graph.read(self.w, [self.g * s.out + channel, k, r, c])
        flipped = [s.kernel[0] - 1 - r, s.kernel[1] - 1 - c]
        return self.graph.read(self.w, [self.g * s.depth + k, channel, *flipped])


def _register(acc: Array, j: int, o: int, lane: Any) -> Any:
    return lambda *_: acc[j, o, lane]
