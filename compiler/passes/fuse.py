"""Fusion in Relay's sense: cut the function into groups, each of which becomes one kernel.

A group has one output, its *sink*. Calls are visited from last to first. A call starts as
the sink of a group of its own; it joins the group of its readers when

  1. every reader is in one and the same group (so the sink post-dominates the call: each
     path from it to a result passes through the sink, Chen et al., OSDI'18), its value is no
     result, and
  2. the pair is legal:
       elementwise or injective call  into a group without anchor,
       anchor, reduction, opaque call into a group where elementwise calls of its own shape
                                      follow it (they become its epilogue),
       convolution on blocked data    as well if one of them is a depth_to_space: it stores
                                      its elements where that puts them,
       elementwise call               into an epilogue, of whose shape it is,
       elementwise call               into a reduction that reads each element once
                                      (it becomes its prologue),
       cast or dequantize of constants  into whoever reads it, and
  3. inlining it does not compute too much twice: a call that is read through a reader
     which visits elements more than once (a broadcast, a resize) must be cheap.

Because diamonds close from below, ``x * sigmoid(x)`` after a convolution ends up in the
convolution's kernel, while a value that two kernels need is stored once.

Views have no kernel; they end groups, and the plan makes them aliases. Only a reshape
between two calls that move data does not: it would have one pass over the data be two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from armlet.compiler.ir import Call, Const, Function
from armlet.compiler.ir.group import Group
from armlet.compiler.ops import Fusion, Op
from armlet.compiler.ops.elementwise import Cast
from armlet.compiler.ops.quantize import Dequantize
from armlet.compiler.ops.resize import Resize
from armlet.compiler.ops.shape import Reshape

#: a kernel takes at most so many pointers (the executor's dispatch ends there)
MAX_POINTERS = 24
#: how often one call's expression may appear in its kernel after inlining
MAX_COPIES = 8
#: inlining these moves data and computes nothing: they may be repeated freely
FREE = frozenset(
    {"transpose", "slice", "expand", "pack_channels", "unpack_channels", "gather", "resize"}
)
#: calls that read each element of their operands once, though their output has more
JOINING = frozenset({"concat", "concat_blocked", "pad"})


@dataclass(eq=False)
class _Open:
    """A group while it grows; ``calls`` from the sink backwards."""

    calls: list[Call]
    anchor: Call | None = None
    #: how often each call's expression appears
    copies: dict[Call, int] = field(default_factory=dict)
    #: the calls whose elements are computed more than once
    repeated: set[Call] = field(default_factory=set)
    #: the calls that the anchor depends on
    before: set[Call] = field(default_factory=set)

    @property
    def sink(self) -> Call:
        return self.calls[0]

    def pointers_with(self, call: Call) -> int:
        return len(Group.of([*self.calls, call][::-1], output=self.sink.output).inputs) + 1

    def readers(self, call: Call) -> list[Call]:
        return [c for c in self.calls if call.output in c.operands]

    def after(self, call: Call) -> set[Call]:
        """The calls that depend on ``call``."""
        found, values = set(), {call.output}
        for reader in reversed(self.calls):
            if values.intersection(reader.operands):
                found.add(reader)
                values.add(reader.output)
        return found


def fusion_of(call: Call) -> Fusion:
    assert isinstance(call.op, Op)
    if isinstance(call.op, Resize) and call.op.mode == "nearest":
        return Fusion.INJECTIVE  # without arithmetic it moves elements
    return call.op.fusion


ANCHORS = (Fusion.ANCHOR, Fusion.REDUCE, Fusion.OPAQUE)
INLINED = (Fusion.ELEMENTWISE, Fusion.INJECTIVE)


def _copies(call: Call, group: _Open) -> int:
    reads = sum(group.copies[r] * r.operands.count(call.output) for r in group.calls)
    return max(reads, 1)


def _repeats(call: Call, group: _Open) -> bool:
    """Whether the group would compute an element of the call more than once."""
    size = call.output.type.elements
    return any(
        r in group.repeated or (r.output.type.elements > size and r.op.name not in JOINING)
        for r in group.readers(call)
    )


def _anchor_before(call: Call, function: Function) -> Call | None:
    """The anchor in whose epilogue the elementwise call could be."""
    while fusion_of(call) is Fusion.ELEMENTWISE:
        shape = call.output.type.shape
        producers = [
            function.producers[v]
            for v in call.operands
            if v in function.producers and function.has_single_reader(v) and v.type.shape == shape
        ]
        anchor = next((p for p in producers if fusion_of(p) in ANCHORS), None)
        if anchor is not None:
            return anchor
        call = next((p for p in producers if fusion_of(p) is Fusion.ELEMENTWISE), call)
        if call not in producers:
            return None
    return None


def _legal(call: Call, group: _Open, function: Function) -> bool:
    kind = fusion_of(call)
    if _converts_constant(call):
        return True
    if kind in ANCHORS:
        return group.anchor is None and _has_epilogue(call, group, call)
    if group.anchor is None:
        anchor = _anchor_before(call, function)
        if anchor is not None and not _has_epilogue(call, group, anchor):
            return False  # it is better off there, and the anchor's output is stored anyway
        free = kind is Fusion.VIEW or call.op.name in FREE
        return free or (kind in INLINED and not _repeats(call, group))
    before = [r is group.anchor or r in group.before for r in group.readers(call)]
    if all(before):
        return kind is Fusion.ELEMENTWISE and fusion_of(group.anchor) is Fusion.REDUCE
    return not any(before) and not _repeats(call, group) and _is_beside(call, group)


def _converts_constant(call: Call) -> bool:
    known = all(isinstance(v, Const) for v in call.operands)
    return known and isinstance(call.op, (Cast, Dequantize))


def _has_epilogue(call: Call, group: _Open, anchor: Call) -> bool:
    """Whether the group's calls can follow an anchor, or what follows it, element by element."""
    after = group.after(call)
    shapes = [call.output.type.shape]
    for c in reversed(group.calls):
        if c not in after:
            if c in group.repeated or not _is_beside(c, group):
                return False
        elif anchor.op.name == "conv2d_blocked" and c.op.name == "depth_to_space":
            shapes.append(c.output.type.shape)
        elif fusion_of(c) is not Fusion.ELEMENTWISE or c.output.type.shape != shapes[-1]:
            return False
    return len(shapes) <= 2 and group.sink.output.type.shape == shapes[-1]


