"""What Winograd's convolution costs, by arithmetic, and the blocking that costs least."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from armlet.compiler.ir.group import Group
from armlet.compiler.ops.toom_cook import TAPS
from armlet.targets import Target

from ..emit import ceil_div, pieces
from ..template import L2_CYCLES, Config, moving
from . import register_tile
from .inorder import tile as inorder
from .inorder import winograd as scheduled
from .register_tile import Tile


@dataclass(frozen=True)
class Shape:
    n: int
    channels: int
    in_blocks: int
    height: int
    width: int
    #: lanes of the input's blocks
    block: int
    out_blocks: int
    out_height: int
    out_width: int
    #: lanes of the output's blocks
    lanes: int
    #: outputs of a tile in one direction
    m: int
    #: top, left
    pads: tuple[int, int]
    #: bytes of a number
    element_bytes: int

    @property
    def edge(self) -> int:
        return self.m + TAPS - 1

    @property
    def down(self) -> int:
        return ceil_div(self.out_height, self.m)

    @property
    def across(self) -> int:
        return ceil_div(self.out_width, self.m)

    @property
    def tiles(self) -> int:
        return self.n * self.down * self.across

    @property
    def weight_bytes(self) -> int:
        return self.element_bytes * self.edge**2 * self.channels * self.out_blocks * self.lanes

    @property
    def rows_outside(self) -> bool:
        """Whether some tile reads rows that the input does not have."""
        return self.pads[0] > 0 or self.down * self.m + TAPS - 1 > self.height

    @property
    def columns_outside(self) -> bool:
        return self.pads[1] > 0 or self.across * self.m + TAPS - 1 > self.width


def shape_of(group: Group) -> Shape:
    call = group.anchor
    assert call is not None
    op: Any = call.op
    n, cb, height, width, block = call.operands[0].type.static_shape
    _, ob, oh, ow, lanes = call.output.type.static_shape
    return Shape(
        n, op.in_channels, cb, height, width, block, ob, oh, ow, lanes, op.tile, op.pads[:2],
        call.output.type.bytes // call.output.type.elements,
    )  # fmt: skip


#: bytes of a cache line
LINE = 64
#: cycles around each transform of one dimension, and around each tile
AROUND = 8.0
#: cycles of the epilogue of a vector where transforms are assembly
STORED = 3.0
#: how much of the memory's time is hidden by arithmetic: of itself, and by reading ahead
COVERED, COVERED_AHEAD = 0.3, 0.7
#: weights among arithmetic come slower than a copy's bytes: fewer misses are under way at once
STREAMED = 1.25
#: but of short vectors a line lasts long enough for the core to fetch those that follow
FOLLOWED = 0.8
#: streams of addresses that are this near the core takes for one, which it cannot follow; of
#: others only the first lines are late
NEAR, FIRST_LINES = 2048, 8
#: cycles of a line of weights that is late, with several under way at once
LATE = 60.0
#: what reading weights again weighs where a vector is a line, and little else is done meanwhile
AGAIN = 3
#: what it weighs that so many threads are idle for as long as they work
IDLE = {2: 0.2, 4: 0.1, 8: 0.05}
#: cycles until L2 has taken a line of a transformed tile
WRITTEN = 8.0
#: cycles that a core which issues in order waits for such a line from L2, or from beyond
WAITED, WAITED_FAR = 8.0, 30.0
#: register tiles whose steps cost more than the best by this factor are not tried
WORSE = 1.35


def _transforms(s: Shape, target: Target) -> tuple[float, float]:
    """Cycles of the transforms of a tile of inputs, and of one of products."""
    if scheduled.transforms_tile(s, target):
        before, after = (scheduled.cycles(s.m, target, back) or 0 for back in (False, True))
        return before, after + STORED * s.m**2
    half = s.m // 2
    operations = 2 * half * (half + 1)
    busy, loads, stores = operations / target.fma_units, s.edge / target.load_units, s.edge
    # nothing issues beside the wide loads of a core that issues in order
    one = busy + loads + stores if target.in_order else max(busy, loads, stores)
    return 2 * s.edge * (AROUND + one), (s.edge + s.m) * (AROUND + one)


def cycles(s: Shape, target: Target, config: Config) -> float:
    """Cycles of one core for the whole convolution."""
    held, groups = config["blocks"], s.out_blocks // config["blocks"]
    passes = groups if config["by_channels"] else 1
    before, after = _transforms(s, target)
    written, read = _lines(s, target, config)
    inputs = passes * s.tiles * s.in_blocks * (before + written + AROUND)
    outputs = s.tiles * s.out_blocks * (after + read + AROUND)
    tile = Tile(config["rows"], config["vectors"])
    products = sum(
        count * groups * _products(tile, target, width, held, s.channels)
        for _, width, count in pieces(s.tiles, config["tiles"])
    )
    arithmetic = inputs + outputs + s.edge**2 * products
    follows = _follows(s, target)
    memory = (FOLLOWED if follows else STREAMED) * _memory(s, target, config)
    covered = COVERED_AHEAD if config["ahead"] or follows else COVERED
    late = _late_lines(s, target, config) * LATE
    return max(arithmetic, memory) + (1 - covered) * min(arithmetic, memory) + late


def _follows(s: Shape, target: Target) -> bool:
    """Whether the core itself asks for the weights' next lines in time."""
    return s.lanes * s.element_bytes < LINE and target.lane_fma and not target.in_order


