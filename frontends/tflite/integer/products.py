"""Sums of products of quantised tensors: convolutions and matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
import tflite

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported, dimensions

from ..elementwise import activated
from ..images import (
    CHANNELS_LAST,
    depthwise_weights,
    from_images,
    images,
    sliding,
    spreading,
)
from ..linear import rows_of, turned
from ..model import Tensor
from ..registry import handles_integers
from .hybrid import quantised, real_sums
from .scales import (
    Scale,
    Weights,
    centred,
    requantized,
    requantized_once,
    requantized_wide,
    scale_of,
    weights_of,
)

Tensors = tuple[Tensor, ...]


def factors(x: Scale, scale: np.ndarray, out: Scale, single: bool) -> np.ndarray:
    """Of sums, one for each channel or one for all.

    Where LiteRT knows only one scale of the weights (``single``) it rounds the product to float32.
    """
    if single:
        return (x.scale * scale[:1]).astype(np.float64) / np.float64(out.scale)
    return np.float64(x.scale) * scale.astype(np.float64) / np.float64(out.scale)


def _sums(
    b: Emitter, x: Value, w: Value, bias: Value | None, given: Scale, **attributes: Any
) -> Value:
    """A convolution's sums of products, and a bias for each channel: int32, of int16 int64."""
    if given.dtype == "int16":
        return _wide_sums(b, x, w, bias, **attributes)
    if bias is not None and bias.type.dtype != "int32":
        raise Unsupported(f"its bias {bias.type} is not int32 beside inputs in {given.dtype}")
    added = [] if bias is None else [bias]
    return b.call("conv2d", x, w, *added, zero_point=given.zero, **attributes)


def _wide_sums(b: Emitter, x: Value, w: Value, bias: Value | None, **attributes: Any) -> Value:
    """Of int16: of both bytes apart, each in int32."""
    low = b.cast(x, "uint8")
    rest = b.call("sub", b.cast(x, "int32"), b.cast(low, "int32"))
    high = b.call("multiply_fixed", rest, b.const(1 << 23, "int32"), b.const(0, "int32"))
    parts = b.cast(high, "int8"), low
    above, below = (b.cast(b.call("conv2d", v, w, **attributes), "int64") for v in parts)
    sums = b.call("add", b.call("mul", above, b.full(above, 256)), below)
    if bias is None:
        return sums
    return b.call("add", sums, b.cast(b.reshape(bias, (*b.static(bias), 1, 1)), "int64"))


def _finished(b: Emitter, sums: Value, x: Scale, w: Weights, out: Tensor, function: int) -> Value:
    """A convolution's sums as the output's integers."""
    given = scale_of(out)
    factor = factors(x, w.scale, given, single=x.dtype == "uint8")
    finish = requantized_wide if sums.type.dtype == "int64" else requantized
    return finish(b, sums, _for_channels(factor), given, function)


def _for_channels(factor: np.ndarray) -> np.ndarray:
    return factor.reshape(-1, 1, 1) if factor.size > 1 else factor.reshape(())


@handles_integers("CONV_2D", options=tflite.Conv2DOptions)
def conv_2d(
    b: Emitter,
    x: Value,
    w: Value,
    bias: Value | None = None,
    *,
    inputs: Tensors,
    outputs: Tensors,
    padding: int,
    stride_w: int,
    stride_h: int,
    fused_activation_function: int = 0,
    dilation_w_factor: int = 1,
    dilation_h_factor: int = 1,
    quantized_bias_type: int = 0,
) -> Value:
    weights = weights_of(b, w, inputs[1], 0, b.static(w)[0])
    x, kernel = images(b, x), images(b, weights.value)
    strides, dilations = (stride_h, stride_w), (dilation_h_factor, dilation_w_factor)
    slides = sliding(b, x, kernel, padding, strides, dilations)
    if x.type.dtype[0] == "f":
        several = weights.scale.size > 1
        held = quantised(b, x, (1, 2, 3), asymmetric=several)
        y = real_sums(b, held, Weights(kernel, weights.scale), bias, not several, **slides)
        return from_images(b, y, fused_activation_function)
    given = scale_of(inputs[0])
    sums = _sums(b, x, kernel, bias, given, **slides)
    y = _finished(b, sums, given, weights, outputs[0], fused_activation_function)
    return b.transpose(y, CHANNELS_LAST)


@handles_integers("DEPTHWISE_CONV_2D", options=tflite.DepthwiseConv2DOptions)
def depthwise_conv_2d(
    b: Emitter,
    x: Value,
    w: Value,
    bias: Value | None = None,
    *,
    inputs: Tensors,
    outputs: Tensors,
    padding: int,
    stride_w: int,
    stride_h: int,
    depth_multiplier: int = 0,
    fused_activation_function: int = 0,
    dilation_w_factor: int = 1,
    dilation_h_factor: int = 1,
) -> Value:
    weights = weights_of(b, w, inputs[1], 3, b.static(w)[-1])
    x, kernel = images(b, x), depthwise_weights(b, weights.value)
    strides, dilations = (stride_h, stride_w), (dilation_h_factor, dilation_w_factor)
    slides = sliding(b, x, kernel, padding, strides, dilations)
    if x.type.dtype[0] == "f":
        held = quantised(b, x, (1, 2, 3), asymmetric=True)
        y = real_sums(b, held, Weights(kernel, weights.scale), bias, scales_first=True, **slides)
        return from_images(b, y, fused_activation_function)
    given = scale_of(inputs[0])
    sums = _sums(b, x, kernel, bias, given, **slides)
    y = _finished(b, sums, given, weights, outputs[0], fused_activation_function)
    return b.transpose(y, CHANNELS_LAST)


