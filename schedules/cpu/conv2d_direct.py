"""Direct convolution on channel-blocked data: one register tile of pixels x channel vectors.

Georganas et al., SC'18. Knobs: ``pixels`` and ``vectors`` of the tile, ``rows`` of the output
that a step of the parallel axis does, ``by_channels``: whether groups of output channels are
the outer loop and rows the inner one, ``unroll``: steps of the reduction that are written out,
``ahead``: whether the weights of the next group of channels are asked for meanwhile.
No padded copy is made: rows outside shorten the loop over the kernel's rows, and tiles that
touch the left or right border replace the columns outside by zeros, for those of their pixels
that reach there. A pointwise convolution has its pixels in one long row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from armlet.compiler.ir import Call
from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.targets import Target

from ..emit import Array, ceil_div, pieces
from ..loops import blocks_of
from ..space import cuts, divisors, few_cuts, shares_well, thinned
from ..template import Config, Template, roofline
from ..tensor_graph import TensorGraph
from . import conv2d_ahead as ahead
from . import conv2d_planes as planes
from .inorder import conv2d as inorder
from .register_tile import LINE, Tile, best_tile, cycles, tile_features, tiles
from .wide_sums import stretches
from .window import flat_rows, inside_rows

#: rows that are too few to share among threads
FEW_ROWS = 8
#: vectors that go through an epilogue of long functions together
TOGETHER = 4


@dataclass(frozen=True)
class Shape:
    """The numbers of one convolution; ``rows`` x ``columns`` is the output as tiles see it."""

    n: int
    height: int
    width: int
    rows: int
    columns: int
    out_height: int
    out_width: int
    block: int
    out_blocks: int
    lanes: int
    chunks: int
    ki: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int]
    groups: int
    #: rows and columns are pixels in row-major order, cut anywhere
    flat: bool

    @property
    def steps(self) -> int:
        """Length of the reduction."""
        return self.chunks * self.ki * self.kernel[0] * self.kernel[1]

    @property
    def scalars(self) -> int:
        """Numbers of the input that a row of the output is made of."""
        columns = self.columns if self.flat else self.width
        return self.chunks * self.ki * self.kernel[0] * columns


def shape_of(call: Call, target: Target, may_flatten: bool = True) -> Shape:
    """The convolution's numbers; a pointwise one's rows may be any cut of its pixels."""
    op: Any = call.op
    n, _, height, width, block = call.operands[0].type.static_shape
    ob, chunks, kh, kw, ki, lanes = call.operands[1].type.static_shape
    _, _, oh, ow, _ = call.output.type.static_shape
    flat = may_flatten and (kh, kw) == (1, 1) and op.strides == (1, 1) and not any(op.pads)
    rows, columns = (
        flat_rows(oh * ow, target.element_bytes * chunks * ki, target) if flat else (oh, ow)
    )
    return Shape(
        n, height, width, rows, columns, oh, ow, block, ob, lanes, chunks, ki,
        (kh, kw), op.strides, op.dilations, op.pads[:2], op.group, flat,
    )  # fmt: skip


class Conv2dDirect(Template):
    name = "conv2d_direct"
    version = 2

    def applies(self, group: Group, target: Target) -> bool:
        return group.anchor is not None and group.anchor.op.name == "conv2d_blocked"

    def default(self, group: Group, target: Target) -> Config:
        assert group.anchor is not None
        shape = shape_of(group.anchor, target)
        return self.around(group, target, shape, best_tile(
            target, shape.columns, shape.out_blocks // shape.groups, shape.steps, shape.scalars
        ))  # fmt: skip

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        assert group.anchor is not None
        shape = shape_of(group.anchor, target)
        default = self.default(group, target)
        usual = steps_of(shape, default)
        per_group = shape.out_blocks // shape.groups
        widths, depths = cuts(shape.columns), cuts(per_group)
        least = min(target.fma_units * target.fma_latency, shape.columns * per_group)
        points = (
            {
                "pixels": tile.rows, "vectors": tile.columns, "rows": rows,
                "by_channels": by_channels, "unroll": unroll, "ahead": ask,
            }
            for tile in tiles(target, shape.columns, per_group)
            if tile.rows in widths and tile.columns in depths and tile.rows * tile.columns >= least
            for rows in few_cuts(shape.rows, default["rows"])
            for by_channels in (0, 1)
            for unroll in divisors(shape.ki, 1, 2, 4)
            for ask in ((0, 1) if ahead.streams(shape, target) else (0,))
        )  # fmt: skip
        shared = (p for p in points if shares_well(steps_of(shape, p), usual))
        return thinned(shared, [dict(default)])

    def around(self, group: Group, target: Target, shape: Shape, tile: Tile) -> Config:
        """The cut among threads: rows, or channels where they then read fewer bytes."""
        assert group.anchor is not None
        inputs = group.anchor.operands[0].type.bytes // shape.n
        weights = group.anchor.operands[1].type.bytes
        channel_groups = ceil_div(shape.out_blocks, tile.columns)
        by_channels = weights > target.l2_bytes or (
            shape.n * shape.rows < FEW_ROWS and channel_groups > 1 and weights > inputs
        )
        if not target.lane_fma:
            # inputs that stay in L2 are read again rather than weights, if these are more
            used = inputs // math.prod(max(1, a // k) for a, k in zip(shape.strides, shape.kernel))
            by_channels |= weights > used and inputs <= target.l2_bytes
        if target.in_order and shape.flat and shape.rows > 1:
            by_channels = False
        # a block's input stays in L2 while all groups of channels read it
        least = ceil_div(2 * inputs, target.l2_bytes) if channel_groups > 1 else 1
        # threads share groups of channels too, so that weights are read for few blocks
        shared = by_channels or not target.lane_fma
        _, rows = blocks_of(shape.rows, shape.n * (channel_groups if shared else 1), least)
        ask = channel_groups > 1 and ahead.streams(shape, target)
        return {
            "pixels": tile.rows, "vectors": tile.columns, "rows": rows,
            "by_channels": int(by_channels), "unroll": 1, "ahead": int(ask),
        }  # fmt: skip

    def estimate(self, group: Group, target: Target, config: Config) -> float:
        """The register tile's cycles over all rows, and what the block's memory adds."""
        assert group.anchor is not None
        s, tile = shape_of(group.anchor, target), Tile(config["pixels"], config["vectors"])
        vectors = s.out_blocks // s.groups
        per_row = cycles(tile, target, s.columns, vectors, s.steps, s.scalars)
        weights = group.anchor.operands[1].type.bytes
        # weights beyond L2 are streamed again for each block of rows
        times = 1 if config["by_channels"] else ceil_div(s.rows, config["rows"])
        streamed = weights * times if weights > target.l2_bytes else weights
        read = sum(v.type.bytes for v in group.inputs) - weights + streamed
        arithmetic = s.n * s.rows * s.groups * per_row
        return roofline(target, arithmetic, read, group.output.type.bytes)

    def features(self, group: Group, target: Target, config: Config) -> dict[str, float]:
        assert group.anchor is not None
        s, tile = shape_of(group.anchor, target), Tile(config["pixels"], config["vectors"])
        rows_of_input = (config["rows"] - 1) * s.strides[0] + s.kernel[0]
        block = target.element_bytes * rows_of_input * s.width * s.chunks * s.ki
        return {
            **tile_features(tile, target, s.columns, s.out_blocks // s.groups, s.steps),
            "written_out": config["pixels"] * config["vectors"] * config["unroll"],
            "block_of_l1": block / target.l1_bytes,
            "block_of_l2": block / target.l2_bytes,
            "weights_of_l2": group.anchor.operands[1].type.bytes / target.l2_bytes,
            "steps": steps_of(s, config),
        }

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        call = graph.group.anchor
        assert call is not None
        return DirectWriter(graph, target, call, shape_of(call, target), config).write()


def steps_of(shape: Shape, config: Config) -> int:
    """Steps of the parallel axis."""
    groups = shape.groups * ceil_div(shape.out_blocks // shape.groups, config["vectors"])
    tiles = ceil_div(shape.columns, config["pixels"]) if shape.n * shape.rows == 1 else 1
    return shape.n * ceil_div(shape.rows, config["rows"]) * groups * tiles


@dataclass(frozen=True)
class _Columns:
    """``count`` tiles in a row that are alike: these ``pixels`` of theirs reach outside."""

    start: int
    width: int
    count: int
    pixels: frozenset[int]


class DirectWriter:
    def __init__(
        self, graph: TensorGraph, target: Target, call: Call, shape: Shape, config: Config
    ) -> None:
        self.graph, self.code, self.shape, self.config = graph, graph.code, shape, config
        self.target, self.anchor = target, call
        self.x, self.w, *self.bias = call.operands
        self.dtype = call.output.type.dtype
        self.runs = self._columns()
        self.in_row = sum(run.count for run in self.runs)
        #: whether threads share the tiles of a row
        self.shared = shape.n * shape.rows == 1 and self.in_row > 1

    def write(self) -> Any:
        """A step is a group of channels in a block of rows; in a single row, of one tile."""
        s = self.shape
        blocks = s.n * ceil_div(s.rows, self.config["rows"])
        runs = pieces(s.out_blocks // s.groups, self.config["vectors"])
        per_group = sum(count for _, _, count in runs)
        channels = s.groups * per_group
        tiles = self.in_row if self.shared else 1
        with self.code.parallel(blocks * channels * tiles) as p:
            if self.config["by_channels"]:
                inside, channel = p % (blocks * tiles), p // (blocks * tiles)
            else:
                inside, channel = p // channels, p % channels
            where = inside // tiles, inside % tiles
            self._one_of(runs, channel % per_group, channel // per_group, where)
        return self.graph.function()

    def _one_of(self, runs: list[Any], index: Any, g: Any, where: tuple[Any, Any]) -> None:
        """The channels number ``index``, which is in the first or in the second run."""
        (start, width, count), *rest = runs
        if not rest:
            self._rows(where, g, start + index * width, width)
            return
        with self.code.choose(index < count) as (first, second):
            with first:
                self._rows(where, g, start + index * width, width)
            with second:
                ((start, width, _),) = rest
                self._rows(where, g, start + (index - count) * width, width)

    def _rows(self, where: tuple[Any, Any], g: Any, channel: Any, vectors: int) -> None:
        """A block of rows for ``vectors`` blocks of output channels."""
        s, rows, (inside, tile) = self.shape, self.config["rows"], where
        blocks = ceil_div(s.rows, rows)
        n, first = inside // blocks, inside % blocks * rows
        count = rows if s.rows % rows == 0 else tirx.min(rows, s.rows - first)
        channel = g * (s.out_blocks // s.groups) + channel
        self.band((n, g, channel), vectors, (first, count), tile if self.shared else None)

    def band(
        self, where: tuple[Any, Any, Any], vectors: int, rows: tuple[Any, Any], tile: Any = None
    ) -> None:
        """``vectors`` blocks of channels of some rows (first, number): all tiles, or one."""
        (n, g, channel), (first, count) = where, rows
        with self.code.loop(count, "row") as r:
            for run, before, t in self._each_tile(tile):
                among = first + r if self.config.get("by_channels") else r
                share = self._share(channel, vectors, among * self.in_row + before + t)
                corner = first + r, run.start + t * run.width
                self.tile(run, n, g, channel, vectors, corner, share)

    def tile(self, *where: Any) -> None:
        """Writes a register tile."""
        TileWriter(self, *where)

    def _each_tile(self, tile: Any) -> Iterator[tuple[_Columns, int, Any]]:
        """Each run, the tiles before it, and the tile in it: all in a loop, or the step's own."""
        before = 0
        for run in self.runs:
            if tile is not None:
                inside = tirx.And(tile >= before, tile < before + run.count)
                with self.code.when(inside):
                    yield run, before, tile - before
            else:
                with self.code.loop(run.count, "tile") as t:
                    yield run, before, t
            before += run.count

    def _share(self, channel: Any, vectors: int, number: Any) -> ahead.Share | None:
        """What tile ``number`` of a group of channels asks for of the next group's weights."""
        s, config = self.shape, self.config
        if not config.get("ahead"):
            return None
        rows = s.rows if config["by_channels"] else min(config["rows"], s.rows)
        return ahead.share(self.code, s, channel, vectors, self.in_row * rows, number)

    def _columns(self) -> list[_Columns]:
        """The tiles of a row, alike neighbours together."""
        found: list[_Columns] = []
        for start, width, count in pieces(self.shape.columns, self.config["pixels"]):
            for first in range(start, start + width * count, width):
                tile = _Columns(first, width, 1, self._outside(first, width))
                if found and (found[-1].width, found[-1].pixels) == (width, tile.pixels):
                    last = found.pop()
                    tile = _Columns(last.start, width, last.count + 1, tile.pixels)
                found.append(tile)
        return found

    def _outside(self, start: int, width: int) -> frozenset[int]:
        """The pixels of a tile that some column of the kernel takes outside the input."""
        s = self.shape
        if s.flat:
            return frozenset()
        reach = (s.kernel[1] - 1) * s.dilations[1]
        lefts = {j: (start + j) * s.strides[1] - s.pads[1] for j in range(width)}
        return frozenset(j for j, left in lefts.items() if left < 0 or left + reach >= s.width)


