"""Fusion in Relay's sense: cut the function into groups, each of which becomes one kernel.

A group has one output, its *sink*. Calls are visited from last to first. A call starts as
the sink of a group of its own; it joins the group of its readers when

  1. every reader is in one and the same group (so the sink post-dominates the call: each
     path from it to a result passes through the sink, Chen et al., OSDI'18), its value is no
     result, and
  2. the pair is legal:
       elementwise or injective call  into a group without anchor,
       anchor, reduction, opaque call into a group of elementwise calls of its own shape
                                      (they become its epilogue),
       elementwise call               into a reduction that reads each element once
                                      (it becomes its prologue), and
  3. inlining it does not compute too much twice: a call that is read through a reader
     which visits elements more than once (a broadcast, a resize) must be cheap.

Because diamonds close from below, ``x * sigmoid(x)`` after a convolution ends up in the
convolution's kernel, while a value that two kernels need is stored once.

Views (reshapes) have no kernel; they end groups, and the plan makes them aliases.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from armlet.compiler.ir import Call, Function
from armlet.compiler.ir.group import Group
from armlet.compiler.ops import Fusion, Op

#: a kernel takes at most so many pointers (the executor's dispatch ends there)
MAX_POINTERS = 24
#: how often one call's expression may appear in its kernel after inlining
MAX_COPIES = 8
#: inlining these moves data and computes nothing: they may be repeated freely
FREE = frozenset({"transpose", "slice", "expand", "pack_channels", "unpack_channels", "gather"})


@dataclass(eq=False)
class _Open:
    """A group while it grows; ``calls`` from the sink backwards."""

    calls: list[Call]
    anchor: Call | None = None
    #: how often each call's expression appears
    copies: dict[Call, int] = field(default_factory=dict)

    @property
    def sink(self) -> Call:
        return self.calls[0]

    def pointers_with(self, call: Call) -> int:
        return len(Group.of([*self.calls, call][::-1], output=self.sink.output).inputs) + 1


def fusion_of(call: Call) -> Fusion:
    assert isinstance(call.op, Op)
    return call.op.fusion


ANCHORS = (Fusion.ANCHOR, Fusion.REDUCE, Fusion.OPAQUE)
INLINED = (Fusion.ELEMENTWISE, Fusion.INJECTIVE)


def _copies(call: Call, group: _Open) -> int:
    reads = sum(group.copies[r] * r.operands.count(call.output) for r in group.calls)
    return max(reads, 1)


def _legal(call: Call, group: _Open) -> bool:
    kind = fusion_of(call)
    if kind in ANCHORS:
        shape = call.output.type.shape
        return group.anchor is None and all(
            fusion_of(c) is Fusion.ELEMENTWISE and c.output.type.shape == shape for c in group.calls
        )
    if kind not in INLINED:
        return False
    if group.anchor is None:
        grows = group.sink.output.type.elements > call.output.type.elements
        return call.op.name in FREE or not grows
    readers = [c for c in group.calls if call.output in c.operands]
    prologue = fusion_of(group.anchor) is Fusion.REDUCE and all(
        r is group.anchor or _feeds_anchor(r, group) for r in readers
    )
    return prologue and kind is Fusion.ELEMENTWISE


def _feeds_anchor(call: Call, group: _Open) -> bool:
    assert group.anchor is not None
    return group.calls.index(call) > group.calls.index(group.anchor)


def _join(call: Call, group: _Open) -> bool:
    copies = _copies(call, group)
    if not _legal(call, group) or group.pointers_with(call) > MAX_POINTERS:
        return False
    if copies > MAX_COPIES and fusion_of(call) not in ANCHORS:
        return False
    group.calls.append(call)
    group.copies[call] = copies
    if fusion_of(call) in ANCHORS:
        group.anchor = call
    return True


def _close(group: _Open) -> Group:
    return Group.of(group.calls[::-1], group.anchor, group.sink.output)


def _single_group(call: Call, function: Function, group_of: dict[Call, _Open]) -> _Open | None:
    """The one group that holds every reader of the call's only output."""
    if len(call.outputs) != 1 or call.output in function.results:
        return None
    readers = function.readers.get(call.output, [])
    groups = {id(group_of[r]): group_of[r] for r in readers if r in group_of}
    if len(groups) != 1 or any(r not in group_of for r in readers):
        return None
    return next(iter(groups.values()))


def fuse(function: Function) -> list[Group | Call]:
    """The groups in order of execution; a view stands for itself, as a ``Call``."""
    group_of: dict[Call, _Open] = {}
    ordered: list[_Open | Call] = []
    for call in reversed(function.bindings):
        if fusion_of(call) is Fusion.VIEW:
            ordered.append(call)
            continue
        group = _single_group(call, function, group_of)
        if group is None or not _join(call, group):
            group = _Open([call], call if fusion_of(call) in ANCHORS else None, {call: 1})
            ordered.append(group)
        group_of[call] = group
    return [_close(g) if isinstance(g, _Open) else g for g in reversed(ordered)]