@handles_integers("TRANSPOSE_CONV", options=tflite.TransposeConvOptions)
def transpose_conv(
    b: Emitter,
    output_shape: Const,
    w: Value,
    x: Value,
    bias: Value | None = None,
    *,
    inputs: Tensors,
    outputs: Tensors,
    padding: int,
    stride_w: int,
    stride_h: int,
    fused_activation_function: int = 0,
    quantized_bias_type: int = 0,
) -> Value:
    """As a convolution, by the weights turned round, of pixels with zero points between them."""
    given, weights = scale_of(inputs[2]), weights_of(b, w, inputs[1], 0, b.static(w)[0])
    x, strides = images(b, x), (stride_h, stride_w)
    kernel, (_, *sizes, _) = b.static(w)[1:3], dimensions(output_shape)
    spread = spreading(b, x, kernel, padding, strides, sizes)
    (top, left, bottom, right), more = spread["pads"], spread["output_padding"]
    pixels = _spread(b, x, strides, given.zero)
    pads = [kernel[0] - 1 - top, kernel[1] - 1 - left]
    # the last pixel has as many zero points behind it as there are between two
    pads += [
        k - 1 - after + extra - (stride - 1)
        for k, after, extra, stride in zip(kernel, (bottom, right), more, strides)
    ]
    for axis, surplus in zip((2, 3), pads[2:]):
        if surplus < 0:
            pixels = b.slice(pixels, axis, 0, b.static(pixels)[axis] + surplus)
    planes = images(b, weights.value)
    starts = (0, 0, kernel[0] - 1, kernel[1] - 1)
    back = b.call("slice", planes, starts=starts, sizes=b.static(planes), steps=(1, 1, -1, -1))
    sums = _sums(b, pixels, back, bias, given, pads=tuple(max(p, 0) for p in pads))
    y = _finished(b, sums, given, weights, outputs[0], fused_activation_function)
    return b.transpose(y, CHANNELS_LAST)


def _spread(b: Emitter, x: Value, strides: tuple[int, int], zero: int) -> Value:
    """[N, C, H, W] with ``zero`` behind each pixel, up to as many as the strides."""
    n, c, h, w = b.static(x)
    between = (0, 0, 0, strides[0] - 1, 0, strides[1] - 1)
    apart = b.reshape(x, (n, c, h, 1, w, 1))
    wide = b.call("pad", apart, before=(0,) * 6, after=between, value=float(zero))
    return b.reshape(wide, (n, c, h * strides[0], w * strides[1]))


@handles_integers("FULLY_CONNECTED", options=tflite.FullyConnectedOptions)
def fully_connected(
    b: Emitter,
    x: Value,
    w: Value,
    bias: Value | None = None,
    *,
    inputs: Tensors,
    outputs: Tensors,
    fused_activation_function: int = 0,
    weights_format: int = 0,
    keep_num_dims: bool = False,
    asymmetric_quantize_inputs: bool = False,
    quantized_bias_type: int = 0,
) -> Value:
    """As a pointwise convolution of images of one pixel."""
    rows, shape = rows_of(b, x, w, weights_format, keep_num_dims)
    weights = weights_of(b, w, inputs[1], 0, b.static(w)[0])
    pixels = b.reshape(rows, (*b.static(rows), 1, 1))
    if x.type.dtype[0] == "f":
        kernel = Weights(b.reshape(weights.value, (*b.static(w), 1, 1)), weights.scale)
        held = quantised(b, pixels, (1, 2, 3), asymmetric_quantize_inputs)
        y = real_sums(b, held, kernel, bias, scales_first=True)
        return b.reshape(activated(b, y, fused_activation_function), shape)
    given, out = scale_of(inputs[0]), scale_of(outputs[0])
    if isinstance(weights.value, Const):
        sums = _sums(b, pixels, b.reshape(weights.value, (*b.static(w), 1, 1)), bias, given)
    else:
        sums = _product(b, rows, b.transpose(w, (1, 0)), given)
        sums = b.reshape(sums, (*b.static(sums), 1, 1))
        if bias is not None:
            sums = b.call("add", sums, b.reshape(bias, (*b.static(bias), 1, 1)))
    factor = _for_channels(factors(given, weights.scale, out, single=False))
    return b.reshape(requantized_once(b, sums, factor, out, fused_activation_function), shape)


def _product(b: Emitter, x: Value, y: Value, left: Scale, right: int = 0) -> Value:
    """Sums of products of two computed matrices less their zero points, of int16 int64."""
    if left.dtype == "int16":
        # in float64, in which sums of fewer than 2^23 of such products are exact
        exact = b.call("matmul", b.cast(x, "float64"), b.cast(y, "float64"))
        return b.cast(exact, "int64")
    if not right:
        return b.call("matmul", x, y, zero_point=left.zero)
    moved = b.call("sub", b.cast(y, "int32"), b.const(right, "int32"))
    return b.call("matmul", centred(b, x, left), moved)


@handles_integers("BATCH_MATMUL", options=tflite.BatchMatMulOptions)
def batch_matmul(
    b: Emitter,
    x: Value,
    y: Value,
    *,
    inputs: Tensors,
    outputs: Tensors,
    adj_x: bool = False,
    adj_y: bool = False,
    asymmetric_quantize_inputs: bool = False,
) -> Value:
    left, right, out = scale_of(inputs[0]), scale_of(inputs[1]), scale_of(outputs[0])
    x, y = turned(b, x) if adj_x else x, turned(b, y) if adj_y else y
    sums = _product(b, x, y, left, right.zero)
    factor = factors(left, np.atleast_1d(right.scale), out, single=True)
    finish = requantized_wide if sums.type.dtype == "int64" else requantized
    return finish(b, sums, factor.reshape(()), out)
