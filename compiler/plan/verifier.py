"""A second opinion on a plan, which shares no code with the planner.

It plays the plan: a map from bytes to the value, and the bytes of it, written there last. A
task that reads a range must find there, whole, what the graph says it reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from armlet.compiler.ir import Call, Function, Value, Var
from armlet.compiler.ir.group import Group
from armlet.compiler.ops import Fusion, Op
from armlet.compiler.ops.shape import Slice

from .plan import Location, Plan, Space


class PlanError(Exception):
    """A plan would overwrite a value that is still needed, or read what is not there."""


def _reads_other_elements(group: Group, value: Value) -> bool:
    """Whether some output element depends on another element of the input than its own."""
    waiting: list[Value] = [group.output]
    producers = {c.output: c for c in group.calls}
    while waiting:
        current = waiting.pop()
        call = producers.get(current)  # type: ignore[arg-type]
        if call is None:
            continue
        assert isinstance(call.op, Op)
        pointwise = call.op.fusion is Fusion.ELEMENTWISE
        for operand in call.operands:
            same_shape = operand.type.shape == group.output.type.shape
            reaches = operand is value or _depends(operand, value, producers)
            if reaches and not (pointwise and same_shape):
                return True
        waiting += call.operands
    return False


def _depends(start: Value, on: Value, producers: dict[Var, Call]) -> bool:
    waiting, seen = [start], set()
    while waiting:
        current = waiting.pop()
        if current is on:
            return True
        if current in producers and current not in seen:  # type: ignore[operator]
            seen.add(current)
            waiting += producers[current].operands  # type: ignore[index]
    return False


@dataclass(frozen=True)
class _Piece:
    """``size`` bytes of a value, from ``offset`` on."""

    value: Value
    offset: int
    size: int

    def part(self, first: int, size: int) -> _Piece:
        return _Piece(self.value, self.offset + first, size)


def _cut(pieces: Sequence[_Piece], first: int, size: int) -> list[_Piece]:
    """The bytes ``[first, first + size)`` of pieces that follow one another."""
    found, at = [], 0
    for piece in pieces:
        low, high = max(first, at), min(first + size, at + piece.size)
        if low < high:
            found.append(piece.part(low - at, high - low))
        at += piece.size
    return found


class _Contents:
    """Which kernels' bytes each value consists of."""

    def __init__(self) -> None:
        self._of: dict[Value, list[_Piece]] = {}

    def of(self, value: Value) -> list[_Piece]:
        return self._of.get(value, [_Piece(value, 0, value.type.bytes)])

    def bind(self, call: Call) -> None:
        """Takes in a view."""
        pieces = [p for v in call.operands for p in self.of(v)]
        if isinstance(call.op, Slice):
            (x,) = call.operands
            first = np.ravel_multi_index(call.op.starts, x.type.static_shape)
            itemsize = x.type.bytes // x.type.elements
            pieces = _cut(pieces, int(first) * itemsize, call.output.type.bytes)
        self._of[call.output] = pieces


class _Memory:
    """What lies in each buffer, as (start, piece)."""

    def __init__(self) -> None:
        self._held: dict[tuple[Space, int], list[tuple[int, _Piece]]] = {}

    def write(self, place: Location, pieces: Sequence[_Piece]) -> None:
        start, size = place.offset, sum(p.size for p in pieces)
        end = start + size
        kept = []
        for at, piece in self._held.get((place.space, place.index), []):
            if at < start:
                kept.append((at, piece.part(0, min(piece.size, start - at))))
            if end < at + piece.size:
                skipped = max(0, end - at)
                kept.append((at + skipped, piece.part(skipped, piece.size - skipped)))
        for piece in pieces:
            kept.append((start, piece))
            start += piece.size
        self._held[place.space, place.index] = kept

    def holds(self, place: Location, pieces: Sequence[_Piece]) -> bool:
        held = self._held.get((place.space, place.index), [])
        at = place.offset
        for piece in pieces:
            there = [
                p.part(low - start, high - low)
                for start, p in held
                for low, high in [(max(at, start), min(at + piece.size, start + p.size))]
                if low < high and p.value is piece.value and piece.offset - at == p.offset - start
            ]
            if sum(p.size for p in there) != piece.size:
                return False
            at += piece.size
        return True


def _problems(plan: Plan, function: Function, items: Sequence[Group | Call]) -> Iterator[str]:
    contents, memory, tasks = _Contents(), _Memory(), iter(plan.tasks)
    for index, param in enumerate(function.params):
        memory.write(Location(Space.INPUT, index=index), contents.of(param))
    for item in items:
        if isinstance(item, Call):
            contents.bind(item)
            continue
        task = next(tasks)
        values = [*item.inputs, item.output]
        if len(task.arguments) != len(values):
            yield f"{task.value}: {len(task.arguments)} arguments for {len(values)} values"
            continue
        out = task.arguments[-1]
        end = out.offset + item.output.type.bytes
        for value, place in zip(item.inputs, task.arguments):
            yield from _check_read(place, value, contents, memory, plan, task.value)
            yield from _check_overlap(place, value, out, end, item)
        if out.space is Space.ARENA and end > plan.arena_bytes:
            yield f"{task.value} is written outside the arena"
        memory.write(out, contents.of(item.output))
    for index, result in enumerate(function.results):
        if not memory.holds(Location(Space.OUTPUT, index=index), contents.of(result)):
            yield f"result {result} is not what output {index} holds"


def _check_read(
    place: Location, value: Value, contents: _Contents, memory: _Memory, plan: Plan, task: str
) -> Iterator[str]:
    if place.space is Space.CONSTANT:
        if place.offset + value.type.bytes > plan.constant_bytes:
            yield f"{task} reads {value} beyond the constants"
    elif not memory.holds(place, contents.of(value)):
        where = f"{place.space.name.lower()} at {place.offset}"
        yield f"{task} reads {value}, which is not in the {where} any more"


def _check_overlap(
    place: Location, value: Value, out: Location, end: int, group: Group
) -> Iterator[str]:
    if (place.space, place.index) != (out.space, out.index):
        return
    if place.offset + value.type.bytes <= out.offset or end <= place.offset:
        return
    exact = place.offset == out.offset and value.type == group.output.type
    if not exact or _reads_other_elements(group, value):
        yield f"{group.output} overwrites its input {value} before it is read"


def verify_plan(plan: Plan, function: Function, items: Sequence[Group | Call]) -> None:
    """Raises ``PlanError`` with everything that is wrong."""
    problems = list(_problems(plan, function, items))
    if problems:
        raise PlanError("\n".join(["invalid plan:", *problems]))
