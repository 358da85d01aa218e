"""A second opinion on a plan, which shares no code with the planner.

It plays the plan: a map from bytes to the value, and the bytes of it, written there last. A
task that reads a range must find there, whole, what the graph says it reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from armlet.compiler.ir import Call, Function, Value, Var
from armlet.compiler.ir.group import Group
from armlet.compiler.ops import Fusion, Op
from armlet.compiler.ops.shape import Slice

from .plan import Location, Plan, Region, RegionTasks, Space


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


class _Player:
    """Plays a plan: tasks one by one, or, of some regions, what an accelerator does instead."""

    def __init__(self, plan: Plan, function: Function) -> None:
        self.plan, self.function = plan, function
        self.contents, self.memory = _Contents(), _Memory()
        for index, param in enumerate(function.params):
            self.memory.write(Location(Space.INPUT, index=index), self.contents.of(param))

    def play(
        self, items: Sequence[Group | Call], regions: Mapping[int, RegionTasks]
    ) -> Iterator[str]:
        """``regions``, by their first tasks, are those that an accelerator does."""
        number, current = 0, None
        for item in items:
            if isinstance(item, Call):
                self.contents.bind(item)
                continue
            if current and number == current.first_task + current.task_count:
                yield from self._end(current)
                current = None
            if number in regions:
                current = regions[number]
                yield from self._begin(current)
            if not current:
                yield from self._task(number, item)
            number += 1
        if current:
            yield from self._end(current)
        for index, result in enumerate(self.function.results):
            place = Location(Space.OUTPUT, index=index)
            if not self.memory.holds(place, self.contents.of(result)):
                yield f"result {result} is not what output {index} holds"

    def _task(self, number: int, item: Group) -> Iterator[str]:
        task, plan = self.plan.tasks[number], self.plan
        values = [*item.inputs, item.output]
        if len(task.arguments) != len(values):
            yield f"{task.value}: {len(task.arguments)} arguments for {len(values)} values"
            return
        out = task.arguments[-1]
        end = out.offset + item.output.type.bytes
        for value, place in zip(item.inputs, task.arguments):
            yield from _check_read(place, value, self.contents, self.memory, plan, task.value)
            yield from _check_overlap(place, value, out, end, item)
        if out.space is Space.ARENA and end > plan.arena_bytes:
            yield f"{task.value} is written outside the arena"
        self.memory.write(out, self.contents.of(item.output))

    def _places(self, tasks: RegionTasks) -> Region:
        return next(r for r in self.plan.regions if r.first_task == tasks.first_task)

    def _begin(self, tasks: RegionTasks) -> Iterator[str]:
        """Outputs are written before inputs are read: the worst that a device may do."""
        places, name = self._places(tasks), tasks.program.name
        for value, place in zip(tasks.outputs, places.outputs, strict=True):
            self.memory.write(place, [_Piece(value, 0, value.type.bytes)])
            if place.space is Space.ARENA:
                if place.offset + value.type.bytes > self.plan.arena_bytes:
                    yield f"{name} writes {value} outside the arena"
        for value, place in zip(tasks.inputs, places.inputs, strict=True):
            yield from _check_read(place, value, self.contents, self.memory, self.plan, name)

    def _end(self, tasks: RegionTasks) -> Iterator[str]:
        places = self._places(tasks)
        for value, place in zip(tasks.outputs, places.outputs, strict=True):
            self.memory.write(place, self.contents.of(value))
        for value, place in zip(tasks.outputs, places.outputs, strict=True):
            if not self.memory.holds(place, self.contents.of(value)):
                yield f"{tasks.program.name} writes {value} over another of its results"


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


def verify_plan(
    plan: Plan,
    function: Function,
    items: Sequence[Group | Call],
    regions: Sequence[RegionTasks] = (),
) -> None:
    """Raises ``PlanError`` with everything that is wrong, on the CPU alone or with ``regions``."""
    problems = list(_Player(plan, function).play(items, {}))
    if regions:
        problems += _Player(plan, function).play(items, {r.first_task: r for r in regions})
    if problems:
        raise PlanError("\n".join(["invalid plan:", *problems]))
