"""Join kernels into chains: convolutions whose results on the way are never whole in memory.

    kernel 1: %a = depthwise_conv2d_blocked(%x)  ->  kernel 1: %a = depthwise_conv2d_blocked(%x)
    kernel 2: %b = conv2d_blocked(%a)                          %b = conv2d_blocked(%a)

A kernel may be joined to the next one if that one's convolution is all that reads its result.
Where kernels follow one another like that, the stretch is cut into chains so that the sum of
the estimates is least (``schedules/cpu/conv2d_chain.py`` says what a chain is).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from armlet.compiler.ir import Call, Function
from armlet.compiler.ir.group import Group
from armlet.schedules.cpu import template_for
from armlet.schedules.cpu.conv2d_chain import Conv2dChain
from armlet.targets import Target

from .fuse import MAX_POINTERS

Items = Sequence[Group | Call]

CHAIN = Conv2dChain()
#: kernels of a chain
LONGEST = 5
#: what a chain's estimate must be of that of its kernels: less is not known so well
WORTH = 0.97


def chain(items: Items, function: Function, target: Target) -> list[Group | Call]:
    """``items`` as ``fuse`` gave them, with chains in the places of their last kernels."""
    group_of = {c: g for g in items if isinstance(g, Group) for c in g.calls}
    follower = {g: f for g in group_of.values() if (f := _follower(g, function, group_of))}
    followers = set(follower.values())
    joined: dict[Group, Group] = {}
    gone: set[Group] = set()
    for group in follower:
        if group in followers:
            continue
        stretch = [group]
        while stretch[-1] in follower:
            stretch.append(follower[stretch[-1]])
        for part in _cut(stretch, target):
            joined[part[-1]] = _join(part)
            gone.update(part[:-1])
    return [joined.get(i, i) if isinstance(i, Group) else i for i in items if i not in gone]


def _follower(group: Group, function: Function, group_of: dict[Call, Group]) -> Group | None:
    """The kernel to which this one may be joined."""
    readers = function.readers.get(group.output, [])
    if not _fits(group) or len(readers) != 1 or group.output in function.results:
        return None
    (reader,) = readers
    following = group_of.get(reader)
    if following is None or following.anchor is not reader or not _fits(following):
        return None
    follows = _pointwise(reader) or reader.op.name == "depthwise_conv2d_blocked"
    return following if follows and reader.operands.index(group.output) == 0 else None


def _fits(group: Group) -> bool:
    """Whether the kernel is a convolution that can be part of a chain."""
    if group.anchor is None or group.anchor.output.type.shape != group.output.type.shape:
        return False
    op: Any = group.anchor.op
    if op.name == "conv2d_blocked":
        return op.group == 1 and op.out_channels > 1
    return op.name == "depthwise_conv2d_blocked"


def _pointwise(call: Call) -> bool:
    op: Any = call.op
    if op.name != "conv2d_blocked":
        return False
    kernel = call.operands[1].type.static_shape[2:4]
    return kernel == (1, 1) and op.strides == (1, 1) and not any(op.pads)


def _join(part: Sequence[Group]) -> Group:
    anchors = [g.anchor for g in part if g.anchor]
    calls = [c for g in part for c in g.calls]
    return Group.of(calls, anchors[-1], part[-1].output, anchors[:-1])


def _cut(stretch: Sequence[Group], target: Target) -> list[Sequence[Group]]:
    """The parts of least cost together."""
    best: list[tuple[float, list[Sequence[Group]]]] = [(0.0, [])]
    for end in range(1, len(stretch) + 1):
        options = []
        for first in range(max(0, end - LONGEST), end):
            cost, parts = best[first]
            part = stretch[first:end]
            if _legal(part):
                options.append((cost + _cost(part, target), [*parts, part]))
        best.append(min(options, key=lambda o: o[0]))
    return best[-1][1]


def _legal(part: Sequence[Group]) -> bool:
    if len(part) == 1:
        return True
    windows = [g for g in part if g.anchor and g.anchor.op.name != "conv2d_blocked"]
    return bool(windows) and len(_join(part).inputs) < MAX_POINTERS


def _cost(part: Sequence[Group], target: Target) -> float:
    target = target.computing(part[0].dtype)
    if len(part) > 1:
        group = _join(part)
        return CHAIN.cost(group, target, CHAIN.default(group, target))
    template = template_for(part[0], target)
    return WORTH * template.estimate(part[0], target, template.default(part[0], target))
