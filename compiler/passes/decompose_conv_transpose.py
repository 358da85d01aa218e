"""Turn a transposed convolution whose windows do not overlap into a product and a shuffle.

    %y = conv_transpose2d(%x, $w, $b) {strides=[2,2]}        w: [C,O,2,2]
    ->
    %1 = conv2d(%x, $w', $b')                                w': [4*O,C,1,1]
    %y = depth_to_space(%1) {blocksize=2}                    (DCR order)

Each output pixel then comes from one input pixel: no multiplications by inserted zeros (Shi
et al., arXiv 1609.07009). Not when kernel and strides differ, the sides differ, or there are
pads, dilations or groups.
"""

from __future__ import annotations

import numpy as np

from armlet.compiler.ir import Builder, Function, Match, Rules, Value, any_, call, const, rewrite
from armlet.compiler.ops.nn import Conv2d, ConvTranspose2d
from armlet.compiler.ops.shape import DepthToSpace

rules = Rules()


@rules.add(call("conv_transpose2d", any_("x"), const("w"), more=True))
def subpixel(m: Match, b: Builder) -> Value | None:
    op, w = m.root.op, m.data("w")
    assert isinstance(op, ConvTranspose2d)
    side = w.shape[2]
    overlapping = w.shape[2:] != (side, side) or op.strides != (side, side)
    if overlapping or any(op.pads) or any(op.output_padding) or op.group != 1 or side == 1:
        return None
    if op.dilations != (1, 1):
        return None
    channels, out = w.shape[:2]
    # depth_to_space of DCR order takes channel (r * side + s) * O + o to pixel (r, s)
    weights = w.transpose(2, 3, 1, 0).reshape(side * side * out, channels, 1, 1)
    operands: list[Value] = [m["x"], b.const(np.ascontiguousarray(weights), "w")]
    if len(m.root.operands) == 3:
        bias = getattr(m.root.operands[2], "data", None)
        if bias is None:
            return None
        operands.append(b.const(np.tile(bias, side * side), "b"))
    return b.call(DepthToSpace(side), b.call(Conv2d(), *operands))


def run(function: Function) -> Function:
    return rewrite(function, rules)
