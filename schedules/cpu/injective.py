"""Groups that move or map elements: elementwise chains, transposes, slices, concatenations.

Axes that no operand tells apart are merged first, so that an elementwise chain over equal
shapes is one long row of vectors. What chooses by index is cut into parts without a choice
(``boxes.py``). Where neighbours in the output are far apart in the input, the loops go by
tiles, so that each cache line is read once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tvm_ffi

from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.compiler.ops.registry import Fusion
from armlet.targets import Target

from ..boxes import Box, boxes, mover
from ..emit import unravel
from ..loops import cover, steps_for
from ..template import Config, Template
from ..tensor_graph import TensorGraph

_MOVES = (Fusion.ELEMENTWISE, Fusion.INJECTIVE, Fusion.VIEW)
#: movers that keep an operand's rows whole behind the axes they change
_ROW_WISE = ("concat", "pad")


class Injective(Template):
    name = "injective"

    def applies(self, group: Group, target: Target) -> bool:
        return all(
            c.op.fusion in _MOVES or c.op.name == "resize"  # type: ignore[attr-defined]
            for c in group.calls
        )

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        graph.simplifies = True
        shape = graph.group.output.type.static_shape
        steps = steps_for(math.prod(shape))
        with graph.code.parallel(steps) as p:
            for box in boxes(graph.group):
                _write(graph, target, box, p, steps)
        return graph.function()


def _write(graph: TensorGraph, target: Target, box: Box, p: Any, steps: int) -> None:
    """One part of the output, cut among the steps."""
    runs = merged_axes(graph.group, box)
    sizes = [math.prod(box[a][1] for a in run) for run in runs]
    tile = _tiled(graph, box) if len(runs) == len(box) else None

    def body(merged: Sequence[Any]) -> None:
        indices: list[Any] = [0] * len(box)
        for run, index in zip(runs, merged, strict=True):
            for a, i in zip(run, unravel(index, [box[a][1] for a in run]), strict=True):
                indices[a] = box[a][0] + i if box[a][0] else i
        graph.store(*indices)

    if tile is None:
        cover(graph.code, p, steps, sizes, target.lanes, body)
        return
    # tiles of that axis where it was, and what is inside a tile beside the last axis
    axis, step, row = tile
    outer = [*sizes[:axis], sizes[axis] // step, *sizes[axis + 1 : -1], sizes[-1] // row, step, row]

    def tiled(i: Sequence[Any]) -> None:
        *first, block, inside, lane = i
        place = [*first[:axis], first[axis] * step + inside, *first[axis + 1 :]]
        body([*place, block * row + lane])

    cover(graph.code, p, steps, outer, target.lanes, tiled)


def merged_axes(group: Group, box: Box) -> list[list[int]]:
    """Neighbouring axes of a part that are one row in every operand, as runs."""
    whole = group.output.type.static_shape
    moves = mover(group)
    kept = [c for c in group.calls if c.op.fusion is Fusion.ELEMENTWISE]  # type: ignore[attr-defined]
    if len(kept) < len(group.calls) and not (
        moves and len(kept) == len(group.calls) - 1 and moves.op.name in _ROW_WISE
    ):
        return [[a] for a in range(len(box))] or [[]]
    laid = [v for c in kept for v in (*c.operands[: len(c.operands) - c.op.tables], *c.outputs)]  # type: ignore[attr-defined]
    shapes = [v.type.static_shape for v in laid]

    def present(axis: int) -> list[bool]:
        places = [axis - len(whole) + len(s) for s in shapes]
        return [p >= 0 and s[p] != 1 for s, p in zip(shapes, places, strict=True)]

    runs: list[list[int]] = []
    for axis, (_, size) in enumerate(box):
        real = [a for a in runs[-1] if box[a][1] != 1] if runs else []
        one_row = size == whole[axis] and _same_behind(group, axis)
        if runs and one_row and (not real or size == 1 or present(axis) == present(real[-1])):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    return runs or [[]]


def _same_behind(group: Group, axis: int) -> bool:
    """Whether the mover, if there is one, reads whole rows along ``axis``."""
    call = mover(group)
    if call is None:
        return True
    size = call.output.type.static_shape[axis]
    return all(v.type.static_shape[axis] == size for v in call.operands)


def _tiled(graph: TensorGraph, box: Box) -> tuple[int, int, int] | None:
    """(axis, tile of it, tile of the last) if an input lies along another axis than the last."""
    names = [tirx.Var(f"a{a}", "int32") for a in range(len(box))]
    graph.places.clear()
    with graph.code.discarded():
        graph.store(*names)
    for place in graph.places[:-1]:
        strides = [_stride(graph, place, name) for name in names]
        if strides[-1] in (0, 1) or 1 not in strides[:-1]:
            continue
        axis = strides.index(1)
        step = next((s for s in (16, 8, 12, 10, 4) if box[axis][1] % s == 0), 1)
        if step > 1:
            last = box[-1][1]
            return axis, step, next((s for s in (64, 32) if last % s == 0), last)
    return None


def _stride(graph: TensorGraph, place: Any, name: Any) -> int | None:
    """How far ``place`` moves with an index; None where that is not constant."""
    moved = tvm_ffi.structural_map(place, (tirx.Var, lambda v: v + 1 if v.same_as(name) else v))
    step = graph.code.simple(moved - place)
    return int(step) if isinstance(step, tirx.IntImm) else None
