"""A chain of convolutions in one pass over rows: what lies between them stays in the caches.

    expand (1x1) -> depthwise -> project (1x1)        or any part of that, or several of it

The last one's output is made ``band`` rows at a time. For each band every convolution makes
the rows that the next one needs and does not have yet, into a ring of rows in scratch: where
windows overlap nothing is computed twice, but at the first band of each thread. A pointwise
convolution before a depthwise one goes with it by blocks of channels, so that new rows are read
from L1. The tiles are those of the templates of the single convolutions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from armlet.compiler.ir import Call, Value
from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.targets import Target

from ..emit import Array, ceil_div, pieces
from ..template import Config, Template, roofline
from ..tensor_graph import TensorGraph
from .conv2d_depthwise import DepthwiseRows, row_cycles, tiles_of
from .conv2d_direct import DirectWriter, Shape, shape_of
from .register_tile import Tile, cycles, tiles
from .window import Window, window_of

#: tiles of each convolution that are worth measuring in a chain
TILES = 3
#: rows of a band: more only take more scratch
BANDS = (1, 2, 3, 4, 6, 8, 14)
#: what it weighs that so many threads are idle for as long as they work
IDLE = {2: 0.15, 4: 0.05, 8: 0.02}
#: cycles in which a vector comes from L2 while arithmetic goes on, and how many times that
#: it takes from beyond; a core that issues in order waits for most lines
FETCH = 0.7
FETCH_IN_ORDER = 2.5
BEYOND_L2 = 6


@dataclass(frozen=True)
class Stage:
    """One convolution of the chain; ``value`` is what the next one reads."""

    call: Call
    value: Value
    shape: Window | Shape

    @property
    def depthwise(self) -> bool:
        return isinstance(self.shape, Window)

    @property
    def blocks(self) -> int:
        """Blocks of output channels."""
        return self.shape.planes if isinstance(self.shape, Window) else self.shape.out_blocks

    @property
    def out_vectors(self) -> int:
        """Vectors of a row of the output."""
        return self.blocks * self.shape.out_width

    @property
    def in_vectors(self) -> int:
        """Vectors of a row of the input."""
        x = self.call.operands[0].type
        return x.elements // (self.shape.n * self.shape.height * self.shape.lanes)

    @property
    def weight_vectors(self) -> int:
        return self.call.operands[1].type.elements // self.shape.lanes

    def passes(self, tile: Config) -> int:
        """How often the input is read."""
        return 1 if self.depthwise else ceil_div(self.blocks, tile["vectors"])

    def row_cycles(self, tile: Config, target: Target) -> float:
        return _row_cycles(self.shape, tile, target)

    def rows_read(self, first: Any, end: Any) -> tuple[Any, Any]:
        """The rows of the input that rows ``first`` to ``end`` of the output read."""
        s = self.shape
        above = s.pads[0]
        reach = (s.kernel[0] - 1) * s.dilations[0] + 1
        return (
            _max(0, first * s.strides[0] - above),
            _min(s.height, (end - 1) * s.strides[0] + reach - above),
        )


def _min(a: Any, b: Any) -> Any:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else tirx.min(a, b)


def _max(a: Any, b: Any) -> Any:
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else tirx.max(a, b)


def stages_of(group: Group, target: Target) -> list[Stage]:
    """The convolutions of a chain, in order."""
    assert group.anchor is not None
    calls = [*group.producers, group.anchor]
    values = [*(c.operands[0] for c in calls[1:]), group.output]
    return [Stage(c, v, _shape(c, target)) for c, v in zip(calls, values, strict=True)]


def _shape(call: Call, target: Target) -> Window | Shape:
    if call.op.name == "depthwise_conv2d_blocked":
        return window_of(call)
    return shape_of(call, target, False)


def rows_of(stages: Sequence[Stage], band: Any, rows: int) -> list[tuple[Any, Any]]:
    """First and end of the rows of each stage that a band of the output rests on."""
    height = stages[-1].shape.out_height
    found = [(band * rows, _min(height, (band + 1) * rows))]
    for stage in reversed(stages[1:]):
        found.insert(0, stage.rows_read(*found[0]))
    return found


class Conv2dChain(Template):
    name = "conv2d_chain"

    def applies(self, group: Group, target: Target) -> bool:
        return bool(group.producers)

    def default(self, group: Group, target: Target) -> Config:
        return min(self._configs(group, target, 1), key=lambda c: self.cost(group, target, c))

    def cost(self, group: Group, target: Target, config: Config) -> float:
        """The estimate, and something more where few bands leave threads idle."""
        last, band = stages_of(group, target)[-1].shape, config["band"]
        rows, bands = last.n * last.out_height, last.n * ceil_div(last.out_height, band)
        idle = sum(
            weight * (ceil_div(bands, threads) * band * threads / rows - 1)
            for threads, weight in IDLE.items()
        )
        return self.estimate(group, target, config) * (1 + max(0.0, idle))

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        return self._configs(group, target, TILES)

    def _configs(self, group: Group, target: Target, most: int) -> Iterator[Config]:
        stages = stages_of(group, target)
        for band in BANDS:
            if band > stages[-1].shape.out_height:
                return
            choices = [
                _best_tiles(s.shape, made, target)[:most]
                for s, made in zip(stages, _made(stages, band), strict=True)
            ]
            for chosen in itertools.product(*choices):
                knobs = {f"{k}{i}": v for i, c in enumerate(chosen) for k, v in c.items()}
                yield {"band": band, **knobs}

    def estimate(self, group: Group, target: Target, config: Config) -> float:
        """The tiles' cycles, and what rows and weights that are not in L1 add."""
        stages, band = stages_of(group, target), config["band"]
        configs, made = _split(config, len(stages)), _made(stages, band)
        held = [_rows_held(stages, band, i) for i in range(len(stages) - 1)]
        sizes = [s.out_vectors * rows for s, rows in zip(stages, held)]
        cache = target.l1_bytes // target.vector_bytes
        arithmetic = fetched = 0.0
        for i, (stage, tile) in enumerate(zip(stages, configs, strict=True)):
            rows = stage.shape.n * stage.shape.out_height
            arithmetic += rows * stage.row_cycles(tile, target)
            per_band = stage.weight_vectors if stage.weight_vectors > cache // 2 else 0.0
            if i and sizes[i - 1] > cache // 2:
                together = stage.depthwise and not stages[i - 1].depthwise
                near = together and _pair_fits(stages[i - 1], configs[i - 1], held[i - 1], cache)
                new = stages[i - 1].out_vectors * made[i - 1]
                per_band += sizes[i - 1] - (new if near else 0)
                per_band += 0 if stage.depthwise else new * (stage.passes(tile) - 1)
            if not i and target.in_order:
                # rows of many planes come in short pieces, which no prefetcher foresees
                first, end = stage.rows_read(made[0], 2 * made[0])
                per_band += (end - first) * stage.in_vectors
            fetched += per_band * rows / made[i]
        if sum(sizes) * target.vector_bytes > target.l2_bytes // 2:
            fetched *= BEYOND_L2
        read = sum(v.type.bytes for v in group.inputs)
        arithmetic += fetched * (FETCH_IN_ORDER if target.in_order else FETCH)
        return roofline(target, arithmetic, read, group.output.type.bytes)

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        return _Writer(graph, target, config).write()


