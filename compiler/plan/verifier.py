"""A second opinion on a plan, which shares no code with the planner.

It plays the plan: a map from arena bytes to the value written there last. A task that
reads a range must find there, whole, the value that the graph says it reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from armlet.compiler.ir import Call, Value, Var
from armlet.compiler.ir.group import Group
from armlet.compiler.ops import Fusion, Op

from .plan import ALIGNMENT, Location, Plan, Space


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


class _Memory:
    """What each arena byte range holds."""

    def __init__(self) -> None:
        self.ranges: dict[tuple[int, int], Value] = {}

    def write(self, start: int, end: int, value: Value) -> None:
        kept = {r: v for r, v in self.ranges.items() if r[1] <= start or end <= r[0]}
        kept[start, end] = value
        self.ranges = kept

    def holds(self, start: int, end: int, value: Value) -> bool:
        return self.ranges.get((start, end)) is value


def _problems(plan: Plan, items: Sequence[Group | Call]) -> Iterator[str]:
    shown: dict[Value, Value] = {}
    memory = _Memory()
    tasks = iter(plan.tasks)
    for item in items:
        if isinstance(item, Call):
            source = item.operands[0]
            shown[item.output] = shown.get(source, source)
            continue
        task = next(tasks)
        values = [*item.inputs, item.output]
        if len(task.arguments) != len(values):
            yield f"{task.value}: {len(task.arguments)} arguments for {len(values)} values"
            continue
        out = task.arguments[-1]
        end = out.offset + item.output.type.bytes
        for value, place in zip(item.inputs, task.arguments):
            root = shown.get(value, value)
            yield from _check_read(place, value, root, memory, plan, task.value)
            yield from _check_overlap(place, value, out, end, item)
        if out.space is Space.ARENA:
            if end > plan.arena_bytes or out.offset % ALIGNMENT:
                yield f"{task.value} is written outside the arena or unaligned"
            memory.write(out.offset, end, item.output)


def _check_read(
    place: Location, value: Value, root: Value, memory: _Memory, plan: Plan, task: str
) -> Iterator[str]:
    size = value.type.bytes
    if place.space is Space.ARENA and not memory.holds(place.offset, place.offset + size, root):
        yield f"{task} reads {value}, which is not in the arena at {place.offset} any more"
    if place.space is Space.CONSTANT and place.offset + size > plan.constant_bytes:
        yield f"{task} reads {value} beyond the constants"


def _check_overlap(
    place: Location, value: Value, out: Location, end: int, group: Group
) -> Iterator[str]:
    if place.space is not Space.ARENA or out.space is not Space.ARENA:
        return
    if place.offset + value.type.bytes <= out.offset or end <= place.offset:
        return
    exact = place.offset == out.offset and value.type == group.output.type
    if not exact or _reads_other_elements(group, value):
        yield f"{group.output} overwrites its input {value} before it is read"


def verify_plan(plan: Plan, items: Sequence[Group | Call]) -> None:
    """Raises ``PlanError`` with everything that is wrong."""
    problems = list(_problems(plan, items))
    if problems:
        raise PlanError("\n".join(["invalid plan:", *problems]))
