"""Where values live: views resolved, lifetimes measured, dying inputs reused in place.

A value lies in the bytes of its *root*: itself, or what it is a part of (``ops/views.py``).
An elementwise kernel's output may take the place of an input as well. Each root that is left
has one buffer. Its bytes do not all matter at the same time: the parts of a concatenation
begin one by one, and so other buffers may lie where parts are still to come.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from armlet.compiler.ir import Call, Const, Function, Value
from armlet.compiler.ir.group import Group
from armlet.compiler.ops import Fusion, Op
from armlet.compiler.ops.views import placements

from .plan import ALIGNMENT, RegionTasks


@dataclass(frozen=True)
class Span:
    """Bytes ``[start, end)`` of a buffer, which matter during the tasks ``[first, last]``."""

    start: int
    end: int
    first: int
    last: int

    def meets(self, other: Span) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, eq=False)
class Buffer:
    """Spans in order, without a gap; the last one ends at a multiple of the alignment."""

    spans: tuple[Span, ...]

    @property
    def bytes(self) -> int:
        return self.spans[-1].end

    @property
    def first(self) -> int:
        return min(s.first for s in self.spans)

    @property
    def last(self) -> int:
        return max(s.last for s in self.spans)


@dataclass(frozen=True)
class _Use:
    """A task's access to bytes of a root."""

    task: int
    start: int
    end: int

    def meets(self, start: int, end: int) -> bool:
        return self.start < end and start < self.end


class Storage:
    """The places of all values of a function, and when they are used."""

    def __init__(
        self,
        function: Function,
        items: Sequence[Group | Call],
        regions: Sequence[RegionTasks] = (),
    ) -> None:
        self._wholes: dict[Value, tuple[Value, int]] = {}
        for item in items:
            if isinstance(item, Call):
                for part, whole, offset in placements(item):
                    part, within = self.place(part)
                    self._wholes[part] = whole, offset - within
        self.groups = [item for item in items if isinstance(item, Group)]
        self._uses: dict[Value, list[_Use]] = {}
        for task, group in enumerate(self.groups):
            for value in (*group.inputs, group.output):
                self._use(value, task)
        for region in regions:
            # one step reads and writes these at once, and in which order nobody knows
            for value in (*region.inputs, *region.outputs):
                self._use(value, region.first_task)
                self._use(value, region.first_task + region.task_count - 1)
        self._elsewhere = {self.place(v)[0] for v in (*function.params, *function.results)}
        for task, group in enumerate(self.groups):
            self._share(group, task)

    def place(self, value: Value) -> tuple[Value, int]:
        """(root, the value's first byte in it)."""
        offset = 0
        while value in self._wholes:
            value, further = self._wholes[value]
            offset += further
        return value, offset

    def _range(self, value: Value) -> tuple[Value, int, int]:
        root, start = self.place(value)
        return root, start, start + value.type.bytes

    def _use(self, value: Value, task: int) -> None:
        root, start, end = self._range(value)
        self._uses.setdefault(root, []).append(_Use(task, start, end))

    def _in_arena(self, root: Value) -> bool:
        return root not in self._elsewhere and not isinstance(root, Const)

    # -- in place -----------------------------------------------------------------------------

    def _share(self, group: Group, task: int) -> None:
        """Lets an elementwise kernel write over an input that dies with it."""
        for value in group.inputs:
            if may_overwrite(group, value) and self._dies(value, group, task):
                if self._move(group.output, value) or self._move(value, group.output):
                    return

    def _dies(self, value: Value, group: Group, task: int) -> bool:
        """Whether its bytes are not read again, nor by another of the group's inputs."""
        root, start, end = self._range(value)
        uses = [u for u in self._uses[root] if u.task >= task and u.meets(start, end)]
        return self._in_arena(root) and uses == [_Use(task, start, end)]

    def _move(self, value: Value, to: Value) -> bool:
        """Puts the buffer of ``value``, which is all of it, where ``to`` lies."""
        root, offset = self.place(value)
        target, start = self.place(to)
        whole = offset == 0 and root.type.bytes == value.type.bytes
        if not whole or root is target or not self._in_arena(root) or not self._in_arena(target):
            return False
        uses = self._uses.pop(root)
        self._uses[target] += [_Use(u.task, u.start + start, u.end + start) for u in uses]
        self._wholes[root] = target, start
        return True

    # -- buffers ------------------------------------------------------------------------------

    def buffers(self) -> dict[Value, Buffer]:
        """The buffer of every root in the arena."""
        return {
            root: Buffer(tuple(_spans(uses)))
            for root, uses in self._uses.items()
            if self._in_arena(root)
        }

    def constants(self) -> list[Const]:
        """The constants that kernels read by pointer."""
        return [root for root in self._uses if isinstance(root, Const)]


def _spans(uses: Sequence[_Use]) -> Iterator[Span]:
    """The bytes of a root, cut where their lifetimes differ."""
    edges = sorted({0, *(u.start for u in uses), *(u.end for u in uses)})
    found: list[Span] = []
    for start, end in itertools.pairwise(edges):
        tasks = [u.task for u in uses if u.meets(start, end)] or [uses[0].task]
        first, last = min(tasks), max(tasks)
        if found and (found[-1].first, found[-1].last) == (first, last):
            start = found.pop().start
        found.append(Span(start, end, first, last))
    if not found:
        found = [Span(0, 0, uses[0].task, uses[0].task)]
    *inner, final = found
    yield from inner
    yield Span(final.start, -(-final.end // ALIGNMENT) * ALIGNMENT, final.first, final.last)


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


def live_bytes(buffers: Sequence[Buffer], tasks: int) -> list[int]:
    """The bytes of buffers that matter during each of so many tasks."""
    change = [0] * (tasks + 1)
    for span in (s for b in buffers for s in b.spans):
        change[span.first] += span.end - span.start
        change[span.last + 1] -= span.end - span.start
    return list(itertools.accumulate(change[:-1]))


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """The largest sum of bytes that matter during one task, or the largest buffer."""
    if not buffers:
        return 0
    tasks = max(b.last for b in buffers) + 1
    return max(*live_bytes(buffers, tasks), *(b.bytes for b in buffers))
