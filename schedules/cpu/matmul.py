"""Matrix products: a register tile of rows x column vectors, over a stretch of the depth.

``matmul_packed`` has its constant operand in column panels. ``matmul`` reads rows of the
right operand as they lie; only the columns that do not fill a vector are packed, into
scratch. Knobs: the tile's ``rows`` and ``vectors``; ``block``: rows that a step of the
parallel axis does, ``groups``: groups of columns that it does; ``depth``: how much of the
depth it does at a time, so that what is read again stays in L2, while partial sums wait in
scratch (Goto and van de Geijn, TOMS'08); ``prefetch``: whether the next group's panels are
fetched to L2 while this one's are used.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from armlet.compiler.ir import Value
from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.targets import Target

from ..emit import Array, ceil_div, pieces, unravel
from ..loops import blocks_of, powers
from ..template import Config, Template
from ..tensor_graph import TensorGraph
from .register_tile import Tile, multiply_add, step_cycles, tile_features, tiles
from .wide_sums import LENGTH, WideSums

#: tiles that are too few to share among threads
FEW_TILES = 16
#: rows that weights which do not stay in L2 are multiplied by at a time
MANY_ROWS = 192
#: rows whose products take long enough to fetch the next panels meanwhile
LEAD = 32
#: bytes a cycle that one core gets from beyond its L2
FAR_BYTES = 10
#: cycles of starting and ending a tile
TILE_CYCLES = 20
#: lines of one set of L1, about
WAYS = 8


@dataclass(frozen=True)
class Product:
    """[batch, rows, depth] x [batch, depth, columns]."""

    batch: tuple[int, ...]
    rows: int
    depth: int
    columns: int
    #: columns of a vector
    lanes: int
    packed: bool

    @property
    def vectors(self) -> int:
        return ceil_div(self.columns, self.lanes)


def product_of(group: Group, target: Target) -> Product:
    call = group.anchor
    assert call is not None
    left, right = (v.type.static_shape for v in call.operands[:2])
    *outer, columns = call.output.type.static_shape
    if call.op.name == "matmul_packed":
        # the rows of all batches are multiplied by the same matrix
        return Product((), math.prod(outer), left[-1], columns, right[2], True)
    return Product(tuple(outer[:-1]), outer[-1], left[-1], columns, target.lanes, False)


class MatMul(Template):
    name = "matmul"
    version = 2

    def applies(self, group: Group, target: Target) -> bool:
        if group.anchor is None or group.anchor.op.name not in ("matmul", "matmul_packed"):
            return False
        left, right = (v.type for v in group.anchor.operands[:2])
        return left.dtype in ("float32", "float16") and left.rank > 1 and right.rank > 1

    def default(self, group: Group, target: Target) -> Config:
        p = product_of(group, target)
        configs = [_around(p, target, t) for t in tiles(target, p.rows, p.vectors)]
        return min(configs, key=lambda c: cycles(p, target, c) * _unevenness(p, c))

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        p = product_of(group, target)
        usual = [_around(p, target, t) for t in tiles(target, p.rows, p.vectors)]
        least = min(cycles(p, target, c) for c in usual)
        for config in usual:
            if cycles(p, target, config) > 1.5 * least:
                continue
            groups = ceil_div(p.vectors, config["vectors"])
            knobs = itertools.product(
                sorted({config["block"], min(p.rows, 8 * config["rows"]), p.rows}),
                sorted({1, ceil_div(groups, 8), groups}),
                sorted({min(p.depth, d) for d in (256, 768, p.depth)}),
                (0, 1) if p.packed else (0,),
            )
            for block, some, depth, prefetch in knobs:
                yield {
                    **config, "block": block, "groups": some, "depth": depth, "prefetch": prefetch
                }  # fmt: skip

    def estimate(self, group: Group, target: Target, config: Config) -> float:
        return cycles(product_of(group, target), target, config)

    def features(self, group: Group, target: Target, config: Config) -> dict[str, float]:
        p, tile = product_of(group, target), Tile(config["rows"], config["vectors"])
        depth = min(config["depth"], p.depth)
        columns = config["groups"] * config["vectors"] * p.lanes
        size = target.element_bytes
        return {
            **tile_features(tile, target, p.rows, p.vectors, depth),
            "stretches": ceil_div(p.depth, depth),
            "block_of_l2": size * config["block"] * depth / target.l2_bytes,
            "columns_of_l2": size * columns * depth / target.l2_bytes,
            "weights_of_l2": size * p.depth * p.columns / target.l2_bytes,
        }

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        return _Writer(graph, product_of(graph.group, target), config).write()


def _around(p: Product, target: Target, tile: Tile) -> Config:
    """The other knobs for a tile."""
    batch, size = math.prod(p.batch), target.element_bytes
    groups = ceil_div(p.vectors, tile.columns)
    heights = ceil_div(p.rows, tile.rows)
    depth, some, prefetch = p.depth, groups, False
    right_is_large = size * p.depth * p.columns > target.l2_bytes // 8
    if p.packed and groups > 1 and (right_is_large or batch * heights < FEW_TILES):
        # the weights pass once for many rows, which stay in L2
        blocks = ceil_div(p.rows, MANY_ROWS)
        block = min(p.rows, ceil_div(heights, blocks) * tile.rows)
        stretches = ceil_div(size * block * p.depth, target.l2_bytes * 3 // 4)
        depth = ceil_div(p.depth, stretches)
        some = 1 if stretches == 1 else ceil_div(groups, 8)
        prefetch = block >= LEAD
    else:
        # a block's rows stay in L2 while all groups of columns pass
        least = ceil_div(2 * size * p.rows * p.depth, target.l2_bytes)
        if not p.packed:
            # each block packs the last columns anew
            least = max(1, min(least, heights // 2))
        _, block = blocks_of(heights, batch, least)
        block = min(p.rows, block * tile.rows)
    return {
        "rows": tile.rows,
        "vectors": tile.columns,
        "block": block,
        "groups": some,
        "depth": depth,
        "prefetch": int(prefetch),
    }


def _steps(p: Product, config: Config) -> int:
    chunks = ceil_div(ceil_div(p.vectors, config["vectors"]), config["groups"])
    return math.prod(p.batch) * ceil_div(p.rows, config["block"]) * chunks


def _unevenness(p: Product, config: Config) -> float:
    """What a few threads lose to the last steps, with the most weight on one thread."""
    steps = _steps(p, config)
    weights = {1: 0.5, 2: 0.3, 4: 0.1, 8: 0.1}
    return sum(w * ceil_div(steps, t) * t / steps for t, w in weights.items())


def cycles(p: Product, target: Target, config: Config) -> float:
    """Cycles of one core: its tiles' steps, and weights that come from beyond L2."""
    stretches = ceil_div(p.depth, config["depth"])
    total = 0.0
    for _, rows, blocks in pieces(p.rows, config["block"]):
        for _, width, columns in pieces(p.vectors, config["vectors"]):
            for _, height, times in pieces(rows, config["rows"]):
                step = step_cycles(Tile(height, width), target)
                panel = target.element_bytes * p.lanes * width * config["depth"]
                step += 0.2 * width * (panel > target.l1_bytes // 2)
                # rows that lie a page apart contend for the same lines of L1
                step += 0.1 * height * (height > WAYS and p.depth % 1024 == 0)
                end = TILE_CYCLES + 2 * height * width * stretches
                total += blocks * columns * times * (p.depth * step + end)
    total *= math.prod(p.batch)
    far = target.element_bytes * p.depth * p.columns * math.prod(p.batch) / FAR_BYTES
    # what is not fetched ahead is waited for by the first of the tiles that use it
    first = total if config["prefetch"] else total / ceil_div(config["block"], config["rows"])
    return total - first + max(first, far) + 0.2 * min(first, far)


@dataclass(frozen=True)
class _Columns:
    """``count`` groups of ``vectors`` vectors; the last vector of a tail is partly filled."""

    start: int
    vectors: int
    count: int
    tail: bool = False


@dataclass(frozen=True)
class _Stretch:
    """Which part of the depth is at hand; ``number`` of ``count``."""

    number: Any
    count: int
    start: Any
    size: Any


class _Writer:
    def __init__(self, graph: TensorGraph, product: Product, config: Config) -> None:
        self.graph, self.code, self.p, self.config = graph, graph.code, product, config
        assert graph.group.anchor is not None
        self.anchor = graph.group.anchor
        self.left, self.right, *self.bias = self.anchor.operands
        self.dtype = self.anchor.output.type.dtype
        self.packed_tail: Array | None = None
        self.runs = self._runs()
        #: groups of columns: of all, and of a step
        self.all = sum(run.count for run in self.runs)
        self.groups = min(config["groups"], self.all)

    def write(self) -> Any:
        p, code, block = self.p, self.code, self.config["block"]
        batch, blocks = math.prod(p.batch), ceil_div(p.rows, block)
        with code.parallel(batch * blocks * ceil_div(self.all, self.groups)) as step:
            inside = code.index(step % (batch * blocks))
            self.batch = [code.index(i) for i in unravel(inside // blocks, p.batch)]
            self.first = code.index(inside % blocks * block)
            if not p.packed and p.columns % p.lanes:
                self._pack_tail()
            self._step(code.index(step // (batch * blocks) * self.groups))
        return self.graph.function()

    def _step(self, first: Any) -> None:
        """The groups of columns from ``first`` on, for a block of rows."""
        p, code, depth = self.p, self.code, min(self.config["depth"], self.p.depth)
        count = ceil_div(p.depth, depth)
        groups: Any = self.groups
        if self.all % self.groups:
            groups = tirx.min(groups, self.all - first)
        if count > 1:
            self.partial = code.scratch(
                self.groups, self.config["block"], self.config["vectors"], p.lanes,
                dtype=self.dtype,
            )  # fmt: skip
        with code.loop(count, "s") as s:
            start = code.index(s * depth)
            size = tirx.min(depth, p.depth - start) if p.depth % depth else depth
            self.stretch = _Stretch(s, count, start, size)
            with code.loop(groups, "g") as g:
                self.place = g
                self._group(self.runs, first + g)

    def _runs(self) -> list[_Columns]:
        p = self.p
        runs = [_Columns(*r) for r in pieces(p.vectors, self.config["vectors"])]
        if p.columns % p.lanes:
            last = runs.pop()
            if last.count > 1:
                runs.append(_Columns(last.start, last.vectors, last.count - 1))
            start = last.start + (last.count - 1) * last.vectors
            runs.append(_Columns(start, last.vectors, 1, tail=True))
        return runs

    def _group(self, runs: Sequence[_Columns], index: Any) -> None:
        """The group number ``index`` of all runs."""
        run, *rest = runs
        if not rest:
            self._rows(run, run.start + index * run.vectors)
            return
        with self.code.choose(index < run.count) as (here, later):
            with here:
                self._rows(run, run.start + index * run.vectors)
            with later:
                self._group(rest, index - run.count)

    def _rows(self, run: _Columns, vector: Any) -> None:
        """All rows of a block for one group of columns."""
        p, block = self.p, self.config["block"]
        vector = self.code.index(vector)
        last = p.rows % block
        if not last:
            self._tiles(run, vector, block)
            return
        with self.code.choose(self.first + block <= p.rows) as (whole, part):
            with whole:
                self._tiles(run, vector, block)
            with part:
                self._tiles(run, vector, last)

    def _tiles(self, run: _Columns, vector: Any, rows: int) -> None:
        heights = pieces(rows, self.config["rows"])
        fetched = ceil_div(run.vectors, sum(count for *_, count in heights))
        number = 0
        for start, height, count in heights:
            with self.code.loop(count, "t") as t:
                ahead = [
                    self._ahead(run, vector, (number + t) * fetched + i) for i in range(fetched)
                ]
                self._tile(
                    run,
                    vector,
                    self.code.index(start + t * height),
                    Tile(height, run.vectors),
                    ahead,
                )
            number += count

    def _ahead(self, run: _Columns, vector: Any, number: Any) -> Any:
        """The vector of the next group that one tile fetches to L2: each tile another one."""
        return self.code.index(vector + run.vectors + number % run.vectors)

    def _tile(self, run: _Columns, vector: Any, row: Any, tile: Tile, ahead: Sequence[Any]) -> None:
        """``row`` counts from the first of the block."""
        p, code, at = self.p, self.code, self.stretch
        acc = code.registers(tile.rows, tile.columns, p.lanes, dtype=self.dtype)
        if at.count > 1:
            with code.choose(at.number == 0) as (begins, goes_on):
                with begins:
                    self._begin(acc, tile, vector)
                with goes_on:
                    self._load(acc, tile, row)
        else:
            self._begin(acc, tile, vector)
        op: Any = self.anchor.op
        if op.wide_sums:
            sums = WideSums(code, acc)
            blocks = tirx.floordiv(at.size + (LENGTH - 1), LENGTH)
            with code.loop(blocks, "sum") as b, sums.block():
                start = code.index(at.start + b * LENGTH)
                left = tirx.min(LENGTH, at.start + at.size - start)
                self._products(acc, tile, run, vector, row, (start, left), ahead)
            sums.end()
        else:
            self._products(acc, tile, run, vector, row, (at.start, at.size), ahead)
        if at.count > 1:
            with code.choose(at.number == at.count - 1) as (ends, goes_on):
                with ends:
                    self._end(acc, tile, run, vector, row)
                with goes_on:
                    self._keep(acc, tile, row)
        else:
            self._end(acc, tile, run, vector, row)

    def _products(
        self, acc: Array, tile: Tile, run: _Columns, vector: Any, row: Any, part: tuple[Any, Any],
        ahead: Sequence[Any],
    ) -> None:  # fmt: skip
        """A part of the depth (first, number)."""
        code = self.code
        with code.loop(part[1], "k", part[0]) as k:
            if self.config["prefetch"]:
                for v in ahead:
                    code.prefetch(self.graph.lies(self.right), [v, k, 0])
            multiply_add(
                code, acc, tile,
                lambda j: self._left(self.first + row + j, k),
                lambda o, v: self._right(run, vector, o, k, v),
            )  # fmt: skip

    def _begin(self, acc: Array, tile: Tile, vector: Any) -> None:
        for j in range(tile.rows):
            for o in range(tile.columns):
                with self.code.vector(self.p.lanes) as v:
                    start = self._start((vector + o) * self.p.lanes + v)
                    self.code.store(acc, (j, o, v), start)

    def _load(self, acc: Array, tile: Tile, row: Any) -> None:
        """The sums over the stretches before this one."""
        for j in range(tile.rows):
            for o in range(tile.columns):
                with self.code.vector(self.p.lanes) as v:
                    self.code.store(acc, (j, o, v), self.partial[self.place, row + j, o, v])

    def _keep(self, acc: Array, tile: Tile, row: Any) -> None:
        for j in range(tile.rows):
            for o in range(tile.columns):
                with self.code.vector(self.p.lanes) as v:
                    self.code.store(self.partial, (self.place, row + j, o, v), acc[j, o, v])

    def _end(self, acc: Array, tile: Tile, run: _Columns, vector: Any, row: Any) -> None:
        p = self.p
        for j in range(tile.rows):
            for o in range(tile.columns):
                partial = run.tail and o == tile.columns - 1
                for start, width in powers(p.columns % p.lanes if partial else p.lanes):
                    column = (vector + o) * p.lanes
                    self._store(acc, (j, o), self.first + row + j, column, start, width)

    def _store(
        self, acc: Array, at: tuple[int, int], row: Any, column: Any, start: int, width: int
    ) -> None:
        """The epilogue, on registers, and the stores."""
        shape = self.anchor.output.type.static_shape
        outer = unravel(row, shape[:-1]) if self.p.packed else [*self.batch, row]
        with self.code.vector(width) as v:
            self.graph.known[self.anchor.output] = lambda *_: acc[(*at, start + v)]
            self.graph.store(*outer, column + start + v)
        del self.graph.known[self.anchor.output]

    def _start(self, column: Any) -> Any:
        for bias in self.bias:
            return self.graph.read(bias, [column])
        return tirx.const(0, self.dtype)

    def _left(self, row: Any, k: Any) -> Any:
        shape = self.left.type.static_shape
        if self.p.packed:
            return self.graph.read(self.left, [*unravel(row, shape[:-1]), k])
        return self.graph.read(self.left, [*self._own_batch(self.left), row, k])

    def _right(self, run: _Columns, vector: Any, o: int, k: Any, v: Any) -> Any:
        if self.p.packed:
            return self.graph.read(self.right, [vector + o, k, v])
        if run.tail and o == run.vectors - 1:
            assert self.packed_tail is not None
            return self.packed_tail[k, v]
        column = (vector + o) * self.p.lanes + v
        return self.graph.read(self.right, [*self._own_batch(self.right), k, column])

    def _own_batch(self, value: Value) -> list[Any]:
        """The batch's indices into an operand, whose batch axes may be broadcast."""
        sizes = value.type.static_shape[:-2]
        own = self.batch[len(self.batch) - len(sizes) :]
        return [0 if size == 1 else i for i, size in zip(own, sizes, strict=True)]

    def _pack_tail(self) -> None:
        """The columns beyond the last whole vector, in rows of a whole vector."""
        p, code = self.p, self.code
        packed = code.scratch(p.depth, p.lanes, dtype=self.dtype)
        first = p.columns // p.lanes * p.lanes
        with code.loop(p.depth, "k") as k:
            with code.vector(p.lanes) as v:
                code.store(packed, (k, v), tirx.const(0, self.dtype))
            for start, width in powers(p.columns % p.lanes):
                with code.vector(width) as v:
                    index = [*self._own_batch(self.right), k, first + start + v]
                    code.store(packed, (k, start + v), self.graph.read(self.right, index))
        self.packed_tail = packed
