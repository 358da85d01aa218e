"""Attention as one kernel: a block of queries against all keys, its scores in scratch.

Queries are the lanes: softmax needs no sum across a vector, keys of any number no tail, and
keys, values and the output are read and written where they lie. Only the queries of a block
are transposed, in registers. Then two products with register tiles (``register_tile.py``):
keys x queries, and queries x values, whose rows are divided by their sums at the end.
Knobs: ``vectors`` of queries in a block, and of each product the ``keys`` and ``rows`` of
its tile.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from armlet.compiler.ir.group import Group
from armlet.compiler.ops.broadcast import broadcast_index
from armlet.compiler.ops.lazy import tirx
from armlet.targets import Target

from ..emit import Array, ceil_div, pieces, unravel
from ..loops import powers
from ..template import Config, Template
from ..tensor_graph import TensorGraph
from .register_tile import Tile, cycles, fits, multiply_add

#: cycles of an exponential and of finding the largest, of one vector
SOFTMAX_CYCLES = 14
#: vectors of values that a tile has at most
WIDEST = 4


@dataclass(frozen=True)
class Shape:
    batch: int
    queries: int
    heads: int
    depth: int
    keys: int
    width: int


def shape_of(group: Group) -> Shape:
    assert group.anchor is not None
    q, _, v = (x.type.static_shape for x in group.anchor.operands[:3])
    batch, queries, heads, depth = q
    return Shape(batch, queries, heads, depth, v[1], v[3])


class AttentionTemplate(Template):
    name = "attention"

    def applies(self, group: Group, target: Target) -> bool:
        call = group.anchor
        if call is None or call.op.name != "attention":
            return False
        return call.output.type.dtype == "float32"

    def default(self, group: Group, target: Target) -> Config:
        return min(self.space(group, target), key=lambda c: self.estimate(group, target, c))

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        s = shape_of(group)
        most = min(4, ceil_div(s.queries, target.lanes))
        columns = ceil_div(s.width, target.lanes)
        heights = range(1, target.vector_registers)
        for vectors, keys, rows in itertools.product(range(1, most + 1), heights, heights):
            if keys > s.keys or rows > min(s.queries, vectors * target.lanes):
                continue
            wide = min(columns, WIDEST)
            if fits(Tile(keys, vectors), target) and fits(Tile(rows, wide), target):
                yield {"vectors": vectors, "keys": keys, "rows": rows}

    def estimate(self, group: Group, target: Target, config: Config) -> float:
        s, lanes = shape_of(group), target.lanes
        vectors, columns = config["vectors"], ceil_div(s.width, lanes)
        blocks = s.batch * s.heads * ceil_div(s.queries, vectors * lanes)
        rows = min(s.queries, vectors * lanes)
        scores = cycles(Tile(config["keys"], vectors), target, s.keys, vectors, s.depth)
        tile = Tile(config["rows"], min(columns, WIDEST))
        mixed = cycles(tile, target, rows, columns, s.keys)
        packed = 5 * s.depth * vectors
        return blocks * (scores + mixed + packed + SOFTMAX_CYCLES * s.keys * vectors)

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        return _Writer(graph, target, config).write()


class _Writer:
    def __init__(self, graph: TensorGraph, target: Target, config: Config) -> None:
        assert graph.group.anchor is not None
        self.graph, self.code, self.lanes, self.config = graph, graph.code, target.lanes, config
        self.anchor, self.s = graph.group.anchor, shape_of(graph.group)
        self.q, self.k, self.v, *self.mask = self.anchor.operands
        self.block = config["vectors"] * self.lanes
        op: Any = self.anchor.op
        self.scale = op.scale

    def write(self) -> Any:
        s, code, block = self.s, self.code, self.block
        blocks = ceil_div(s.queries, block)
        with code.parallel(s.batch * s.heads * blocks) as step:
            self.n, self.head, number = map(code.index, unravel(step, (s.batch, s.heads, blocks)))
            self.first = code.index(number * block)
            self.packed = code.scratch(s.depth, block)
            self.scores = code.scratch(s.keys, block)
            self.scales = code.scratch(block)
            self._pack()
            self._score()
            self._softmax()
            last = s.queries % block
            if not last:
                self._mix(block)
            else:
                with code.choose(self.first + block <= s.queries) as (whole, part):
                    with whole:
                        self._mix(block)
                    with part:
                        self._mix(last)
        return self.graph.function()

    # -- queries as lanes -----------------------------------------------------------------------

    def _query(self, index: Any, depth: Any) -> Any:
        """Beyond the last query there is the last one again."""
        row = self.first + index
        if self.s.queries % self.block:
            row = tirx.min(row, self.s.queries - 1)
        return self.graph.arrays[self.q].at([self.n, row, self.head, depth])

    def _pack(self) -> None:
        """The block's queries, scaled, as packed[depth, query]."""
        s, code, lanes = self.s, self.code, self.lanes
        whole = s.depth // lanes if lanes & (lanes - 1) == 0 else 0
        for vector in range(self.config["vectors"]):
            with code.loop(whole, "d") as d:
                self._transpose(vector * lanes, d * lanes)
            rest = whole * lanes
            with code.loop(s.depth - rest, "d", rest) as d, code.vector(lanes) as v:
                index = vector * lanes + v
                value = self.graph.arrays[self.q].buffer
                load = tirx.BufferLoad(value, [self._query(index, d)])
                code.store(self.packed, (d, index), load * tirx.const(self.scale, "float32"))

    def _transpose(self, first: Any, depth: Any) -> None:
        """A square of queries x depth: zipping halves of its rows, log2 of them times."""
        code, n = self.code, self.lanes
        source = self.graph.arrays[self.q].buffer
        scale = tirx.Broadcast(tirx.const(self.scale, "float32"), n)
        rows = [
            code.named_vector(
                tirx.BufferLoad(source, [tirx.Ramp(self._query(first + i, depth), 1, n)]) * scale
            )
            for i in range(n)
        ]
        zips = [
            [half + i // 2 + n * (i % 2) for i in range(n)] for half in (0, n // 2)
        ]  # fmt: skip
        for _ in range(n.bit_length() - 1):
            pairs = zip(rows[: n // 2], rows[n // 2 :])
            rows = [
                code.named_vector(tirx.Shuffle([a, b], lanes)) for a, b in pairs for lanes in zips
            ]
        for i, row in enumerate(rows):
            place = self.packed.at([depth + i, first])
            code.emit(tirx.BufferStore(self.packed.buffer, row, [tirx.Ramp(place, 1, n)]))

    # -- scores ---------------------------------------------------------------------------------

    def _score(self) -> None:
        """scores[key, query] = q k + mask."""
        for start, height, count in pieces(self.s.keys, self.config["keys"]):
            with self.code.loop(count, "t") as t:
                self._score_tile(self.code.index(start + t * height), height)

    def _score_tile(self, key: Any, height: int) -> None:
        code, vectors, lanes = self.code, self.config["vectors"], self.lanes
        acc = self._zeros(height, [lanes] * vectors)
        with code.loop(self.s.depth, "d") as d:
            multiply_add(
                code, acc, Tile(height, vectors),
                lambda j: self.graph.read(self.k, [self.n, key + j, self.head, d]),
                lambda o, v: self.packed[d, o * lanes + v],
            )  # fmt: skip
        for j, o in itertools.product(range(height), range(vectors)):
            with code.vector(lanes) as v:
                value = acc[j, o, v] + self._masked(o * lanes + v, key + j)
                code.store(self.scores, (key + j, o * lanes + v), value)

    def _zeros(self, rows: int, widths: list[int]) -> Array:
        acc = self.code.registers(rows, len(widths), self.lanes)
        for j, o in itertools.product(range(rows), range(len(widths))):
            with self.code.vector(widths[o]) as v:
                self.code.store(acc, (j, o, v), tirx.const(0, "float32"))
        return acc

    def _masked(self, query: Any, key: Any) -> Any:
        if not self.mask:
            return tirx.const(0, "float32")
        row = self.first + query
        if self.s.queries % self.block:
            row = tirx.min(row, self.s.queries - 1)
        shape = self.mask[0].type.static_shape
        return self.graph.read(self.mask[0], broadcast_index(shape, (self.n, self.head, row, key)))

    def _softmax(self) -> None:
        """Scores to powers of e, and the inverse of their sums; queries are lanes."""
        s, code, lanes = self.s, self.code, self.lanes
        for vector in range(self.config["vectors"]):
            largest, total = code.registers(lanes), code.registers(lanes)
            with code.vector(lanes) as v:
                code.store(largest, [v], tirx.min_value("float32"))
            with code.vector(lanes) as v:
                code.store(total, [v], tirx.const(0, "float32"))
            with code.loop(s.keys, "t") as t, code.vector(lanes) as v:
                score = self.scores[t, vector * lanes + v]
                code.store(largest, [v], tirx.max(largest[[v]], score))
            with code.loop(s.keys, "t") as t:
                with code.vector(lanes) as v:
                    at = (t, vector * lanes + v)
                    code.store(self.scores, at, tirx.exp(self.scores[at] - largest[[v]]))
                with code.vector(lanes) as v:
                    weight = self.scores[t, vector * lanes + v]
                    code.store(total, [v], total[[v]] + weight)
            with code.vector(lanes) as v:
                code.store(self.scales, [vector * lanes + v], 1 / total[[v]])

    # -- values ---------------------------------------------------------------------------------

    def _mix(self, rows: int) -> None:
        """The output's rows: weights x values."""
        widths = [w for _, w in powers(self.s.width % self.lanes)]
        columns = [self.lanes] * (self.s.width // self.lanes) + widths
        starts = list(itertools.accumulate([0, *columns]))
        for number, wide, count in pieces(len(columns), WIDEST):
            for i in range(count):
                at = number + i * wide
                self._columns(rows, starts[at : at + wide], columns[at : at + wide])

    def _columns(self, rows: int, starts: list[int], widths: list[int]) -> None:
        for start, height, count in pieces(rows, self.config["rows"]):
            with self.code.loop(count, "r") as r:
                self._tile(self.code.index(start + r * height), height, starts, widths)

    def _tile(self, row: Any, height: int, starts: list[int], widths: list[int]) -> None:
        code = self.code
        acc = self._zeros(height, widths)
        with code.loop(self.s.keys, "t") as t:
            for j, o in itertools.product(range(height), range(len(widths))):
                with code.vector(widths[o]) as v:
                    value = self.graph.read(self.v, [self.n, t, self.head, starts[o] + v])
                    code.store(acc, (j, o, v), acc[j, o, v] + self.scores[t, row + j] * value)
        for j, o in itertools.product(range(height), range(len(widths))):
            with code.vector(widths[o]) as v:
                value = acc[j, o, v] * self.scales[[row + j]]
                self.graph.known[self.anchor.output] = lambda *_, value=value: value
                self.graph.store(self.n, self.first + row + j, self.head, starts[o] + v)
        del self.graph.known[self.anchor.output]
