"""Compute in integers what a quantised model says in floats between dequantize and quantize.

    %1 = dequantize(%x, 0.5, 3)                %1 = conv2d(%x, $w, $b) {zero_point=3} : i32[…]
    %2 = dequantize($w, $s, 0)                 %y = requantize(%1, 0.5 * $s / 0.25, 9)
    %3 = conv2d(%1, %2, $b * 0.5 * $s)   ->
    %y = quantize(%3, 0.25, 9)

``dequantize`` moves down: past calls that move elements or take the largest, into a product,
whose sums are then in int32. ``quantize`` moves up, before activations that only clamp, until the
two meet. What has no such form stays as it is, in floats, and is right. Not where a zero point
of the weights is not known, nor where x has scales of its own for each channel.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from armlet.compiler.ir import (
    Builder,
    Call,
    Const,
    Function,
    Match,
    Rules,
    Value,
    any_,
    call,
    const,
    rewrite,
    scalar,
)
from armlet.compiler.ops.binary import Add
from armlet.compiler.ops.matmul import MatMul
from armlet.compiler.ops.nn import SMALL, Conv2d
from armlet.compiler.ops.quantize import Dequantize, Quantize, Requantize, limits
from armlet.compiler.ops.shape import Concat, Reshape, Transpose
from armlet.compiler.passes.sink_reshapes import before_reshape

#: calls of one operand that keep the order of elements, so that it matters not what these mean
MOVES = ("reshape", "transpose", "slice", "expand", "max_pool2d", "depth_to_space",
         "space_to_depth", "squeeze", "flatten")  # fmt: skip
#: of a bias and its place between two integers, relative to the scale
BIAS_ERROR = 1e-3

rules = Rules()


def _dequantized(name: str, **options: Any) -> Any:
    """A pattern: ``name`` times a scale, less a zero point, which are constants."""
    parts = (const(f"{name}.scale"), const(f"{name}.zero"))
    return call("dequantize", any_(name), *parts, **options)


def _one(m: Match, name: str) -> bool:
    """Whether a scale and a zero point are one for the whole tensor."""
    return m.data(f"{name}.scale").size == m.data(f"{name}.zero").size == 1


def _weights(m: Match, name: str) -> np.ndarray | None:
    """Constant weights less their zero point, in the smallest dtype that holds them."""
    w = m[name]
    if not isinstance(w, Const) or w.type.dtype not in SMALL:
        return None
    centred = w.data.astype(np.int16) - m.data(f"{name}.zero").astype(np.int16)
    fits = centred.min(initial=0) >= -128 and centred.max(initial=0) <= 127
    return centred.astype(np.int8) if fits else centred


def _along(scale: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray | None:
    """A scale that varies along one axis of ``shape`` only, as a row; of one element, a scalar."""
    if scale.size == 1:
        return scale.reshape(())
    full = (1,) * (len(shape) - scale.ndim) + scale.shape
    wanted = tuple(n if a == axis % len(shape) else 1 for a, n in enumerate(shape))
    return scale.reshape(-1) if full == wanted else None


# -- products -------------------------------------------------------------------------------------


def _product_scale(m: Match, w_scale: np.ndarray | None) -> np.ndarray | None:
    """The scale of the sums, where it is one for each of them at most."""
    x_dtype = m["x"].type.dtype
    if w_scale is None or not _one(m, "x") or x_dtype not in SMALL:
        return None
    return np.asarray(m.data("x.scale").reshape(()) * w_scale, np.float32)


def _integer_bias(bias: np.ndarray, scale: np.ndarray) -> np.ndarray | None:
    """A bias in units of the sums' scale, if it is integers in these."""
    units = bias.astype(np.float64) / scale.astype(np.float64)
    rounded = np.rint(units)
    near = np.abs(units - rounded) <= BIAS_ERROR * np.maximum(1, np.abs(rounded) * 1e-3)
    return rounded.astype(np.int32) if near.all() and np.abs(rounded).max() < 2**31 - 1 else None


def _bias_of(m: Match, value: Value) -> np.ndarray | None:
    """The floats of a constant bias, which may be written in integers."""
    if isinstance(value, Const):
        return value.data
    producer = m.function.producers.get(value)  # type: ignore[arg-type]
    if producer is None or not isinstance(producer.op, Dequantize):
        return None
    parts = [getattr(v, "data", None) for v in producer.operands]
    return None if any(p is None for p in parts) else producer.op.evaluate(*parts)  # type: ignore[arg-type]


def _zero(b: Builder, dtype: str = "int32") -> Const:
    return b.const(np.zeros((), dtype), "zero")


