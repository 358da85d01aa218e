"""Fold a per-channel scale or shift into the convolution or matmul before it.

    %1 = conv2d(%x, $w, $b)              %2 = conv2d(%x, $w * s, $b * s)
    %2 = mul(%1, $s)               ->

    %1 = conv2d(%x, $w, $b)              %2 = conv2d(%x, $w, $b + t)
    %2 = add(%1, $t)               ->

and a scale of the input channels into the convolution after it:

    %1 = mul(%x, $s)                     %2 = conv2d(%x, $w * s, $b)
    %2 = conv2d(%1, $w, $b)        ->

Not when %1 has another reader: the convolution would run twice. A shift of the input is
not folded, as it does not reach the padding.
"""

from __future__ import annotations

import numpy as np

from armlet.compiler.ir import Builder, Function, Match, Rules, Value, any_, call, const, rewrite
from armlet.compiler.ops.matmul import MatMul
from armlet.compiler.ops.nn import Conv2d, ConvTranspose2d
from armlet.compiler.passes.broadcasting import along_axis

CONVOLUTIONS = ("conv2d", "conv_transpose2d")
conv = call(
    CONVOLUTIONS, any_("x"), const("w"), more=True, single_reader=True, bind="conv"
)  # bias, if any, is the third operand
rules = Rules()


def _bias(m: Match) -> np.ndarray | None:
    """The convolution's bias; zeros where it has none; None where it is not constant."""
    operands = m.calls["conv"].operands
    if len(operands) < 3:
        return np.zeros(m.calls["conv"].output.type.static_shape[1], np.float32)
    return getattr(operands[2], "data", None)


def _scaled_weights(op: Conv2d | ConvTranspose2d, w: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Weights whose output channels are scaled: OIHW, or I(O/g)HW when transposed."""
    if isinstance(op, ConvTranspose2d):
        per_group = s.reshape(op.group, 1, -1, 1, 1)
        return (w.reshape(op.group, -1, *w.shape[1:]) * per_group).reshape(w.shape)
    return w * s.reshape(-1, 1, 1, 1)


def _vector(m: Match, name: str) -> np.ndarray | None:
    output = m.calls["conv"].output.type
    return along_axis(m.data(name), output, 1) if m.root.output.type == output else None


@rules.add(call("mul", conv, const("s"), commutative=True))
def scale_after_conv(m: Match, b: Builder) -> Value | None:
    s, bias = _vector(m, "s"), _bias(m)
    if s is None or bias is None:
        return None
    fused = m.calls["conv"]
    assert isinstance(fused.op, (Conv2d, ConvTranspose2d))
    w = _scaled_weights(fused.op, m.data("w"), s)
    operands = [m["x"], b.const(w.astype(m.data("w").dtype), "w")]
    if len(fused.operands) == 3:
        operands.append(b.const((bias * s).astype(m.data("w").dtype), "b"))
    return b.call(fused.op, *operands, source=fused.source)


@rules.add(call("add", conv, const("t"), commutative=True))
def shift_after_conv(m: Match, b: Builder) -> Value | None:
    t, bias = _vector(m, "t"), _bias(m)
    if t is None or bias is None:
        return None
    fused = m.calls["conv"]
    return b.call(
        fused.op,
        m["x"],
        m["w"],
        b.const((bias + t).astype(m.data("w").dtype), "b"),
        source=fused.source,
    )


@rules.add(
    call(
        "conv2d", call("mul", any_("x"), const("s"), commutative=True, bind="scale"), const("w"),
        more=True,
    )
)  # fmt: skip
def scale_before_conv(m: Match, b: Builder) -> Value | None:
    scaled = m.calls["scale"].output
    s = along_axis(m.data("s"), scaled.type, 1)
    if s is None or m["x"].type != scaled.type or not m.function.has_single_reader(scaled):
        return None
    w, op = m.data("w"), m.root.op
    group = op.group  # type: ignore[attr-defined]
    per_output = np.repeat(s.reshape(group, -1), w.shape[0] // group, axis=0)
    folded = w * per_output.reshape(*w.shape[:2], 1, 1)
    return b.call(op, m["x"], b.const(folded.astype(m.data("w").dtype), "w"), *m.root.operands[2:])


@rules.add(
    call(
        "mul", call("matmul", any_("x"), const("w"), single_reader=True, bind="matmul"),
        const("s"), commutative=True,
    )
)  # fmt: skip
def scale_after_matmul(m: Match, b: Builder) -> Value | None:
    output, w = m.calls["matmul"].output.type, m.data("w")
    s = along_axis(m.data("s"), output, -1)
    if s is None or m.root.output.type != output or w.ndim != 2:
        return None
    return b.call(MatMul(), m["x"], b.const((w * s).astype(m.data("w").dtype), "w"))


def run(function: Function) -> Function:
    return rewrite(function, rules)
