"""Fold padding with zeros into the convolution that reads it.

    %1 = pad(%x) {before=[0,0,1,1], after=[0,0,1,1]}
    %y = conv2d(%1, $w)
    ->
    %y = conv2d(%x, $w) {pads=[1,1,1,1]}

Not when the value is not zero, another axis than the spatial ones is padded, or the mode
repeats data. The convolution then pads in its own cache-sized scratch.
"""

from __future__ import annotations

from dataclasses import replace

from armlet.compiler.ir import Builder, Function, Match, Rules, Value, any_, call, rewrite
from armlet.compiler.ops.nn import Conv2d
from armlet.compiler.ops.shape import Pad

rules = Rules()


def _pads_zeros_in_space(op: Pad) -> bool:
    edges = (*op.before, *op.after)
    spatial_only = not any(op.before[:2]) and not any(op.after[:2])
    return op.mode == "constant" and op.value == 0 and spatial_only and min(edges) >= 0


@rules.add(
    call("conv2d", call("pad", any_("x"), where=_pads_zeros_in_space, bind="pad"), any_("w"),
         more=True)
)  # fmt: skip
def pad_before_conv(m: Match, b: Builder) -> Value | None:
    pad, op = m.calls["pad"].op, m.root.op
    assert isinstance(pad, Pad) and isinstance(op, Conv2d)
    top, left, bottom, right = op.pads
    (_, _, up, before), (_, _, down, after) = pad.before, pad.after
    pads = (top + up, left + before, bottom + down, right + after)
    return b.call(replace(op, pads=pads), m["x"], *m.root.operands[1:])


def run(function: Function) -> Function:
    return rewrite(function, rules)