def _row_cycles(s: Window | Shape, tile: Config, target: Target) -> float:
    """Cycles of a row of the output, all it reads being in L1."""
    if isinstance(s, Window):
        return s.planes * row_cycles(s, tile, target)
    shape = Tile(tile["pixels"], tile["vectors"])
    return cycles(shape, target, s.out_width, s.out_blocks, s.steps, s.scalars)


@lru_cache(maxsize=256)
def _best_tiles(s: Window | Shape, made: int, target: Target) -> list[Config]:
    """Tiles of a convolution that makes ``made`` rows for a band, the best first."""
    found: list[Config]
    if isinstance(s, Window):
        found = [c for c in tiles_of(s, target) if c["rows"] <= made]
    else:
        fitting = tiles(target, s.out_width, s.out_blocks)
        found = [{"pixels": t.rows, "vectors": t.columns, "unroll": 1} for t in fitting]
    return sorted(found, key=lambda c: _row_cycles(s, c, target))[:TILES]


def _split(config: Config, stages: int) -> list[Config]:
    """The config of each stage, from that of the chain."""
    return [
        {k.removesuffix(str(i)): v for k, v in config.items() if k.endswith(str(i))}
        for i in range(stages)
    ]


def _made(stages: Sequence[Stage], band: int) -> list[int]:
    """Rows that each stage makes for a band in the middle."""
    found = [band]
    for stage in reversed(stages[1:]):
        found.insert(0, found[0] * stage.shape.strides[0])
    return found


def _rows_held(stages: Sequence[Stage], band: int, index: int) -> int:
    """Rows of a stage that are in scratch, a power of two."""
    bands = range(ceil_div(stages[-1].shape.out_height, band))
    needed = [rows_of(stages, b, band)[index] for b in bands]
    return 1 << (max(end - first for first, end in needed) - 1).bit_length()


def _pair_fits(first: Stage, tile: Config, held: int, cache: int) -> bool:
    """Whether the blocks of channels that a pair does at a time are in L1 together."""
    s = first.shape
    assert isinstance(s, Shape)
    return held * s.out_width * tile["vectors"] <= cache * 3 // 4


