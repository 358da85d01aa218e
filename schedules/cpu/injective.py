"""Groups that move or map elements: elementwise chains, transposes, slices, concatenations.

Axes that no operand tells apart are merged first, so that an elementwise chain over equal
shapes is one long row of vectors. Concatenation is cut into its parts: no condition is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from armlet.compiler.ir import Call, Value
from armlet.compiler.lower.group import Group
from armlet.compiler.ops.registry import Fusion
from armlet.targets import Target

from ..emit import unravel
from ..loops import STEPS, cover, share, steps_for
from ..template import Config, Template
from ..tensor_graph import TensorGraph

_MOVES = (Fusion.ELEMENTWISE, Fusion.INJECTIVE, Fusion.VIEW)


def merged_axes(shape: Sequence[int], operands: Sequence[Sequence[int]]) -> list[list[int]]:
    """Neighbouring axes of ``shape`` that every operand has or lacks together, as runs."""

    def pattern(axis: int) -> list[bool]:
        return [
            axis - len(shape) + len(o) >= 0 and o[axis - len(shape) + len(o)] != 1 for o in operands
        ]

    runs: list[list[int]] = []
    for axis, size in enumerate(shape):
        if (size == 1 and runs) or (
            runs
            and (
                math.prod(shape[a] for a in runs[-1]) == 1
                or pattern(axis) == pattern(max(a for a in runs[-1] if shape[a] != 1))
            )
        ):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    return runs or [[]]


def elementwise_axes(group: Group) -> list[list[int]]:
    """The runs of axes that may be merged: each axis by itself where elements move."""
    shape = group.output.type.static_shape
    if any(c.op.fusion != Fusion.ELEMENTWISE for c in group.calls):  # type: ignore[attr-defined]
        return [[a] for a in range(len(shape))] or [[]]
    values: list[Value] = [v for c in group.calls for v in (*c.operands, *c.outputs)]
    return merged_axes(shape, [v.type.static_shape for v in values])


def concatenation(group: Group) -> Call | None:
    """The concatenation that makes the output, if only elementwise calls follow it."""
    for call in reversed(group.calls):
        if call.op.name == "concat":
            return call if call.output.type.shape == group.output.type.shape else None
        if call.op.fusion != Fusion.ELEMENTWISE:  # type: ignore[attr-defined]
            return None
    return None


class Injective(Template):
    name = "injective"

    def applies(self, group: Group, target: Target) -> bool:
        return group.anchor is None and all(c.op.fusion in _MOVES for c in group.calls)  # type: ignore[attr-defined]

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        graph.simplifies = True
        concat = concatenation(graph.group)
        if concat is not None:
            _concatenate(graph, target, concat)
            return graph.function()
        shape = graph.group.output.type.static_shape
        runs = elementwise_axes(graph.group)
        sizes = [math.prod(shape[a] for a in run) for run in runs]

        def body(merged: Sequence[Any]) -> None:
            indices: list[Any] = []
            for run, index in zip(runs, merged, strict=True):
                indices += unravel(index, [shape[a] for a in run])
            graph.store(*indices)

        cover(graph.code, sizes, target.lanes, body)
        return graph.function()


def _concatenate(graph: TensorGraph, target: Target, concat: Call) -> None:
    """Each operand is a row for every element before the axis; threads share all rows."""
    shape = graph.group.output.type.static_shape
    axis = concat.op.axis % len(shape)  # type: ignore[attr-defined]
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis:])
    steps = steps_for(outer * inner) if outer < STEPS else 1
    code, start = graph.code, 0
    with code.parallel(outer * steps) as p:
        before = unravel(p // steps, shape[:axis])
        for operand in concat.operands:
            own = [operand.type.static_shape[axis], *shape[axis + 1 :]]
            graph.known[concat.output] = _shifted(graph, operand, axis, start)

            def body(i: Any, own: list[int] = own, start: int = start) -> None:
                first, *rest = unravel(i, own)
                at = [*before, first + start, *rest]
                graph.store(*at)

            share(code, p % steps, steps, math.prod(own), target.lanes, body)
            start += own[0]


def _shifted(graph: TensorGraph, operand: Value, axis: int, start: int) -> Callable[..., Any]:
    """How an element of the concatenation reads the operand that begins at ``start``."""
    return lambda *i: graph.read(operand, [*i[:axis], i[axis] - start, *i[axis + 1 :]])
