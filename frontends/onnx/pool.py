"""Pooling: windows over spatial axes, or all of them at once."""

from __future__ import annotations

import numpy as np

from armlet.compiler.ir import Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from .registry import handles
from .window import Window, as_images, from_images


def _pool_window(
    b: Emitter,
    x: Value,
    kernel: tuple[int, ...],
    strides: tuple[int, ...] | None,
    dilations: tuple[int, ...] | None,
    pads: tuple[int, ...] | None,
    auto_pad: str,
) -> Window:
    spatial = x.type.rank - 2
    if spatial not in (1, 2):
        raise Unsupported(f"its operand {x.type} has {spatial} spatial axes; 1 and 2 are supported")
    window = Window.of(kernel, spatial, strides, dilations, pads)
    return window.auto_padded(b, x, auto_pad)


def _pooled(b: Emitter, name: str, x: Value, window: Window, **attributes: object) -> Value:
    spatial = len(window.kernel)
    kernel = (1,) * (2 - spatial) + window.kernel
    y = b.call(name, as_images(b, x), kernel=kernel, **window.attributes(), **attributes)
    return from_images(b, y, spatial)


@handles("MaxPool")
def max_pool(
    b: Emitter,
    x: Value,
    *,
    kernel_shape: tuple[int, ...],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    storage_order: int = 0,
    strides: tuple[int, ...] | None = None,
) -> Value:
    # storage_order concerns the second output, indices, which is not supported
    window = _pool_window(b, x, kernel_shape, strides, dilations, pads, auto_pad)
    return _pooled(b, "max_pool2d", x, window.ceiled(b, x) if ceil_mode else window)


@handles("AveragePool")
def average_pool(
    b: Emitter,
    x: Value,
    *,
    kernel_shape: tuple[int, ...],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    window = _pool_window(b, x, kernel_shape, strides, dilations, pads, auto_pad)
    whole = window.ceiled(b, x) if ceil_mode else window
    if count_include_pad and whole != window:
        # the pads that ceil_mode adds never count: the true ones become part of the operand
        low, high = (0, 0, *window.before), (0, 0, *window.after)
        x = b.call("pad", x, before=low, after=high)
        added = [w - t for w, t in zip(whole.after, window.after)]
        whole, count_include_pad = whole.with_pads([0] * len(added) + added), 0
    return _pooled(b, "average_pool2d", x, whole, count_include_pad=bool(count_include_pad))


@handles("LpPool")
def lp_pool(
    b: Emitter,
    x: Value,
    *,
    kernel_shape: tuple[int, ...],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: tuple[int, ...] | None = None,
    p: int = 2,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    """The p-th root of the sum of p-th powers, by an average over all taps."""
    window = _pool_window(b, x, kernel_shape, strides, dilations, pads, auto_pad)
    window = window.ceiled(b, x) if ceil_mode else window
    powers = b.call("pow", b.call("abs", x), b.full(x, p))
    mean = _pooled(b, "average_pool2d", powers, window, count_include_pad=True)
    total = b.call("mul", mean, b.full(x, int(np.prod(kernel_shape))))
    return b.call("pow", total, b.full(x, 1 / p))


def _spatial_axes(x: Value) -> tuple[int, ...]:
    if x.type.rank < 3:
        raise Unsupported(f"its operand {x.type} has no spatial axes")
    return tuple(range(2, x.type.rank))


@handles("GlobalAveragePool")
def global_average_pool(b: Emitter, x: Value) -> Value:
    return b.call("reduce_mean", x, axes=_spatial_axes(x), keepdims=True)


@handles("GlobalMaxPool")
def global_max_pool(b: Emitter, x: Value) -> Value:
    return b.call("reduce_max", x, axes=_spatial_axes(x), keepdims=True)


@handles("GlobalLpPool")
def global_lp_pool(b: Emitter, x: Value, *, p: int = 2) -> Value:
    axes = _spatial_axes(x)
    if p in (1, 2):
        return b.call(f"reduce_l{p}", x, axes=axes, keepdims=True)
    powers = b.call("pow", b.call("abs", x), b.full(x, p))
    total = b.call("reduce_sum", powers, axes=axes, keepdims=True)
    return b.call("pow", total, b.full(x, 1 / p))
