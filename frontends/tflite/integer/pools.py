"""Means and sums of quantised tensors: pools, reductions, bilinear resizing."""

from __future__ import annotations

import numpy as np
import tflite

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported, dimensions

from ..images import CHANNELS_LAST, images, window
from ..model import Tensor
from ..registry import handles_integers
from ..resize import sizes_of
from .scales import bounds, fixed_point, same_scales, scale_of

Tensors = tuple[Tensor, ...]


@handles_integers("AVERAGE_POOL_2D", options=tflite.Pool2DOptions)
def average_pool(
    b: Emitter,
    x: Value,
    *,
    inputs: Tensors,
    outputs: Tensors,
    padding: int,
    stride_w: int,
    stride_h: int,
    filter_width: int,
    filter_height: int,
    fused_activation_function: int = 0,
) -> Value:
    """A sum by a depthwise convolution, over how many there are, halves away from zero."""
    same_scales((inputs[0], outputs[0]), "its operand and its result")
    out, kernel = scale_of(outputs[0]), (filter_height, filter_width)
    x = images(b, x)
    slides = window(b, x, kernel, padding, (stride_h, stride_w))
    channels = b.static(x)[1]
    total = _window_sums(b, x, channels, kernel, slides)
    ones = np.ones((1, 1, *b.static(x)[2:]), np.float64)
    count = _window_sums(b, b.const(ones), 1, kernel, slides)
    assert isinstance(count, Const)
    positive = b.call("greater", total, b.full(total, 0))
    half = b.const(count.data.astype(np.int32) // 2)
    nudged = b.call("where", positive, b.call("add", total, half), b.call("sub", total, half))
    # of so few bits a quotient of floats is cut off as that of integers is, and is an instruction
    real = "float64" if out.dtype == "int16" else "float32"
    quotient = b.call("div", b.cast(nudged, real), b.const(count.data, real))
    low, high = (int(v) for v in np.clip(bounds(out, fused_activation_function), *out.limits))
    mean = b.cast(quotient, "int32")
    held = b.call("minimum", b.call("maximum", mean, b.full(mean, low)), b.full(mean, high))
    return b.transpose(b.cast(held, out.dtype), CHANNELS_LAST)


def _window_sums(
    b: Emitter, x: Value, channels: int, kernel: tuple[int, int], slides: dict[str, object]
) -> Value:
    """What each window of each channel adds up to."""
    kind = "int8" if x.type.dtype in ("int8", "uint8") else "float64"
    ones = b.const(np.ones((channels, 1, *kernel), kind))
    if x.type.dtype == "int16":
        return b.cast(b.call("conv2d", b.cast(x, kind), ones, group=channels, **slides), "int32")
    return b.call("conv2d", x, ones, group=channels, **slides)


@handles_integers("MAX_POOL_2D", options=tflite.Pool2DOptions)
def max_pool(
    b: Emitter,
    x: Value,
    *,
    inputs: Tensors,
    outputs: Tensors,
    padding: int,
    stride_w: int,
    stride_h: int,
    filter_width: int,
    filter_height: int,
    fused_activation_function: int = 0,
) -> Value:
    same_scales((inputs[0], outputs[0]), "its operand and its result")
    out, kernel = scale_of(outputs[0]), (filter_height, filter_width)
    x = images(b, x)
    slides = window(b, x, kernel, padding, (stride_h, stride_w))
    y = b.call("max_pool2d", x, kernel=kernel, **slides)
    low, high = bounds(out, fused_activation_function)
    if np.isfinite(low):
        y = b.call("maximum", y, b.full(y, low))
    if np.isfinite(high):
        y = b.call("minimum", y, b.full(y, high))
    return b.transpose(y, CHANNELS_LAST)


def _register_sum(operator: str, mean: bool) -> None:
    @handles_integers(operator, options=tflite.ReducerOptions)
    def reduction(
        b: Emitter, x: Value, axes: Const, *, inputs: Tensors, outputs: Tensors,
        keep_dims: bool = False,
    ) -> Value:  # fmt: skip
        given, out, rank = scale_of(inputs[0]), scale_of(outputs[0]), x.type.rank
        chosen = tuple(sorted({b.axis(a, rank, "axes") for a in dimensions(axes)}))
        held = b.static(x)
        count = int(np.prod([held[a] for a in chosen]))
        wide = b.cast(x, "int32")
        total = b.call("reduce_sum", wide, axes=chosen, keepdims=keep_dims) if chosen else wide
        moved = b.call("sub", total, b.const(given.zero * count, "int32"))
        factor = fixed_point(np.float64(given.scale) / np.float64(out.scale))
        parts = [b.const(v, "int32") for v in (_shared(*factor, count) if mean else factor)]
        return b.call("requantize_fixed", moved, *parts, b.const(out.zero, out.dtype))


def _shared(multiplier: np.ndarray, shift: np.ndarray, count: int) -> tuple[int, int]:
    """A factor over ``count``, with as many bits as fit."""
    more = min(count.bit_length() - 1, 32, 31 - int(shift))
    return (int(multiplier) << more) // count, int(shift) + more


_register_sum("MEAN", mean=True)
_register_sum("SUM", mean=False)


@handles_integers("RESIZE_BILINEAR", options=tflite.ResizeBilinearOptions)
def resize_bilinear(
    b: Emitter,
    x: Value,
    size: Const,
    *,
    inputs: Tensors,
    outputs: Tensors,
    align_corners: bool = False,
    half_pixel_centers: bool = False,
) -> Value:
    """Of uint8 LiteRT computes in float32, of others in units of 2^-10: rows, then columns."""
    same_scales((inputs[0], outputs[0]), "its operand and its result")
    if align_corners and half_pixel_centers:
        raise Unsupported("corners cannot be aligned with pixels' centres")
    x, wanted = images(b, x), sizes_of(x, size)
    dtype = x.type.dtype
    places = _float_places if dtype == "uint8" else _places
    tables = [
        places(n, out, align_corners, half_pixel_centers) for n, out in zip(b.static(x)[2:], wanted)
    ]
    if dtype == "uint8":
        return b.transpose(_float_bilinear(b, x, tables), CHANNELS_LAST)
    y = b.cast(x, "int64" if dtype == "int16" else "int32")
    for axis, table in enumerate(tables, 2):
        y = b.call("add", *_weighted(b, y, axis, table))
    return b.transpose(b.cast(_rounded(b, y), dtype), CHANNELS_LAST)


def _rounded(b: Emitter, y: Value) -> Value:
    """y / 2^20, halves away from zero."""
    if y.type.dtype == "int32":
        twice = b.call("mul", y, b.full(y, 2))
        return b.call("multiply_fixed", twice, b.const(1 << 30, "int32"), b.const(20, "int32"))
    half = b.call("mul", b.call("sign", y), b.full(y, 1 << 19))
    real = b.cast(b.call("add", y, half), "float64")
    return b.cast(b.call("mul", real, b.full(real, 2.0**-20)), "int32")


#: of the output's places along an axis: the pixels read, and their weights
Table = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _weighted(b: Emitter, x: Value, axis: int, table: Table) -> list[Value]:
    """The lower and the upper pixel of each place along an axis, times its weight."""
    shape = [-1 if a == axis else 1 for a in range(4)]
    return [
        b.call(
            "mul",
            b.call("gather", x, b.const(place, "int64"), axis=axis),
            b.const(weight.reshape(shape), x.type.dtype),
        )
        for place, weight in table
    ]


def _float_bilinear(b: Emitter, x: Value, tables: list[Table]) -> Value:
    """Four products of a pixel and two weights, added up in LiteRT's order."""
    rows, columns = tables
    upper, lower = _weighted(b, b.cast(x, "float32"), 2, rows)
    (a, c), (d, e) = (_weighted(b, v, 3, columns) for v in (upper, lower))
    total = b.call("add", b.call("add", b.call("add", a, d), c), e)
    return b.cast(b.call("add", total, b.full(total, 0.5)), "uint8")


def _float_places(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> Table:
    step = np.float32(size) / np.float32(out)
    if align_corners and out > 1:
        step = np.float32(size - 1) / np.float32(out - 1)
    at = np.arange(out, dtype=np.float32)
    if half_pixel_centers:
        at = (at + np.float32(0.5)) * step - np.float32(0.5)
    else:
        at = at * step
    low = np.maximum(np.floor(at), 0).astype(np.int64)
    high = np.minimum(np.ceil(at), size - 1).astype(np.int64)
    weight = at - low.astype(np.float32)
    return (low, 1 - weight), (high, weight)


def _places(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> Table:
    step = (1024 * size + out // 2) // out
    if align_corners and out > 1:
        step = (1024 * (size - 1) + (out - 1) // 2) // (out - 1)
    at = np.arange(out, dtype=np.int64) * step
    if half_pixel_centers:
        at = at + step // 2 - 512
    # C's division is towards zero
    low = np.maximum(np.sign(at) * (np.abs(at) // 1024), 0)
    above = at + 1023
    high = np.minimum(np.sign(above) * (np.abs(above) // 1024), size - 1)
    weight = at - 1024 * low
    return (low, 1024 - weight), (high, weight)
