"""Operators on images: convolutions, pooling, blocks of pixels.

TFLite's images are [N, H, W, C]; ours are made of them by a transposition before, and one after.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import tflite

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported, dimensions

from .elementwise import activated
from .registry import handles

#: [N, H, W, C] -> [N, C, H, W], and back
CHANNELS_FIRST, CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)

#: TfLitePadding of LiteRT's C interface
_C_PADDINGS = {1: tflite.Padding.SAME, 2: tflite.Padding.VALID}


def images(b: Emitter, x: Value) -> Value:
    """[N, H, W, C] as [N, C, H, W]."""
    if x.type.rank != 4:
        raise Unsupported(f"its operand {x.type} is not [N, H, W, C]")
    return b.transpose(x, CHANNELS_FIRST)


def from_images(b: Emitter, y: Value, function: int = 0) -> Value:
    """[N, C, H, W] as [N, H, W, C], after a fused activation."""
    return b.transpose(activated(b, y, function), CHANNELS_LAST)


def window(
    b: Emitter,
    x: Value,
    kernel: Sequence[int],
    padding: int,
    strides: tuple[int, int],
    dilations: tuple[int, int] = (1, 1),
) -> dict[str, Any]:
    """The attributes of a window that slides over an [N, C, H, W]."""
    if min(*strides, *dilations, *kernel) < 1:
        raise Unsupported(f"strides {strides}, dilations {dilations} and {kernel} are not positive")
    before, after = [0, 0], [0, 0]
    if padding == tflite.Padding.SAME:
        sizes = b.static(x, "its padding depends on")[2:]
        for axis, (size, taps) in enumerate(zip(sizes, kernel)):
            reach = (taps - 1) * dilations[axis] + 1
            total = max(0, (-(-size // strides[axis]) - 1) * strides[axis] + reach - size)
            before[axis], after[axis] = total // 2, total - total // 2
    elif padding != tflite.Padding.VALID:
        raise Unsupported(f"{padding} is not known", attribute="padding")
    return {"strides": strides, "dilations": dilations, "pads": (*before, *after)}


def _bias(bias: Value | None) -> list[Value]:
    return [] if bias is None else [bias]


@handles("CONV_2D", options=tflite.Conv2DOptions)
def conv_2d(
    b: Emitter,
    x: Value,
    w: Value,
    bias: Value | None = None,
    *,
    padding: int,
    stride_w: int,
    stride_h: int,
    fused_activation_function: int = 0,
    dilation_w_factor: int = 1,
    dilation_h_factor: int = 1,
    quantized_bias_type: int = 0,
) -> Value:
    """Weights are [O, KH, KW, I]; fewer channels than the image has make groups."""
    x, w = images(b, x), images(b, w)
    strides, dilations = (stride_h, stride_w), (dilation_h_factor, dilation_w_factor)
    slides = sliding(b, x, w, padding, strides, dilations)
    return from_images(b, b.call("conv2d", x, w, *_bias(bias), **slides), fused_activation_function)


def sliding(
    b: Emitter,
    x: Value,
    w: Value,
    padding: int,
    strides: tuple[int, int],
    dilations: tuple[int, int],
) -> dict[str, Any]:
    """The attributes of a convolution of an [N, C, H, W] by weights [O, I, KH, KW]."""
    channels, (out, depth, *kernel) = b.static(x)[1], b.static(w)
    if not depth or channels % depth or out % (channels // depth):
        raise Unsupported(f"{channels} channels for weights of {depth}")
    group = channels // depth
    return {"group": group, **window(b, x, kernel, padding, strides, dilations)}


@handles("DEPTHWISE_CONV_2D", options=tflite.DepthwiseConv2DOptions)
def depthwise_conv_2d(
    b: Emitter,
    x: Value,
    w: Value,
    bias: Value | None = None,
    *,
    padding: int,
    stride_w: int,
    stride_h: int,
    depth_multiplier: int = 0,
    fused_activation_function: int = 0,
    dilation_w_factor: int = 1,
    dilation_h_factor: int = 1,
) -> Value:
    """Weights are [1, KH, KW, C * multiplier]; LiteRT takes the multiplier from the shapes."""
    x, w = images(b, x), depthwise_weights(b, w)
    strides, dilations = (stride_h, stride_w), (dilation_h_factor, dilation_w_factor)
    slides = sliding(b, x, w, padding, strides, dilations)
    return from_images(b, b.call("conv2d", x, w, *_bias(bias), **slides), fused_activation_function)


def depthwise_weights(b: Emitter, w: Value) -> Value:
    """[1, KH, KW, O] as [O, 1, KH, KW]."""
    w = b.transpose(images(b, w), (1, 0, 2, 3))
    if b.static(w)[1] != 1:
        raise Unsupported(f"its weights {w.type} are of more than one channel")
    return w


@handles("TRANSPOSE_CONV", options=tflite.TransposeConvOptions)
def transpose_conv(
    b: Emitter,
    output_shape: Const,
    w: Value,
    x: Value,
    bias: Value | None = None,
    *,
    padding: int,
    stride_w: int,
    stride_h: int,
    fused_activation_function: int = 0,
    quantized_bias_type: int = 0,
) -> Value:
    """The gradient of a convolution whose image has the output's shape."""
    _, *sizes, _ = dimensions(output_shape)
    y = _transposed(b, x, w, bias, padding, (stride_h, stride_w), sizes)
    return from_images(b, y, fused_activation_function)