def _late_lines(s: Shape, target: Target, config: Config) -> int:
    """Lines of weights that come from beyond L2 and that the core did not foresee.

    Tiles of one column read the weights of a place in the order in which they lie, as far as
    ``blocks`` go; each further column is a stream of its own, which ends with the tile.
    """
    if s.weight_bytes <= target.l2_bytes or not _follows(s, target):
        return 0
    alone = config["vectors"] == 1
    blocks = config["blocks"] if alone else 1
    size = s.element_bytes * s.channels * s.lanes
    late = ceil_div(size, LINE) * blocks
    if alone or size > NEAR:
        late = min(late, FIRST_LINES)
    return s.edge**2 * s.out_blocks // blocks * late


def _lines(s: Shape, target: Target, config: Config) -> tuple[float, float]:
    """Cycles of the lines of a transformed tile that is written, and of products that are read."""
    written, read = (s.edge**2 * s.element_bytes * lanes / LINE for lanes in (s.block, s.lanes))
    if not target.in_order:
        return WRITTEN * written, 0.0
    near = _scratch(s, config) <= target.l2_bytes * 3 // 4
    waited = WAITED if near else WAITED_FAR
    return waited * written, waited * read


def _scratch(s: Shape, config: Config) -> int:
    """Bytes of the transformed inputs and of the products of a step."""
    tiles, held = min(config["tiles"], s.tiles), config["blocks"]
    return s.element_bytes * s.edge**2 * tiles * (s.in_blocks * s.block + held * s.lanes)


def _products(tile: Tile, target: Target, rows: int, columns: int, steps: int) -> float:
    """Cycles of the products of one place.

    As ``register_tile.cycles``, but the tiles of a step are in L1, and vectors are read from
    L2 once for each tile of rows.
    """
    if inorder.speaks(target):
        found = register_tile.cycles(tile, target, rows, columns, steps)
        apart = target.vector_bytes * steps
        if tile.columns > 1 and apart <= NEAR:
            found += LATE * columns * apart / LINE
        return found
    total = 0.0
    fetched = 0.5 if target.vector_bytes * tile.columns * steps > target.l1_bytes // 2 else 0.0
    for _, width, count in pieces(columns, tile.columns):
        for _, height, times in pieces(rows, tile.rows):
            scalars = height / target.lanes if target.lane_fma else height
            folded = width == 1 and target.broadcasts_from_memory
            started = height * width + width + scalars * (not folded) + 2
            step = max(
                height * width / target.fma_units,
                (scalars + width) / target.load_units,
                started / target.issue_width,
                target.fma_latency,
            )
            total += count * times * (steps * (step + fetched * width) + 2 * height * width + 20)
    return total