class Ring(Array):
    """Rows of a blocked tensor, the latest of them: row h has the place of all h + k rows."""

    def __init__(self, array: Array, rows: int) -> None:
        self.shape, self.buffer, self.rows = array.shape, array.buffer, rows

    def at(self, indices: Sequence[Any]) -> Any:
        _, block, row, column, lane = indices
        return super().at((0, block, row & (self.rows - 1), column, lane))


class _Writer:
    def __init__(self, graph: TensorGraph, target: Target, config: Config) -> None:
        self.graph, self.code, self.target = graph, graph.code, target
        self.stages, self.band = stages_of(graph.group, target), config["band"]
        self.configs = _split(config, len(self.stages))
        self.bands = ceil_div(self.stages[-1].shape.out_height, self.band)

    def write(self) -> Any:
        # outside the loop: what is in them is needed in the next step too
        self.arrays = [*map(self._ring, range(len(self.stages) - 1)), self.graph.out]
        with self.code.parallel(self.stages[0].shape.n * self.bands) as p:
            self.n = self.code.index(p // self.bands)
            self.rows = self._rows(p, self.code.index(p % self.bands))
            self._stages()
        return self.graph.function()

    def _ring(self, index: int) -> Ring:
        stage, rows = self.stages[index], _rows_held(self.stages, self.band, index)
        s = stage.shape
        shape = (1, stage.blocks, rows, s.out_width, s.lanes)
        return Ring(self.code.scratch(*shape, dtype=stage.value.type.dtype), rows)

    def _rows(self, p: Any, band: Any) -> list[tuple[Any, Any]]:
        """First row and number of rows that each stage makes: those that are not there yet."""
        index, simple = self.code.index, self.code.simple
        needed = rows_of(self.stages, band, self.band)
        before = rows_of(self.stages, band - 1, self.band)
        anew = tirx.Or(p == self.code.begin, band == 0)
        found = []
        for i, ((first, end), (_, made)) in enumerate(zip(needed, before, strict=True)):
            first, end = index(simple(first)), index(simple(end))
            if self._overlaps(i):
                first = index(tirx.Select(anew, first, simple(made)))
            found.append((first, index(simple(end - first))))
        return found

    def _overlaps(self, stage: int) -> bool:
        """Whether some band needs rows of a stage that the one before needs too."""
        needed = [rows_of(self.stages, b, self.band)[stage] for b in range(self.bands)]
        return any(first < end for (_, end), (first, _) in itertools.pairwise(needed))

    def _stages(self) -> None:
        """Every stage's rows of this band, what each stage made at hand for the next."""
        with ExitStack() as stack:
            i = 0
            while i < len(self.stages):
                pair = [s.depthwise for s in self.stages[i : i + 2]] == [False, True]
                self._pair(i) if pair else self._alone(i)
                i += 2 if pair else 1
                if i < len(self.stages):
                    stack.enter_context(self.graph.held(self.stages[i - 1].value))

    def _alone(self, i: int) -> None:
        stage, config = self.stages[i], self.configs[i]
        with self.graph.into(stage.value, self.arrays[i]):
            if isinstance(stage.shape, Window):
                writer = DepthwiseRows(self.graph, self.target, stage.call, config)
                with self.code.loop(stage.shape.planes, "cb") as cb:
                    writer.write(self.n, cb, *self.rows[i])
            else:
                direct = DirectWriter(self.graph, self.target, stage.call, stage.shape, config)
                for channel, vectors in self._channels(i):
                    direct.band((self.n, 0, channel), vectors, self.rows[i])

    def _pair(self, i: int) -> None:
        """A convolution and the depthwise one after it, a few blocks of channels at a time."""
        first, second = self.stages[i : i + 2]
        assert isinstance(first.shape, Shape)
        direct = DirectWriter(self.graph, self.target, first.call, first.shape, self.configs[i])
        writer = DepthwiseRows(self.graph, self.target, second.call, self.configs[i + 1])
        for channel, vectors in self._channels(i):
            with self.graph.into(first.value, self.arrays[i]):
                direct.band((self.n, 0, channel), vectors, self.rows[i])
            with (
                self.graph.held(first.value),
                self.graph.into(second.value, self.arrays[i + 1]),
                self.code.loop(vectors, "cb") as cb,
            ):
                writer.write(self.n, self.code.index(channel + cb), *self.rows[i + 1])

    def _channels(self, i: int) -> Iterator[tuple[Any, int]]:
        """The blocks of channels of a stage, as many at a time as its tile has vectors."""
        shape = self.stages[i].shape
        assert isinstance(shape, Shape)
        for start, width, count in pieces(shape.out_blocks, self.configs[i]["vectors"]):
            with self.code.loop(count, "o") as o:
                yield self.code.index(start + o * width), width