def _transposed(
    b: Emitter,
    x: Value,
    w: Value,
    bias: Value | None,
    padding: int,
    strides: tuple[int, int],
    sizes: Sequence[int] | None,
) -> Value:
    """A transposed convolution to [N, C, *sizes]; without sizes, to as many as the strides make.

    Weights are [O, KH, KW, I].
    """
    x, w = images(b, x), b.transpose(w, (3, 0, 1, 2))
    spread = spreading(b, x, b.static(w)[2:], padding, strides, sizes)
    return b.call("conv_transpose2d", x, w, *_bias(bias), **spread)


def spreading(
    b: Emitter,
    x: Value,
    kernel: Sequence[int],
    padding: int,
    strides: tuple[int, int],
    sizes: Sequence[int] | None,
) -> dict[str, Any]:
    """The attributes of a transposed convolution of an [N, C, H, W] to ``sizes``."""
    held = b.static(x)[2:]
    if min(strides) < 1:
        raise Unsupported(f"strides {strides} are not positive")
    sizes = sizes if sizes is not None else [n * s for n, s in zip(held, strides)]
    before, after = [0, 0], [0, 0]
    extra = [0, 0]
    for axis in (0, 1):
        reach = (held[axis] - 1) * strides[axis] + kernel[axis]
        surplus = reach - sizes[axis]
        before[axis] = max(0, surplus) // 2 if padding == tflite.Padding.SAME else 0
        after[axis] = max(0, surplus - before[axis])
        extra[axis] = max(0, -surplus)
    pads, more = (*before, *after), tuple(extra)
    return {"strides": strides, "pads": pads, "output_padding": more}


@handles("Convolution2DTransposeBias")
def convolution_transpose_bias(
    b: Emitter, x: Value, w: Value, bias: Value, *, custom_options: bytes
) -> Value:
    """MediaPipe's custom operator; its options are a C structure, TfLiteTransposeConvParams."""
    padding, stride_w, stride_h = struct.unpack_from("<3i", custom_options)
    if padding not in _C_PADDINGS:
        raise Unsupported(f"{padding} is not known", attribute="padding")
    y = _transposed(b, x, w, bias, _C_PADDINGS[padding], (stride_h, stride_w), None)
    return from_images(b, y)


@handles("AVERAGE_POOL_2D", options=tflite.Pool2DOptions)
def average_pool(
    b: Emitter,
    x: Value,
    *,
    padding: int,
    stride_w: int,
    stride_h: int,
    filter_width: int,
    filter_height: int,
    fused_activation_function: int = 0,
) -> Value:
    x, kernel = images(b, x), (filter_height, filter_width)
    slides = window(b, x, kernel, padding, (stride_h, stride_w))
    y = b.call("average_pool2d", x, kernel=kernel, count_include_pad=False, **slides)
    return from_images(b, y, fused_activation_function)


@handles("MAX_POOL_2D", options=tflite.Pool2DOptions)
def max_pool(
    b: Emitter,
    x: Value,
    *,
    padding: int,
    stride_w: int,
    stride_h: int,
    filter_width: int,
    filter_height: int,
    fused_activation_function: int = 0,
) -> Value:
    x, kernel = images(b, x), (filter_height, filter_width)
    slides = window(b, x, kernel, padding, (stride_h, stride_w))
    return from_images(
        b, b.call("max_pool2d", x, kernel=kernel, **slides), fused_activation_function
    )


