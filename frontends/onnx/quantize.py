"""Quantised operators: QuantizeLinear, DequantizeLinear, and integer products of ONNX.

Everything becomes ``dequantize``, a float operator and ``quantize``; the pass
``integer_arithmetic`` makes integers of such groups, whoever wrote them.
"""

from __future__ import annotations

import math

import numpy as np

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from .linear import matmul as float_matmul
from .nn import conv
from .registry import handles

#: ONNX's number of a data type -> (dtype, smallest, largest); these lie in bytes
_NARROW = {
    21: ("uint8", 0, 15), 22: ("int8", -8, 7), 25: ("uint8", 0, 3), 26: ("int8", -2, 1),
}  # fmt: skip
_DTYPES = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16"}


def _scales(b: Emitter, scale: Value, x: Value, axis: int, block: int, what: str) -> Value:
    """A scale or zero point in a shape that broadcasts to ``x``."""
    if isinstance(scale, Const):
        _check_scale(scale.data, what)
    sizes = b.static(scale, f"its {what} depends on")
    if math.prod(sizes) == 1:
        return b.reshape(scale, ())
    axis = b.axis(axis, x.type.rank)
    if block:
        return _per_block(b, scale, x, axis, block, what)
    if len(sizes) != 1 or sizes[0] != x.type.shape[axis]:
        raise Unsupported(f"the {what} is {scale.type} for axis {axis} of {x.type}")
    return b.reshape(scale, (*sizes, *[1] * (x.type.rank - 1 - axis)))


def _check_scale(scale: np.ndarray, what: str) -> None:
    if scale.dtype.kind != "f":
        return
    if not np.isfinite(scale).all():
        raise Unsupported(f"the {what} is not finite", way_out="quantise the model again")
    if (scale <= 0).any():
        raise Unsupported(
            f"the {what} is {float(scale.min()):g}; scales are positive",
            way_out="quantise the model again",
        )