def _memory(s: Shape, target: Target, config: Config) -> float:
    """Cycles of what comes from beyond L2 or goes there."""
    held, tiles = config["blocks"], min(config["tiles"], s.tiles)
    groups, steps = s.out_blocks // held, ceil_div(s.tiles, config["tiles"])
    places = s.edge**2
    size = s.element_bytes
    image = size * s.n * s.in_blocks * s.height * s.width * s.block
    result = size * s.n * s.out_blocks * s.out_height * s.out_width * s.lanes
    weights = s.weight_bytes
    inputs = size * places * tiles * s.in_blocks * s.block
    products = size * places * tiles * held * s.lanes
    # weights that stay in L2 from step to step beside the transformed tiles are read once
    repeated = weights // groups if config["by_channels"] else weights
    again = steps - 1 if repeated + inputs + products > target.l2_bytes // 2 else 0
    moved = weights * again * (AGAIN if target.vector_bytes >= LINE else 1)
    if config["by_channels"]:
        moved += image * (groups - 1) * (image > target.l2_bytes)
    if inputs + products > target.l2_bytes:
        passes = groups if config["by_channels"] else 1
        moved += steps * (2 * inputs * passes + 2 * products * groups)
    once = weights + image + 2 * result
    if weights + inputs + products <= target.l3_bytes:
        return moving(target, once) + moved / target.vector_bytes * L2_CYCLES
    return moving(target, once + moved)


def _divisors(size: int) -> list[int]:
    return [d for d in range(1, size + 1) if size % d == 0]


def _widths(s: Shape) -> list[int]:
    """Numbers of tiles in a step: rows of tiles, parts of a row, and whatever divides all."""
    found = {d for d in _divisors(s.tiles) if d >= 4}
    found |= {d for d in (8, 14, 16, 20, 24, 28, 32, 48, 56, 64, 96, 128) if d < s.tiles}
    found |= {k * s.across for k in (1, 2, 3, 4) if k * s.across <= s.tiles}
    return sorted(w for w in {*found, s.tiles} if w <= 256)


def _register_tiles(s: Shape, target: Target, tiles: int, held: int) -> list[Tile]:
    """Those that are near the best for so many tiles and channel blocks."""
    cost = {
        t: _products(t, target, tiles, held, s.channels)
        for t in register_tile.tiles(target, tiles, held)
    }
    least = min(cost.values())
    near = sorted((t for t in cost if cost[t] <= WORSE * least), key=lambda t: cost[t])
    # those of one column read the weights in order
    ordered = [t for t in near[3:] if t.columns == 1] if _follows(s, target) else []
    return near[:3] + ordered[:1]


def candidates(s: Shape, target: Target) -> Iterator[Config]:
    """Every blocking worth measuring."""
    # with shorter vectors a line lasts long enough for the core's own prefetcher
    streams = s.lanes * s.element_bytes >= LINE and s.weight_bytes > target.l2_bytes
    for tiles in _widths(s):
        for held in _divisors(s.out_blocks):
            for tile in _register_tiles(s, target, tiles, held):
                for by_channels in (0, 1) if held < s.out_blocks else (0,):
                    for ahead in (0, 1) if streams else (0,):
                        yield {
                            "tiles": tiles,
                            "rows": tile.rows,
                            "vectors": tile.columns,
                            "blocks": held,
                            "by_channels": by_channels,
                            "ahead": ahead,
                        }


@lru_cache(maxsize=256)
def default(s: Shape, target: Target) -> Config:
    """The best for one thread among those that keep as many threads busy as there may be."""

    def score(config: Config) -> float:
        groups = s.out_blocks // config["blocks"] if config["by_channels"] else 1
        steps = ceil_div(s.tiles, config["tiles"]) * groups
        weights = {t: weight for t, weight in IDLE.items() if t <= 2 * target.cores}
        waste = sum(w * (ceil_div(steps, t) * t / steps - 1) for t, w in weights.items())
        return cycles(s, target, config) * (1 + waste)

    return min(candidates(s, target), key=score)