@handles("L2_POOL_2D", options=tflite.Pool2DOptions)
def l2_pool(
    b: Emitter,
    x: Value,
    *,
    padding: int,
    stride_w: int,
    stride_h: int,
    filter_width: int,
    filter_height: int,
    fused_activation_function: int = 0,
) -> Value:
    x, kernel = images(b, x), (filter_height, filter_width)
    slides = window(b, x, kernel, padding, (stride_h, stride_w))
    square = b.call("mul", x, x)
    mean = b.call("average_pool2d", square, kernel=kernel, count_include_pad=False, **slides)
    return from_images(b, b.call("sqrt", mean), fused_activation_function)


@handles("LOCAL_RESPONSE_NORMALIZATION", options=tflite.LocalResponseNormalizationOptions)
def local_response_normalization(
    b: Emitter, x: Value, *, radius: int, bias: float, alpha: float, beta: float
) -> Value:
    size = 2 * radius + 1
    # ours divides alpha by the size, TFLite's does not
    y = b.call("lrn", images(b, x), size=size, alpha=alpha * size, beta=beta, bias=bias)
    return from_images(b, y)


@handles("DEPTH_TO_SPACE", options=tflite.DepthToSpaceOptions)
def depth_to_space(b: Emitter, x: Value, *, block_size: int) -> Value:
    return from_images(b, b.call("depth_to_space", images(b, x), blocksize=block_size, mode="DCR"))


@handles("SPACE_TO_DEPTH", options=tflite.SpaceToDepthOptions)
def space_to_depth(b: Emitter, x: Value, *, block_size: int) -> Value:
    return from_images(b, b.call("space_to_depth", images(b, x), blocksize=block_size))


@handles("SPACE_TO_BATCH_ND", options=tflite.SpaceToBatchNDOptions)
def space_to_batch_nd(b: Emitter, x: Value, block_shape: Const, paddings: Const) -> Value:
    return space_to_batch(b, x, block_shape, paddings, 0.0)


def space_to_batch(
    b: Emitter, x: Value, block_shape: Const, paddings: Const, value: float
) -> Value:
    """Spatial axes are cut into blocks, whose places become batches; ``value`` is around them."""
    blocks = dimensions(block_shape)
    edges = np.asarray(paddings.data).reshape(-1, 2).tolist()
    rank, m = x.type.rank, len(blocks)
    if len(edges) != m or m + 1 > rank or min(blocks, default=1) < 1:
        raise Unsupported(f"blocks {blocks} of {x.type}")
    before = (0, *(low for low, _ in edges), *[0] * (rank - m - 1))
    after = (0, *(high for _, high in edges), *[0] * (rank - m - 1))
    if any(before + after):
        x = b.call("pad", x, before=before, after=after, value=value)
    batch, *sizes = b.static(x)
    if any(size % block for size, block in zip(sizes, blocks)):
        raise Unsupported(f"{x.type} cannot be cut into blocks {blocks}")
    cut = [n for size, block in zip(sizes, blocks) for n in (size // block, block)]
    rest = sizes[m:]
    y = b.reshape(x, (batch, *cut, *rest))
    inner = [2 + 2 * i for i in range(m)]
    outer = [1 + 2 * i for i in range(m)]
    y = b.transpose(y, (*inner, 0, *outer, *range(2 * m + 1, 2 * m + 1 + len(rest))))
    reduced = [size // block for size, block in zip(sizes, blocks)]
    return b.reshape(y, (batch * int(np.prod(blocks)), *reduced, *rest))


@handles("BATCH_TO_SPACE_ND", options=tflite.BatchToSpaceNDOptions)
def batch_to_space(b: Emitter, x: Value, block_shape: Const, crops: Const) -> Value:
    """Undoes SPACE_TO_BATCH_ND."""
    blocks = dimensions(block_shape)
    edges = np.asarray(crops.data).reshape(-1, 2).tolist()
    m, (batch, *sizes) = len(blocks), b.static(x)
    places = int(np.prod(blocks))
    if len(edges) != m or m > len(sizes) or places < 1 or batch % places:
        raise Unsupported(f"{x.type} is not made of blocks {blocks}")
    rest = sizes[m:]
    y = b.reshape(x, (*blocks, batch // places, *sizes))
    pairs = [axis for i in range(m) for axis in (m + 1 + i, i)]
    y = b.transpose(y, (m, *pairs, *range(2 * m + 1, 2 * m + 1 + len(rest))))
    y = b.reshape(y, (batch // places, *(n * s for n, s in zip(sizes, blocks)), *rest))
    for axis, (low, high) in enumerate(edges, 1):
        length = b.static(y)[axis]
        if low < 0 or high < 0 or low + high > length:
            raise Unsupported(f"more is cropped than {y.type} has")
        y = b.slice(y, axis, low, length - low - high)
    return y
