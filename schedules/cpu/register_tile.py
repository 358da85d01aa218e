"""The register tile that convolutions and matrix products share, and how its size is chosen.

A tile is ``rows`` scalars (pixels, or rows of a matrix) by ``columns`` vectors (of output
channels, or of columns). Each step of the reduction loads ``columns`` vectors, broadcasts
``rows`` scalars and does rows x columns fused multiply-adds into registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from armlet.targets import Target

from ..emit import Array, Code, ceil_div, pieces
from .inorder import tile as inorder

#: loads that a load really costs, as lines that come from L2 need the same port
FILLS = 1.3
#: bytes of a cache line, and cycles in which one comes from L2 while others are on their way
LINE, LINE_CYCLES = 64, 3.0
#: how much longer than the latency a step of few sums takes: each late load is a delay for good
SLACK = 1.1
#: more vectors than this only lengthen the code
MOST_COLUMNS = 8


@dataclass(frozen=True)
class Tile:
    rows: int
    columns: int


def fits(tile: Tile, target: Target) -> bool:
    """Whether accumulators, one step's vectors and scalars are all in registers."""
    if inorder.speaks(target):
        # part of every row's scalars and of the vectors are loaded ahead
        ahead = tile.rows + tile.columns + 3
        return tile.rows * tile.columns + ahead <= target.vector_registers
    spare = tile.columns + 1
    if tile.columns == 1 and target.broadcasts_from_memory:
        spare = 3
    elif target.lane_fma:
        # a vector of scalars for each row, used lane by lane
        spare = tile.rows + tile.columns + 1
    return tile.rows * tile.columns + spare < target.vector_registers


def step_cycles(tile: Tile, target: Target) -> float:
    """Cycles of one step of the reduction, by the busiest resource."""
    if inorder.speaks(target):
        return inorder.step_cycles(tile.rows, tile.columns, target)
    products = tile.rows * tile.columns
    scalars = tile.rows / target.lanes if target.lane_fma else tile.rows
    folded = tile.columns == 1 and target.broadcasts_from_memory
    decoded = products + tile.columns + scalars * (not folded) + 2
    return max(
        products / target.fma_units,
        FILLS * (scalars + tile.columns) / target.load_units,
        decoded / target.issue_width,
        SLACK * target.fma_latency,
    )


def tiles(target: Target, rows: int, columns: int) -> Iterator[Tile]:
    """Every tile that is in registers and not larger than the output."""
    for c in range(1, min(columns, MOST_COLUMNS) + 1):
        for r in range(1, min(rows, target.vector_registers) + 1):
            if fits(Tile(r, c), target):
                yield Tile(r, c)


def cycles(
    tile: Tile, target: Target, rows: int, columns: int, steps: int, scalars: int = 0
) -> float:
    """Cycles of a whole output of rows x columns vectors, with its tails and its stores.

    ``scalars`` are the numbers that all rows read, if some read the same.
    """
    total, variants = 0.0, 0
    # vectors that do not stay in L1 from tile to tile come from L2
    far = target.vector_bytes * tile.columns * steps > target.l1_bytes // 2
    far = far and not inorder.speaks(target)  # whose loads are far enough ahead
    lines = target.vector_bytes >= LINE
    fetched = 0.7 * tile.columns if far and not lines else 0.0
    wide = target.element_bytes * (scalars or rows * steps) > target.l1_bytes // 2
    for _, width, count in pieces(columns, tile.columns):
        for _, height, times in pieces(rows, tile.rows):
            stored = 2 * width * height + (60 if inorder.speaks(target) else 20)
            step = step_cycles(Tile(height, width), target) + fetched
            if far and lines:
                # whole lines are asked for early enough: only their number counts
                step = max(step, LINE_CYCLES * (width + height / target.lanes))
            if target.lane_fma and not inorder.speaks(target):
                # of equal tiles the one with fewer loads
                step += 0.002 * (height / target.lanes + width)
                # scalars come from L2 for each group of columns, as whole vectors
                step += 0.25 * height / target.lanes * wide
            total += count * times * (steps * step + stored)
            variants += 1
    # code of several variants costs compile time and instruction cache
    return total * (1 + 0.01 * variants)


def best_tile(target: Target, rows: int, columns: int, steps: int, scalars: int = 0) -> Tile:
    return min(
        tiles(target, rows, columns),
        key=lambda t: cycles(t, target, rows, columns, steps, scalars),
    )


def tile_features(
    tile: Tile, target: Target, rows: int, columns: int, steps: int
) -> dict[str, float]:
    """What makes a tile fast or slow, as figures that a model can learn from."""
    products = tile.rows * tile.columns
    height, width = ceil_div(rows, tile.rows), ceil_div(columns, tile.columns)
    return {
        "accumulators": products,
        "registers": (products + tile.columns + 1) / target.vector_registers,
        "loads_per_product": (tile.rows + tile.columns) / products,
        "chains": products / (target.fma_units * target.fma_latency),
        "step_cycles_per_product": step_cycles(tile, target) / products,
        "panel_of_l1": target.vector_bytes * tile.columns * steps / target.l1_bytes,
        "rows_of_l1": target.element_bytes * tile.rows * steps / target.l1_bytes,
        "rows_filled": rows / (height * tile.rows),
        "columns_filled": columns / (width * tile.columns),
        "tiles": height * width,
        "depth": steps,
    }


def multiply_add(
    code: Code,
    acc: Array,
    tile: Tile,
    scalar: Callable[[int], Any],
    vector: Callable[[int, Any], Any],
) -> None:
    """One step of the reduction: acc[row, column, lane] += scalar(row) * vector(column, lane)."""
    lanes = acc.shape[-1]
    for row in range(tile.rows):
        for column in range(tile.columns):
            with code.vector(lanes) as v:
                at = (row, column, v)
                code.store(acc, at, acc[at] + scalar(row) * vector(column, v))