def _is_beside(call: Call, group: _Open) -> bool:
    """Whether an epilogue may compute the call for itself, element by element."""
    kind = fusion_of(call)
    picks = kind is Fusion.INJECTIVE and call.op.name == "resize" and call.output.type.rank == 5
    same = call.output.type.shape == group.sink.output.type.shape
    return same and (picks or kind is Fusion.ELEMENTWISE)


def _join(call: Call, group: _Open, function: Function) -> bool:
    copies = _copies(call, group)
    if not _legal(call, group, function) or group.pointers_with(call) > MAX_POINTERS:
        return False
    if copies > MAX_COPIES and fusion_of(call) not in ANCHORS:
        return False
    if _repeats(call, group):
        group.repeated.add(call)
    if any(r is group.anchor or r in group.before for r in group.readers(call)):
        group.before.add(call)
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


def _moves_between(call: Call, function: Function, group: _Open | None) -> bool:
    """Whether a view is a reshape between calls that move data and could do it on the way."""
    (operand, *more) = call.operands
    producer = function.producers.get(operand)  # type: ignore[arg-type]
    if more or group is None or producer is None or not function.has_single_reader(operand):
        return False
    moves = [producer, *group.readers(call)]
    return isinstance(call.op, Reshape) and all(c.op.name in FREE for c in moves)


def fuse(function: Function) -> list[Group | Call]:
    """The groups in order of execution; a view stands for itself, as a ``Call``."""
    group_of: dict[Call, _Open] = {}
    ordered: list[_Open | Call] = []
    for call in reversed(function.bindings):
        group = _single_group(call, function, group_of)
        view = fusion_of(call) is Fusion.VIEW
        if view and not _moves_between(call, function, group):
            group = None
        if group is None or not _join(call, group, function):
            if view:
                ordered.append(call)
                continue
            group = _Open([call], call if fusion_of(call) in ANCHORS else None, {call: 1})
            ordered.append(group)
        group_of[call] = group
    return [_close(g) if isinstance(g, _Open) else g for g in reversed(ordered)]
