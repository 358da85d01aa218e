"""Matrix products: a register tile of rows x column vectors, over the whole depth at once.

``matmul_packed`` has its constant operand in column panels. ``matmul`` reads rows of the
right operand as they lie; only the columns that do not fill a vector are packed, into
scratch. Knobs: the tile's ``rows`` and ``vectors``, ``block``: rows that a step of the
parallel axis does, ``by_columns``: whether a step does one group of columns instead of all.
"""

from __future__ import annotations

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
from .register_tile import Tile, best_tile, multiply_add, tiles

#: tiles that are too few to share among threads
FEW_TILES = 16


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

    def applies(self, group: Group, target: Target) -> bool:
        if group.anchor is None or group.anchor.op.name not in ("matmul", "matmul_packed"):
            return False
        left, right = (v.type for v in group.anchor.operands[:2])
        return left.dtype == "float32" and left.rank > 1 and right.rank > 1

    def default(self, group: Group, target: Target) -> Config:
        p = product_of(group, target)
        return self._around(p, target, best_tile(target, p.rows, p.vectors, p.depth))

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        p = product_of(group, target)
        for tile in tiles(target, p.rows, p.vectors):
            yield self._around(p, target, tile)

    @staticmethod
    def _around(p: Product, target: Target, tile: Tile) -> Config:
        batch = math.prod(p.batch)
        groups = ceil_div(p.vectors, tile.columns)
        right = 4 * p.depth * p.columns
        heights = ceil_div(p.rows, tile.rows)
        by_columns = (
            p.packed
            and groups > 1
            and (right > target.l2_bytes // 2 or batch * heights < FEW_TILES)
        )
        # a block's rows stay in L2 while all groups of columns pass
        least = ceil_div(8 * p.rows * p.depth, target.l2_bytes)
        if by_columns or p.packed:
            _, block = blocks_of(heights, batch * (groups if by_columns else 1), least)
        else:
            # each block packs the last columns anew
            _, block = blocks_of(heights, batch, max(1, min(least, heights // 2)))
        block = min(p.rows, block * tile.rows)
        return {
            "rows": tile.rows,
            "vectors": tile.columns,
            "block": block,
            "by_columns": int(by_columns),
        }

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        return _Writer(graph, product_of(graph.group, target), config).write()


@dataclass(frozen=True)
class _Columns:
    """``count`` groups of ``vectors`` vectors; the last vector of a tail is partly filled."""

    start: int
    vectors: int
    count: int
    tail: bool = False


class _Writer:
    def __init__(self, graph: TensorGraph, product: Product, config: Config) -> None:
        self.graph, self.code, self.p, self.config = graph, graph.code, product, config
        assert graph.group.anchor is not None
        self.anchor = graph.group.anchor
        self.left, self.right, *self.bias = self.anchor.operands
        self.packed_tail: Array | None = None

    def write(self) -> Any:
        p, block = self.p, self.config["block"]
        batch, blocks = math.prod(p.batch), ceil_div(p.rows, block)
        runs = self._runs()
        groups = sum(run.count for run in runs) if self.config["by_columns"] else 1
        with self.code.parallel(batch * blocks * groups) as step:
            inside = self.code.index(step % (batch * blocks))
            self.batch = [self.code.index(i) for i in unravel(inside // blocks, p.batch)]
            first = inside % blocks * block
            if not p.packed and p.columns % p.lanes:
                self._pack_tail()
            if self.config["by_columns"]:
                self._chosen(runs, step // (batch * blocks), first)
            else:
                for run in runs:
                    self._group(run, first)
        return self.graph.function()

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

    def _chosen(self, runs: Sequence[_Columns], index: Any, first: Any) -> None:
        """The group number ``index`` of all runs."""
        run, *rest = runs
        if not rest:
            self._rows(run, run.start + index * run.vectors, first)
            return
        with self.code.choose(index < run.count) as (here, later):
            with here:
                self._rows(run, run.start + index * run.vectors, first)
            with later:
                self._chosen(rest, index - run.count, first)

    def _group(self, run: _Columns, first: Any) -> None:
        with self.code.loop(run.count, "g") as g:
            self._rows(run, run.start + g * run.vectors, first)

    def _rows(self, run: _Columns, vector: Any, first: Any) -> None:
        """All rows of a block for one group of columns."""
        p, block = self.p, self.config["block"]
        vector = self.code.index(vector)
        last = p.rows % block
        if not last:
            self._tiles(run, vector, first, block)
            return
        with self.code.choose(first + block <= p.rows) as (whole, part):
            with whole:
                self._tiles(run, vector, first, block)
            with part:
                self._tiles(run, vector, p.rows - last, last)

    def _tiles(self, run: _Columns, vector: Any, first: Any, rows: int) -> None:
        for start, height, count in pieces(rows, self.config["rows"]):
            with self.code.loop(count, "t") as t:
                row = self.code.index(first + start + t * height)
                self._tile(run, vector, row, Tile(height, run.vectors))

    def _tile(self, run: _Columns, vector: Any, row: Any, tile: Tile) -> None:
        p, code = self.p, self.code
        acc = code.registers(tile.rows, tile.columns, p.lanes)
        for j in range(tile.rows):
            for o in range(tile.columns):
                with code.vector(p.lanes) as v:
                    code.store(acc, (j, o, v), self._start((vector + o) * p.lanes + v))
        with code.loop(p.depth, "k") as k:
            multiply_add(
                code, acc, tile,
                lambda j: self._left(row + j, k),
                lambda o, v: self._right(run, vector, o, k, v),
            )  # fmt: skip
        for j in range(tile.rows):
            for o in range(tile.columns):
                partial = run.tail and o == tile.columns - 1
                for start, width in powers(p.columns % p.lanes if partial else p.lanes):
                    self._store(acc, (j, o), row + j, (vector + o) * p.lanes, start, width)

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
        return tirx.const(0, "float32")

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
        packed = code.scratch(p.depth, p.lanes)
        first = p.columns // p.lanes * p.lanes
        with code.loop(p.depth, "k") as k:
            with code.vector(p.lanes) as v:
                code.store(packed, (k, v), tirx.const(0, "float32"))
            for start, width in powers(p.columns % p.lanes):
                with code.vector(width) as v:
                    index = [*self._own_batch(self.right), k, first + start + v]
                    code.store(packed, (k, start + v), self.graph.read(self.right, index))
        self.packed_tail = packed