def _per_block(b: Emitter, scale: Value, x: Value, axis: int, block: int, what: str) -> Value:
    """Each scale repeated along the axis for its block; the last block may be shorter."""
    sizes, shape = b.static(scale), b.static(x)
    wanted = tuple(-(-n // block) if a == axis else n for a, n in enumerate(shape))
    if sizes != wanted:
        raise Unsupported(
            f"the {what} is {scale.type} for blocks of {block} along axis {axis} of {x.type}"
        )
    wide = b.reshape(scale, (*sizes[: axis + 1], 1, *sizes[axis + 1 :]))
    wide = b.call("expand", wide, shape=(*sizes[: axis + 1], block, *sizes[axis + 1 :]))
    whole = b.reshape(wide, (*sizes[:axis], sizes[axis] * block, *sizes[axis + 1 :]))
    return b.slice(whole, axis, 0, shape[axis])


def _zero(b: Emitter, zero: Value | None, dtype: str) -> Value:
    return b.const(0, dtype) if zero is None else zero


@handles("QuantizeLinear", since=10)
def quantize_linear(
    b: Emitter,
    x: Value,
    scale: Value,
    zero: Value | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Value:
    low, high = -math.inf, math.inf
    if output_dtype in _NARROW:
        dtype, low, high = _NARROW[output_dtype]
    elif output_dtype and output_dtype not in _DTYPES:
        raise Unsupported("the type is not supported", attribute="output_dtype")
    else:
        dtype = _DTYPES.get(output_dtype, "uint8" if zero is None else zero.type.dtype)
    if zero is not None and zero.type.dtype != dtype:
        raise Unsupported(f"the zero point is {zero.type} for {dtype}", attribute="output_dtype")
    parts = (scale, _zero(b, zero, dtype))
    names = ("scale", "zero point")
    operands = [_scales(b, v, x, axis, block_size, what) for v, what in zip(parts, names)]
    if x.type.dtype == "int32":
        x = b.cast(x, "float32")
    return b.call("quantize", x, *operands, low=low, high=high)


@handles("DequantizeLinear", since=10)
def dequantize_linear(
    b: Emitter,
    x: Value,
    scale: Value,
    zero: Value | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Value:
    if zero is not None and zero.type.dtype != x.type.dtype:
        raise Unsupported(f"the zero point is {zero.type} for {x.type}")
    parts = (scale, _zero(b, zero, x.type.dtype))
    names = ("scale", "zero point")
    operands = [_scales(b, v, x, axis, block_size, what) for v, what in zip(parts, names)]
    return b.call("dequantize", x, *operands)


@handles("DynamicQuantizeLinear", since=11)
def dynamic_quantize_linear(b: Emitter, x: Value) -> tuple[Value, ...]:
    """By the range of x and 0: y, its scale and its zero point."""
    if x.type.dtype != "float32":
        raise Unsupported(f"its operand {x.type} is not float32")
    axes = tuple(range(x.type.rank))
    zero = b.full(x, 0)
    largest = b.call("maximum", b.call("reduce_max", x, axes=axes, keepdims=False), zero)
    least = b.call("minimum", b.call("reduce_min", x, axes=axes, keepdims=False), zero)
    scale = b.call("div", b.call("sub", largest, least), b.full(x, 255))
    flat = b.call("equal", scale, zero)
    scale = b.call("where", flat, b.full(x, 1), scale)
    point = b.call("quantize", b.call("div", b.call("neg", least), scale), b.full(x, 1),
                   b.const(0, "uint8"))  # fmt: skip
    return b.call("quantize", x, scale, point), scale, point


def dequantized(b: Emitter, x: Value, scale: Value, zero: Value | None, axis: int = 1) -> Value:
    return dequantize_linear(b, x, scale, zero, axis=axis)


@handles("QLinearConv", since=10)
def qlinear_conv(
    b: Emitter,
    x: Value,
    x_scale: Value,
    x_zero: Value,
    w: Value,
    w_scale: Value,
    w_zero: Value,
    y_scale: Value,
    y_zero: Value,
    bias: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    inputs = dequantized(b, x, x_scale, x_zero), dequantized(b, w, w_scale, w_zero, 0)
    if bias is not None:
        scale = b.call("mul", b.reshape(x_scale, ()), w_scale)
        bias = dequantized(b, bias, scale, None, 0)
    y = conv(
        b, *inputs, bias, auto_pad=auto_pad, dilations=dilations, group=group,
        kernel_shape=kernel_shape, pads=pads, strides=strides,
    )  # fmt: skip
    return quantize_linear(b, y, y_scale, y_zero)


@handles("QLinearMatMul", since=10)
def qlinear_matmul(
    b: Emitter,
    x: Value,
    x_scale: Value,
    x_zero: Value,
    w: Value,
    w_scale: Value,
    w_zero: Value,
    y_scale: Value,
    y_zero: Value,
) -> Value:
    """A row of scales is one for each row of x, or for each column of w."""
    left = dequantized(b, x, x_scale, x_zero, -2)
    y = float_matmul(b, left, dequantized(b, w, w_scale, w_zero, -1))
    return quantize_linear(b, y, y_scale, y_zero, axis=-1)


@handles("MatMulInteger", since=10)
def matmul_integer(
    b: Emitter, x: Value, w: Value, x_zero: Value | None = None, w_zero: Value | None = None
) -> Value:
    return float_matmul(b, _centred(b, x, x_zero, -2), _centred(b, w, w_zero, -1))


@handles("ConvInteger", since=10)
def conv_integer(
    b: Emitter,
    x: Value,
    w: Value,
    x_zero: Value | None = None,
    w_zero: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    return conv(
        b, _centred(b, x, x_zero, 1), _centred(b, w, w_zero, 0), auto_pad=auto_pad,
        dilations=dilations, group=group, kernel_shape=kernel_shape, pads=pads, strides=strides,
    )  # fmt: skip


def _centred(b: Emitter, x: Value, zero: Value | None, axis: int) -> Value:
    """x less its zero point as int32, of which products and sums are exact."""
    wide = b.cast(x, "int32")
    if zero is None:
        return wide
    zero = _scales(b, zero, x, axis, 0, "zero point")
    return b.call("sub", wide, b.cast(zero, "int32"))
