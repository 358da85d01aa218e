"""Where values live: aliases resolved, lifetimes measured, dying inputs reused in place.

A *buffer* is the storage of one or more values: a value and its views are one buffer, and
so are an elementwise kernel's output and the input that it may overwrite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from armlet.compiler.ir import Call, Const, Function, Value, Var
from armlet.compiler.ir.group import Group
from armlet.compiler.ops import Fusion, Op

from .plan import ALIGNMENT


@dataclass(eq=False)
class Buffer:
    """``[first, last]`` are the tasks during which its bytes matter."""

    bytes: int
    first: int
    last: int
    values: list[Var] = field(default_factory=list)

    @property
    def aligned(self) -> int:
        return -(-self.bytes // ALIGNMENT) * ALIGNMENT

    def overlaps(self, other: Buffer) -> bool:
        return self.first <= other.last and other.first <= self.last


def resolve_views(items: Sequence[Group | Call]) -> dict[Value, Value]:
    """Each view -> the value whose bytes it shows."""
    roots: dict[Value, Value] = {}
    for item in items:
        if isinstance(item, Call):
            operand = item.operands[0]
            roots[item.output] = roots.get(operand, operand)
    return roots


def may_overwrite(group: Group, value: Value) -> bool:
    """Whether the output may take the place of an input: element i reads element i alone.

    Then every load of an element comes before the store to it, whatever the order of the
    loop, however it is cut among threads.
    """
    output = group.output.type
    if value.type != output:
        return False
    carriers: set[Value] = {value}
    for call in group.calls:
        if not carriers.intersection(call.operands):
            continue
        assert isinstance(call.op, Op)
        if call.op.fusion is not Fusion.ELEMENTWISE or call.output.type.shape != output.shape:
            return False
        carriers.add(call.output)
    return True


def measure(function: Function, items: Sequence[Group | Call]) -> dict[Value, Buffer]:
    """The arena buffer of every value that needs one (views resolved, not yet shared).

    Parameters, constants and results live elsewhere.
    """
    roots = resolve_views(items)
    elsewhere = {roots.get(v, v) for v in function.results} | set(function.params)
    buffers: dict[Value, Buffer] = {}
    task = -1
    for item in items:
        if isinstance(item, Call):
            continue
        task += 1
        for operand in item.inputs:
            root = roots.get(operand, operand)
            if root in buffers:
                buffers[root].last = task
        if item.output not in elsewhere:
            buffers[item.output] = Buffer(item.output.type.bytes, task, task, [item.output])
    return buffers


def share_in_place(
    items: Sequence[Group | Call], buffers: dict[Value, Buffer], roots: dict[Value, Value]
) -> None:
    """Lets an elementwise kernel write over an input that dies with it."""
    task = -1
    for item in items:
        if isinstance(item, Call):
            continue
        task += 1
        mine = buffers.get(item.output)
        if mine is None:
            continue
        for operand in item.inputs:
            theirs = buffers.get(roots.get(operand, operand))
            read_once = [roots.get(v, v) for v in item.inputs].count(roots.get(operand, operand))
            if theirs is None or theirs.last != task or read_once != 1:
                continue
            if theirs is not mine and may_overwrite(item, operand):
                theirs.last = max(theirs.last, mine.last)
                theirs.values += mine.values
                for value in mine.values:
                    buffers[value] = theirs
                break


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """The largest sum of bytes of buffers that are alive during one task."""
    if not buffers:
        return 0
    tasks = range(max(b.last for b in buffers) + 1)
    return max(sum(b.aligned for b in buffers if b.first <= t <= b.last) for t in tasks)


def constants_of(items: Sequence[Group | Call], roots: dict[Value, Value]) -> list[Const]:
    """The constants that kernels read by pointer, each once."""
    seen: dict[Const, None] = {}
    for item in items:
        if isinstance(item, Group):
            for value in item.inputs:
                root = roots.get(value, value)
                if isinstance(root, Const):
                    seen[root] = None
    return list(seen)
