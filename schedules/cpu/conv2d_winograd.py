"""Winograd's convolution on channel-blocked data: transforms fused to gather and scatter.

A step of the parallel axis takes ``tiles`` consecutive tiles of the output: it transforms
their inputs into scratch, multiplies at each of the (m+2)^2 places [tiles, C] by [C, O] with
register tiles of ``rows`` tiles x ``vectors`` channel vectors, and transforms the products
back, with bias and epilogue. ``blocks`` channel blocks of the output are in scratch at a time;
``by_channels``: they are a step of their own, which transforms the inputs again. That is
for weights larger than L2, so that each thread reads a share of them once. ``ahead`` asks
for each cache line of the weights while those of the place before it are used.

No padded copy is made: tiles that touch the border take zeros for what lies outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.targets import Target

from ..emit import Array, pieces, unravel
from ..template import Config, Template
from ..tensor_graph import TensorGraph
from .inorder import tile as inorder
from .inorder import winograd as scheduled
from .inorder.multiply import Operand, Steps, multiply
from .register_tile import Tile, multiply_add
from .winograd_model import LINE, Shape, candidates, cycles, default, shape_of
from .winograd_transform import Lines, Vector, transform_input, transform_output

#: tiles that are transformed before what is asked for is written
LEAD = 2
#: bytes of a number
_FLOAT = 4


class Conv2dWinograd(Template):
    name = "conv2d_winograd"

    def applies(self, group: Group, target: Target) -> bool:
        return group.anchor is not None and group.anchor.op.name == "conv2d_winograd"

    def default(self, group: Group, target: Target) -> Config:
        return default(shape_of(group), target)

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        return candidates(shape_of(group), target)

    def estimate(self, group: Group, target: Target, config: Config) -> float:
        return cycles(shape_of(group), target, config)

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        return _Writer(graph, target, shape_of(graph.group), config).write()


def _stride(elements: int, size: int) -> int:
    """A distance between places whose vectors do not meet in one set of the cache."""
    lines = -(-size * elements // LINE)
    return (lines + (lines % 2 == 0)) * LINE // size


class _Writer:
    def __init__(self, graph: TensorGraph, target: Target, shape: Shape, config: Config) -> None:
        self.graph, self.code, self.shape, self.config = graph, graph.code, shape, config
        self.target = target
        # a tile exceeds the registers of short vectors: LLVM would spill what it sees at once
        self.rolled = target.lane_fma
        assert graph.group.anchor is not None
        self.anchor = graph.group.anchor
        self.x, self.u, *self.bias = self.anchor.operands
        self.dtype = self.anchor.output.type.dtype
        self.runs = pieces(shape.tiles, config["tiles"])
        #: whether transforms are assembly, which reads the inputs as they lie
        self.scheduled = scheduled.transforms_tile(shape, target) and self.x in graph.arrays
        #: tiles of the largest step
        self.most = self.runs[0][1]

    def write(self) -> Any:
        s, code, held = self.shape, self.code, self.config["blocks"]
        steps = sum(count for _, _, count in self.runs)
        groups = s.out_blocks // held
        by_channels = self.config["by_channels"]
        with code.parallel(steps * (groups if by_channels else 1)) as p:
            self.step = code.index(p % steps)
            places, lanes = s.edge**2, max(s.block, s.lanes)
            size, dtype = s.element_bytes, self.dtype
            inputs, products = s.in_blocks * self.most * s.block, held * self.most * s.lanes
            self.inputs = code.scratch(places, _stride(inputs, size), dtype=dtype)
            self.products = code.scratch(places, _stride(products, size), dtype=dtype)
            self.square = code.scratch(s.edge, s.edge, lanes, dtype=dtype)
            self._count()
            self._transform_inputs()
            if by_channels:
                self._channels(p // steps * held)
            else:
                with code.loop(groups, "g") as g:
                    self._channels(g * held)
        return self.graph.function()

    def _count(self) -> None:
        """The first tile of the step, and how many there are."""
        (_, width, count), *rest = self.runs
        self.first = self.code.index(self.step * width)
        self.tiles: Any = width
        if rest:
            beyond = tirx.max(0, self.step - count)
            self.first = self.code.index(self.step * width - beyond)
            self.tiles = self.code.index(tirx.Select(self.step < count, width, width - 1))

    def _corner(self, t: Any) -> tuple[Any, Any, Any]:
        """Image, first row and first column of the output of tile ``t`` of the step."""
        s, index = self.shape, self.code.index
        n, y, x = unravel(index(self.first + t), (s.n, s.down, s.across))
        return index(n), index(y * s.m), index(x * s.m)

    # -- inputs -------------------------------------------------------------------------------

    def _transform_inputs(self) -> None:
        s, code = self.shape, self.code
        lines = Lines(code, s.block, self.dtype)
        # neighbouring tiles may share the cache lines to which they go
        with code.loop(s.in_blocks, "cb") as cb, code.loop(self.tiles, "t") as t:
            n, top, left = self._corner(t)
            if self.scheduled:
                self._scheduled_input(lines, (n, cb, top, left), t)
                return
            with code.loop(s.edge, "r", rolled=self.rolled) as r:
                self._row(lines, n, cb, code.index(top + r - s.pads[0]), left, r)
            place = code.index((cb * self.most + t) * s.block)
            with code.loop(s.edge, "j", rolled=self.rolled) as j:
                column = [self._squared(lines, i, j) for i in range(s.edge)]
                for i, value in enumerate(transform_input(lines, s.m, column)):
                    at = i * s.edge + j
                    if self.config["ahead"]:
                        # weights that passed through L2 have driven out what is written here
                        code.prefetch(self.inputs, (at, place + LEAD * s.block), level=1)
                    with code.vector(s.block) as v:
                        code.store(self.inputs, (at, place + v), value(v))

    def _scheduled_input(self, lines: Lines, corner: tuple[Any, ...], t: Any) -> None:
        """A tile by assembly; one that reaches outside is copied first, with zeros there."""
        s, code, (n, cb, top, left) = self.shape, self.code, corner
        first = code.index(top - s.pads[0]), code.index(left - s.pads[1])
        x, pixel = self.graph.arrays[self.x], _FLOAT * s.block
        to = Operand(self.inputs, self.inputs.at([0, (cb * self.most + t) * s.block]))
        apart = _FLOAT * self.inputs.shape[1]

        def transformed(tile: Operand, down: int) -> None:
            scheduled.transform_inputs(code, self.target, s.m, tile, down, to, apart)

        within = [
            tirx.And(at >= 0, at + s.edge <= size)
            for at, size in zip(first, (s.height, s.width), strict=True)
        ]
        with code.choose(tirx.And(*within)) as (whole, border):
            with whole:
                transformed(Operand(x, x.at([n, cb, *first, 0])), pixel * s.width)
            with border:
                with code.loop(s.edge, "r") as r:
                    self._row(lines, n, cb, code.index(first[0] + r), left, r)
                transformed(Operand(self.square, 0), pixel * s.edge)

    def _squared(self, lines: Lines, i: Any, j: Any) -> Vector:
        return lines.hold(lambda v: self.square[i, j, v])

    def _row(self, lines: Lines, n: Any, cb: Any, h: Any, left: Any, r: Any) -> None:
        """Row ``r`` of a tile, transformed; zeros if it lies outside."""
        s, code = self.shape, self.code
        if not s.rows_outside:
            self._columns(lines, n, cb, h, left, r)
            return
        with code.choose(tirx.And(h >= 0, h < s.height)) as (inside, outside):
            with inside:
                self._columns(lines, n, cb, h, left, r)
            with outside:
                for j in range(s.edge):
                    with code.vector(s.block) as v:
                        code.store(self.square, (r, j, v), tirx.const(0, self.dtype))

    def _columns(self, lines: Lines, n: Any, cb: Any, h: Any, left: Any, r: Any) -> None:
        s, code = self.shape, self.code
        first = code.index(left - s.pads[1])

        def element(j: int, v: Any) -> Any:
            return self.graph.read(self.x, [n, cb, h, first + j, v])

        def bounded(j: int, v: Any) -> Any:
            w = first + j
            inside = tirx.max(0, tirx.min(w, s.width - 1))
            value = self.graph.read(self.x, [n, cb, h, inside, v])
            return tirx.Select(tirx.And(w >= 0, w < s.width), value, tirx.const(0, self.dtype))

        def written(read: Any) -> None:
            row = [lines.hold(partial(read, j)) for j in range(s.edge)]
            if not self.scheduled:
                row = transform_input(lines, s.m, row)
            for j, value in enumerate(row):
                with code.vector(s.block) as v:
                    code.store(self.square, (r, j, v), value(v))

        if not s.columns_outside:
            written(element)
            return
        within = tirx.And(first >= 0, first + s.edge <= s.width)
        with code.choose(within) as (whole, border):
            with whole:
                written(element)
            with border:
                written(bounded)

    # -- products -----------------------------------------------------------------------------

    def _channels(self, channel: Any) -> None:
        """``blocks`` blocks of output channels, from ``channel``."""
        channel = self.code.index(channel)
        (_, width, count), *rest = self.runs
        if rest:
            with self.code.choose(self.step < count) as (more, fewer):
                with more:
                    self._multiply(channel, width)
                with fewer:
                    self._multiply(channel, width - 1)
        else:
            self._multiply(channel, width)
        self._transform_outputs(channel)

    def _multiply(self, channel: Any, tiles: int) -> None:
        """The matrix products of all places."""
        code, rows = self.code, pieces(tiles, self.config["rows"])
        # assembly has registers of its own
        apart = nullcontext() if inorder.speaks(self.target) else code.outlined()
        with apart, code.loop(self.shape.edge**2, "place", rolled=True) as place:
            for start, columns, count in pieces(self.config["blocks"], self.config["vectors"]):
                with code.loop(count, "o", rolled=True) as o:
                    for first, height, times in rows:
                        with code.loop(times, "t", rolled=True) as t:
                            corner = (place, start + o * columns, first + t * height)
                            self._tile(channel, corner, Tile(height, columns))

    def _tile(self, channel: Any, corner: Sequence[Any], tile: Tile) -> None:
        """One register tile, and where its products go."""
        s, code = self.shape, self.code
        place, block, first = map(code.index, corner)
        acc = code.registers(tile.rows, tile.columns, s.lanes, dtype=self.dtype)
        self._reduce(acc, tile, channel + block, (place, first))
        for j in range(tile.rows):
            for o in range(tile.columns):
                with code.vector(s.lanes) as v:
                    at = ((block + o) * self.most + first + j) * s.lanes + v
                    code.store(self.products, (place, at), acc[j, o, v])

    def _reduce(self, acc: Array, tile: Tile, channel: Any, at: Sequence[Any]) -> None:
        """Over blocks of input channels, channels of the block."""
        s, code, (place, first) = self.shape, self.code, at
        pixel = _FLOAT * s.block
        rows = tuple(j * pixel for j in range(tile.rows))
        body = inorder.Shape(
            tile.columns, rows, (inorder.Tap(0, tuple(range(tile.rows))),), s.block
        )
        aligned = s.channels % s.block == 0 and s.lanes == 4 and self.u in self.graph.arrays
        if aligned and inorder.fits(body, self.target):
            u = self.graph.arrays[self.u]
            multiply(
                code, self.target, body, acc,
                Operand(self.inputs, self.inputs.at([place, first * s.block])),
                Operand(u, u.at([place, channel, 0, 0]), _FLOAT * s.channels * s.lanes),
                Steps(s.in_blocks, self.most * pixel, _FLOAT * s.block * s.lanes),
            )  # fmt: skip
            return
        for j in range(tile.rows):
            for o in range(tile.columns):
                with code.vector(s.lanes) as v:
                    code.store(acc, (j, o, v), tirx.const(0, self.dtype))
        whole, rest = divmod(s.channels, s.block)
        for start, blocks, size in ((0, whole, s.block), (whole, 1, rest)):
            if not blocks or not size:
                continue
            with code.loop(blocks, "cb", rolled=True) as cb:
                at = (place, start + cb, first)
                if self.target.lane_fma and size == s.lanes:
                    self._lanes(acc, tile, channel, at)
                    continue
                with code.loop(size, "k") as k:
                    self._step(acc, tile, channel, at, k, lambda j: self._scalar(at, j, k))  # noqa: B023

    def _lanes(self, acc: Array, tile: Tile, channel: Any, at: Sequence[Any]) -> None:
        """A block of channels: a vector of each tile is loaded once, and used lane by lane."""
        lanes = self.shape.lanes
        held = [self.code.registers(lanes, dtype=self.dtype) for _ in range(tile.rows)]
        for j, register in enumerate(held):
            with self.code.vector(lanes) as v:
                self.code.store(register, [v], self._scalar(at, j, v))
        for k in range(lanes):
            self._step(acc, tile, channel, at, k, lambda j: held[j][[k]])  # noqa: B023

    def _scalar(self, at: Sequence[Any], j: int, k: Any) -> Any:
        place, cb, first = at
        return self.inputs[place, (cb * self.most + first + j) * self.shape.block + k]

    def _step(
        self, acc: Array, tile: Tile, channel: Any, at: Sequence[Any], k: Any, scalar: Any
    ) -> None:
        place, cb, _ = at
        k = cb * self.shape.block + k
        if self.config["ahead"]:
            for o in range(tile.columns):
                self.code.prefetch(self.graph.lies(self.u), [place + 1, channel + o, k, 0])
        multiply_add(
            self.code, acc, tile, scalar,
            lambda o, v: self.graph.read(self.u, [place, channel + o, k, v]),
        )  # fmt: skip

    # -- outputs ------------------------------------------------------------------------------

    def _transform_outputs(self, channel: Any) -> None:
        s, code = self.shape, self.code
        lines = Lines(code, s.lanes, self.dtype)
        with code.loop(self.config["blocks"], "ob") as ob, code.loop(self.tiles, "t") as t:
            n, top, left = self._corner(t)
            if self.scheduled:
                self._scheduled_output((n, code.index(channel + ob), top, left), ob, t)
                return
            with code.loop(s.edge, "j", rolled=self.rolled) as j:
                at = code.index((ob * self.most + t) * s.lanes)
                column = [self._product(lines, i * s.edge + j, at) for i in range(s.edge)]
                for i, value in enumerate(transform_output(lines, s.m, column)):
                    with code.vector(s.lanes) as v:
                        code.store(self.square, (i, j, v), value(v))
            rows = s.m if s.out_height % s.m == 0 else tirx.min(s.m, s.out_height - top)
            with code.loop(rows, "i", rolled=self.rolled) as i:
                row = [self._squared(lines, i, j) for j in range(s.edge)]
                values = transform_output(lines, s.m, row)
                self._store(values, (n, code.index(channel + ob), code.index(top + i), left))

    def _scheduled_output(self, corner: tuple[Any, ...], ob: Any, t: Any) -> None:
        s, code, (n, channel, top, left) = self.shape, self.code, corner
        acc = code.registers(s.m, s.m, s.lanes)
        at = self.products.at([0, (ob * self.most + t) * s.lanes])
        apart = _FLOAT * self.products.shape[1]
        tile = Operand(self.products, at)
        scheduled.transform_products(code, self.target, s.m, acc, tile, apart)
        left_over = s.out_height % s.m
        for i in range(s.m):
            values = [lambda v, i=i, j=j: acc[i, j, v] for j in range(s.m)]
            inside = code.when(top + i < s.out_height) if left_over and i >= left_over else None
            with inside or nullcontext():
                self._store(values, (n, channel, code.index(top + i), left))

    def _product(self, lines: Lines, place: Any, at: Any) -> Vector:
        return lines.hold(lambda v: self.products[place, at + v])

    def _store(self, values: Sequence[Vector], at: Sequence[Any]) -> None:
        """A row of a tile, with bias and epilogue, as far as it lies inside."""
        s, (n, channel, h, left) = self.shape, at
        for j, value in enumerate(values):
            if left_over := s.out_width % s.m:
                if j >= left_over:
                    with self.code.when(left + j < s.out_width):
                        self._element(value, n, channel, h, left + j)
                    continue
            self._element(value, n, channel, h, left + j)

    def _element(self, value: Vector, n: Any, channel: Any, h: Any, w: Any) -> None:
        def biased(*i: Any) -> Any:
            found = value(i[-1])
            for bias in self.bias:
                found = found + self.graph.read(bias, [0, channel, 0, 0, i[-1]])
            return found

        with self.code.vector(self.shape.lanes) as v:
            self.graph.known[self.anchor.output] = biased
            self.graph.store(n, channel, h, w, v)
        del self.graph.known[self.anchor.output]