@rules.add(call("conv2d", _dequantized("x"), _dequantized("w"), more=True))
def convolution(m: Match, b: Builder) -> Value | None:
    op, weights = m.root.op, _weights(m, "w")
    assert isinstance(op, Conv2d)
    if weights is None:
        return None
    scale = _product_scale(m, _along(m.data("w.scale"), weights.shape, 0))
    if scale is None:
        return None
    op = replace(op, zero_point=int(m.data("x.zero").item()))
    operands: list[Value] = [m["x"], b.const(weights, "w")]
    bias = [_bias_of(m, v) for v in m.root.operands[2:]]
    whole = [None if v is None else _integer_bias(v, scale) for v in bias]
    if all(v is not None for v in whole):
        operands += [b.const(v, "b") for v in whole if v is not None]
    sums = b.call(op, *operands)
    if scale.ndim:
        scale = scale.reshape(-1, 1, 1)
    y = b.call(Dequantize(), sums, b.const(scale, "scale"), _zero(b))
    if len(operands) == len(m.root.operands):
        return y
    shape = (-1, 1, 1)
    if bias[0] is not None:
        return b.call(Add(), y, b.const(bias[0].reshape(shape), "b"))
    row = m.root.operands[2]
    return b.call(Add(), y, b.call(Reshape((*row.type.shape, 1, 1)), row))


pair = (_dequantized("x"), _dequantized("w"))


@rules.add(call("matmul", *pair))
def product(m: Match, b: Builder) -> Value | None:
    return _product(m, b, None)


@rules.add(call("add", call("matmul", *pair, single_reader=True), any_("bias"), commutative=True))
def product_and_bias(m: Match, b: Builder) -> Value | None:
    bias = _bias_of(m, m["bias"])
    return None if bias is None or bias.ndim != 1 else _product(m, b, bias)


def _product(m: Match, b: Builder, bias: np.ndarray | None) -> Value | None:
    weights, x = _weights(m, "w"), m["x"].type
    if weights is None or weights.ndim < 2 or x.rank < 2:
        return _product_of_two(m, b) if bias is None else None
    scale = _product_scale(m, _along(m.data("w.scale"), weights.shape, -1))
    if scale is None:
        return None
    zero, added = int(m.data("x.zero").item()), []
    if bias is not None:
        whole = _integer_bias(bias, scale)
        if whole is None or weights.ndim != 2 or len(whole) != weights.shape[1]:
            return None
        added = [b.const(whole, "b")]
    if weights.ndim == 2 and x.is_static:
        sums = _by_convolution(m["x"], weights, zero, added, b)
    elif not added:
        sums = b.call(MatMul(zero_point=zero), m["x"], b.const(weights, "w"))
    else:
        return None
    return b.call(Dequantize(), sums, b.const(scale, "scale"), _zero(b))


def _product_of_two(m: Match, b: Builder) -> Value | None:
    """Both operands are computed: with one scale each, and no zero point of the second."""
    small = all(m[v].type.dtype in SMALL and m[v].type.rank > 1 for v in "xw")
    if not small or not _one(m, "w") or m.data("w.zero").any() or isinstance(m["w"], Const):
        return None
    scale = _product_scale(m, m.data("w.scale").reshape(()))
    if scale is None:
        return None
    sums = b.call(MatMul(zero_point=int(m.data("x.zero").item())), m["x"], m["w"])
    return b.call(Dequantize(), sums, b.const(scale, "scale"), _zero(b))


def _by_convolution(
    x: Value, w: np.ndarray, zero_point: int, bias: list[Const], b: Builder
) -> Value:
    """A product by a constant matrix as a pointwise convolution of images of one pixel."""
    *outer, depth = x.type.static_shape
    images = b.call(Reshape((math.prod(outer), depth, 1, 1)), x)
    weights = b.const(np.ascontiguousarray(w.T)[:, :, None, None], "w")
    sums = b.call(Conv2d(zero_point=zero_point), images, weights, *bias)
    return b.call(Reshape((*outer, w.shape[1])), sums)


# -- dequantize moves down ------------------------------------------------------------------------


@rules.add(call(MOVES, _dequantized("x")))
def dequantize_later(m: Match, b: Builder) -> Value | None:
    op, before = m.root.op, m["x"].type
    scale, zero = (
        _moved(op, m.data(f"x.{part}"), before.shape, m.root.output.type.shape)
        for part in ("scale", "zero")
    )
    if scale is None or zero is None or before.dtype == "int32":
        return None
    x = m["x"]
    if isinstance(x, Const):
        moved: Value = b.const(op.evaluate(x.data), x.name)  # type: ignore[attr-defined]
    else:
        moved = b.call(op, x)
    return b.call(Dequantize(), moved, b.const(scale, "scale"), b.const(zero, "zero"))


