"""Turn a strided transposed convolution into a convolution and a shuffle of its channels.

    %y = conv_transpose2d(%x, $w, $b) {strides=[2,2]}        w: [C,O,2,2]
    ->
    %1 = conv2d(%x, $w', $b')                                w': [4*O,C,1,1]
    %y = depth_to_space(%1) {blocksize=2}

``ops/subpixel.py`` has the arithmetic, and the crop that padding adds. Not when the strides
differ or are 1, and not with dilations or groups.
"""

from __future__ import annotations

from armlet.compiler.ir import (
    Builder,
    Const,
    Function,
    Match,
    Rules,
    Value,
    any_,
    call,
    const,
    rewrite,
)  # fmt: skip
from armlet.compiler.ops.nn import ConvTranspose2d
from armlet.compiler.ops.subpixel import subpixel

rules = Rules()


@rules.add(call("conv_transpose2d", any_("x"), const("w"), more=True))
def convolution_and_shuffle(m: Match, b: Builder) -> Value | None:
    op, (x, _, *rest) = m.root.op, m.root.operands
    assert isinstance(op, ConvTranspose2d)
    bias = rest[0] if rest else None
    if bias is not None and not isinstance(bias, Const):
        return None
    form = subpixel(op, x.type.shape, m.data("w"), bias.data if bias else None)
    if form is None:
        return None
    operands = [x, b.const(form.weight, "w")]
    if form.bias is not None:
        operands.append(b.const(form.bias, "b"))
    shuffled = b.call(form.shuffle, b.call(form.conv, *operands))
    return shuffled if form.crop is None else b.call(form.crop, shuffled)


def run(function: Function) -> Function:
    return rewrite(function, rules)