class TileWriter:
    """Writes one register tile: bias, reduction, epilogue."""

    def __init__(
        self, writer: DirectWriter, run: _Columns, n: Any, g: Any, channel: Any, vectors: int,
        corner: tuple[Any, Any], share: ahead.Share | None,
    ) -> None:  # fmt: skip
        self.writer, self.code, self.graph = writer, writer.code, writer.graph
        self.shape, self.run, self.vectors = writer.shape, run, vectors
        self.operands = writer.anchor.operands
        index = self.code.index
        self.n, self.g, self.channel = index(n), index(g), index(channel)
        self.row, self.start = map(index, corner)
        self.share = share
        self.acc = self.code.registers(run.width * vectors, self.shape.lanes, dtype=writer.dtype)
        self._write()

    def _write(self) -> None:
        scheduled = inorder.tile_of(self, self.writer.target)
        if scheduled is None:
            self._begin()
            self._reduce()
        else:
            inorder.reduce(self, scheduled, self.writer.target)
        self._end()

    def _each(self) -> Iterator[tuple[int, int]]:
        for j in range(self.run.width):
            for o in range(self.vectors):
                yield j, o

    def _begin(self) -> None:
        for j, o in self._each():
            with self.code.vector(self.shape.lanes) as v:
                start: Any = tirx.const(0, self.writer.dtype)
                for bias in self.writer.bias:
                    start = self.graph.read(bias, [0, self.channel + o, 0, 0, v])
                self.code.store(self.acc, (j * self.vectors + o, v), start)

    def _reduce(self) -> None:
        """Over blocks of input channels, kernel rows, kernel columns, channels of the block."""
        s = self.shape
        per_block = 1 if s.groups > 1 and s.chunks % (s.block // s.ki) else s.block // s.ki
        (whole, rest), op = divmod(s.chunks, per_block), self.writer.anchor.op
        length = per_block * s.ki * s.kernel[0] * s.kernel[1]
        for first, count in stretches(self.code, self.acc, op, length, whole, rest):
            if not count:
                self._kernel_rows(whole * per_block, rest)
                continue
            with self.code.loop(count, "cb", rolled=self.writer.target.lane_fma) as cb:
                self._kernel_rows((first + cb) * per_block, per_block)

    def _kernel_rows(self, chunk: Any, count: int) -> None:
        s, lanes = self.shape, self.writer.target.lane_fma
        first, size = (0, 1) if s.flat else inside_rows(s, self.row)
        # what they load of few channels LLVM would hold, and spill sums
        rolled = lanes or s.ki < s.lanes
        if lanes and s.block == 1 and (starts := planes.vectors_of_row(self)):
            with self.code.loop(size, "r", start=first, rolled=True) as r:
                planes.kernel_row(self, chunk, r, starts)
            return
        with (
            self.code.loop(size, "r", start=first, rolled=rolled) as r,
            self.code.loop(s.kernel[1], "s", rolled=rolled) as k,
        ):
            if lanes and count * s.ki == s.lanes:
                self._lanes(chunk, r, k)
            else:
                self._channels(chunk, count, r, k)

    def _channels(self, chunk: Any, count: int, r: Any, k: Any) -> None:
        """The channels of ``count`` chunks; weights of a pointwise kernel lie in one row."""
        s = self.shape
        unroll = self.writer.config["unroll"]
        ahead.fetch(self, chunk, r, k)
        if s.kernel == (1, 1) or s.ki == s.block:
            with self.code.loop(count * s.ki // unroll, "k") as i:
                for u in range(unroll):
                    at = i * unroll + u
                    self.multiply(chunk + at // s.ki, at % s.ki, r, k)
            return
        with self.code.loop(count, "c") as c, self.code.loop(s.ki // unroll, "k") as i:
            for u in range(unroll):
                self.multiply(chunk + c, i * unroll + u, r, k)

    def _lanes(self, chunk: Any, r: Any, k: Any) -> None:
        """A block of channels: a vector of each pixel is loaded once, and used lane by lane."""
        s = self.shape
        if s.flat and self.writer.x in self.graph.arrays:
            self._fetch_next(chunk)
        pixels = [
            self.code.registers(s.lanes, dtype=self.writer.dtype) for _ in range(self.run.width)
        ]
        for j, held in enumerate(pixels):
            with self.code.vector(s.lanes) as v:
                self.code.store(held, [v], self._input(j, chunk, v, r, k))
        for i in range(s.lanes):
            self.multiply(chunk + i // s.ki, i % s.ki, r, k, [held[[i]] for held in pixels])

    def _fetch_next(self, chunk: Any) -> None:
        """Asks for these channels of the pixels that follow in the row.

        There is a stream of addresses for each block of channels: too many for hardware to follow.
        """
        s = self.shape
        block = self.g * (s.chunks * s.ki // s.block) + chunk * s.ki // s.block
        for j in range(0, self.run.width, LINE // (self.writer.target.element_bytes * s.block)):
            where = [self.n, block, *self.pixel(self.run.width + j), 0]
            self.code.prefetch(self.graph.arrays[self.writer.x], where, level=1)

    def multiply(
        self, chunk: Any, i: Any, r: Any, k: Any, pixels: Sequence[Any] | None = None
    ) -> None:
        for j, o in self._each():
            with self.code.vector(self.shape.lanes) as v:
                at = [j * self.vectors + o, v]
                weight = self.graph.read(self.writer.w, [self.channel + o, chunk, r, k, i, v])
                pixel = pixels[j] if pixels else self._input(j, chunk, i, r, k)
                self.code.store(self.acc, at, self.acc[at] + pixel * weight)

    def _input(self, j: int, chunk: Any, i: Any, r: Any, k: Any) -> Any:
        s = self.shape
        chunk = self.g * s.chunks + chunk
        per_block = s.block // s.ki
        block, lane = chunk // per_block, chunk % per_block * s.ki + i
        if s.flat:
            return self.graph.read(self.writer.x, [self.n, block, *self.pixel(j), lane])
        h = self.row * s.strides[0] + r * s.dilations[0] - s.pads[0]
        w = (self.start + j) * s.strides[1] + k * s.dilations[1] - s.pads[1]
        if j not in self.run.pixels:
            return self.graph.read(self.writer.x, [self.n, block, h, w, lane])
        inside = tirx.max(0, tirx.min(w, s.width - 1))
        value = self.graph.read(self.writer.x, [self.n, block, h, inside, lane])
        return tirx.Select(tirx.And(w >= 0, w < s.width), value, tirx.const(0, self.writer.dtype))

    def pixel(self, j: Any) -> tuple[Any, Any]:
        """Where pixel j of the tile lies in the output."""
        if not self.shape.flat:
            return self.row, self.start + j
        pixel = self.row * self.shape.columns + self.start + j
        return pixel // self.shape.out_width, pixel % self.shape.out_width

    def _end(self) -> None:
        """The epilogue, on registers, and the stores."""
        self.graph.known[self.writer.anchor.output] = lambda *i: self.acc[0, i[-1]]
        if self.graph.transcendental():
            self._end_in_steps()
        else:
            for j, o in self._each():
                self._store(j, o, self.acc, j * self.vectors + o)
        del self.graph.known[self.writer.anchor.output]

    def _end_in_steps(self) -> None:
        """As ``_end``, a few pixels at a time: long functions would fill the instruction cache."""
        size, lanes = self.run.width * self.vectors, self.shape.lanes
        held = self.code.scratch(size, lanes, dtype=self.writer.dtype)
        for j, o in self._each():
            with self.code.vector(lanes) as v:
                at = (j * self.vectors + o, v)
                self.code.store(held, at, self.acc[at])
        for start, width, count in pieces(self.run.width, max(1, TOGETHER // self.vectors)):
            with self.code.loop(count, "step", rolled=True) as step:
                for j, o in itertools.product(range(width), range(self.vectors)):
                    pixel = start + step * width + j
                    self._store(pixel, o, held, pixel * self.vectors + o)

    def _store(self, j: Any, o: int, held: Array, at: Any) -> None:
        """A vector of pixel j, before its epilogue element ``at`` of ``held``."""
        with self.code.vector(self.shape.lanes) as v:
            self.graph.known[self.writer.anchor.output] = lambda *i: held[at, i[-1]]
            self.graph.store(self.n, self.channel + o, *self.pixel(j), v)