def _moved(op: Any, part: np.ndarray, before: Any, after: Any) -> np.ndarray | None:
    """A scale or a zero point behind a call that moves elements."""
    if part.size == 1:
        return part.reshape(())
    if isinstance(op, Transpose):
        return part.reshape((1,) * (len(before) - part.ndim) + part.shape).transpose(op.perm)
    if isinstance(op, Reshape):
        return before_reshape(part, after, before)
    return None


@rules.add(call("concat", _dequantized("x"), more=True))
def concatenate_integers(m: Match, b: Builder) -> Value | None:
    parts = [m.function.producers.get(v) for v in m.root.operands]  # type: ignore[arg-type]
    found = [p for p in parts if p is not None and _same_meaning(p, m)]
    if len(found) < len(parts) or not _one(m, "x"):
        return None
    joined = b.call(m.root.op, *(p.operands[0] for p in found))
    return b.call(Dequantize(), joined, m["x.scale"], m["x.zero"])


def _same_meaning(p: Call, m: Match) -> bool:
    """Whether a call is the ``dequantize`` of x but for what it reads."""
    return isinstance(p.op, Dequantize) and all(
        isinstance(v, Const) and v.type.dtype == w.type.dtype and np.array_equal(v.data, w.data)
        for v, w in zip(p.operands[1:], (m["x.scale"], m["x.zero"]))
        if isinstance(w, Const)
    )


# -- quantize moves up ----------------------------------------------------------------------------

quantized = (const("scale"), const("zero"))


def _quantize(m: Match, b: Builder, x: Value, **limits: Any) -> Value:
    assert isinstance(m.root.op, Quantize)
    return b.call(replace(m.root.op, **limits), x, m["scale"], m["zero"])


@rules.add(call("quantize", call(("relu", "clip"), any_("x"), bind="act", single_reader=True),
                *quantized))  # fmt: skip
def clamp_integers(m: Match, b: Builder) -> Value | None:
    """Rounding keeps the order of numbers, so that bounds may be rounded first."""
    op, act = m.root.op, m.calls["act"].op
    assert isinstance(op, Quantize)
    scale, zero = m.data("scale"), m.data("zero")
    if scale.size != 1 or zero.size != 1:
        return None
    bounds = (0.0, math.inf) if act.name == "relu" else (act.min, act.max)  # type: ignore[attr-defined]
    low, high = (
        float(op.evaluate(np.full(1, v, np.float32), scale.reshape(()), zero.reshape(())).item())
        for v in bounds
    )
    least, most = limits(zero.dtype.name)
    return _quantize(
        m, b, m["x"],
        low=max(op.low, -math.inf if low == least else low),
        high=min(op.high, math.inf if high == most else high),
    )  # fmt: skip


@rules.add(call("quantize", call("concat", any_("x"), more=True, bind="concat",
                                 single_reader=True), *quantized))  # fmt: skip
def quantize_parts(m: Match, b: Builder) -> Value | None:
    """Parts that are integers already need only another scale."""
    parts = m.calls["concat"].operands
    producers = [m.function.producers.get(v) for v in parts]  # type: ignore[arg-type]
    small = all(p and isinstance(p.op, Dequantize) for p in producers)
    if not small or m.data("scale").size != 1 or m.data("zero").size != 1:
        return None
    op = m.calls["concat"].op
    assert isinstance(op, Concat)
    return b.call(op, *(_quantize(m, b, v) for v in parts))


# -- the two meet ---------------------------------------------------------------------------------


@rules.add(call("quantize", _dequantized("x"), *quantized))
def back_and_forth(m: Match, b: Builder) -> Value | None:
    """The same scale: nothing changes but what ``low`` and ``high`` cut off."""
    op = m.root.op
    assert isinstance(op, Quantize)
    same = all(np.array_equal(m.data(p), m.data(f"x.{p}")) for p in ("scale", "zero"))
    free = (op.low, op.high) == (-math.inf, math.inf)
    return m["x"] if same and free and m["x"].type == m.root.output.type else None


@rules.add(call("quantize", call("dequantize", any_("x"), const("s"), scalar("none", 0)),
                *quantized))  # fmt: skip
def requantize(m: Match, b: Builder) -> Value | None:
    op, (x, s, scale) = m.root.op, (m["x"], m.data("s"), m.data("scale"))
    assert isinstance(op, Quantize)
    if x.type.dtype != "int32" or s.dtype != np.float32 or scale.size != 1:
        return None
    factor = (s.astype(np.float64) / scale.astype(np.float64).reshape(())).astype(np.float32)
    record = Requantize(op.low, op.high)
    return b.call(record, x, b.const(factor, "scale"), m["zero"])


def run(function: Function) -> Function:
    return rewrite(function, rules)
