"""Recognise the shuffle of channels, which models spell as a transpose between reshapes.

    %1 = reshape(%x) {shape=[1,2,4,8,8]}
    %2 = transpose(%1) {perm=[0,2,1,3,4]}        %y = gather(%x, [0,4,1,5,2,6,3,7]) {axis=1}
    %y = reshape(%2) {shape=[1,8,8,8]}     ->

A slice of such channels takes fewer indices. Channels in blocks are gathered by
``arrange_blocked`` (``select``), from the parts of a concatenation where there is one.
"""

from __future__ import annotations

import numpy as np

from armlet.compiler.ir import Builder, Function, Match, Rules, Value, any_, call, const, rewrite
from armlet.compiler.ops.gather import Gather

rules = Rules()
x = any_("x")
grouped = call("reshape", x, single_reader=True, bind="grouped")
swapped = call("transpose", grouped, single_reader=True, bind="swapped")


@rules.add(call("reshape", swapped))
def shuffle(m: Match, b: Builder) -> Value | None:
    value, split = m["x"], m.calls["grouped"].output.type.shape
    if value.type != m.root.output.type or value.type.rank != 4 or len(split) != 5:
        return None
    n, channels, *space = value.type.shape
    perm = m.calls["swapped"].op.perm  # type: ignore[attr-defined]
    if (split[0], *split[3:]) != (n, *space) or perm != (0, 2, 1, 3, 4):
        return None
    order = np.arange(channels).reshape(split[1], split[2]).T.ravel()  # type: ignore[arg-type]
    return b.call(Gather(1), value, b.const(order, "order"))


@rules.add(call("slice", call("gather", x, const("order"), bind="gather")))
def slice_of_gathered_channels(m: Match, b: Builder) -> Value | None:
    op, gather = m.root.op, m.calls["gather"]
    axis = gather.op.axis  # type: ignore[attr-defined]
    starts, sizes, steps = op.starts, op.sizes, op.steps  # type: ignore[attr-defined]
    others = [a for a in range(gather.output.type.rank) if a != axis]
    held = gather.output.type.shape
    if m.data("order").ndim != 1 or any((starts[a], sizes[a]) != (0, held[a]) for a in others):
        return None
    taken = m.data("order")[starts[axis] :][:: steps[axis]][: sizes[axis]]
    return b.call(gather.op, m["x"], b.const(taken, "order")) if steps[axis] > 0 else None


def run(function: Function) -> Function:
    return rewrite(function, rules)
