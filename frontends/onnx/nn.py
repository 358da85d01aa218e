"""Convolutions and normalisations. One spatial axis becomes two by a reshape."""

from __future__ import annotations

import numpy as np

from armlet.compiler.ir import Dim, Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from .registry import handles
from .window import Window, as_images, from_images


def kernel_of(weights: Value, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """The kernel's sizes, which the attribute may only repeat."""
    if any(isinstance(d, Dim) for d in weights.type.shape):
        raise Unsupported(f"the weights have a shape with free dimensions: {weights.type}")
    kernel = weights.type.static_shape[2:]
    if given is not None and tuple(given) != kernel:
        raise Unsupported(
            f"{list(given)} is not the kernel of weights {weights.type}", attribute="kernel_shape"
        )
    return kernel


def _spatial_rank(x: Value) -> int:
    spatial = x.type.rank - 2
    if spatial not in (1, 2):
        raise Unsupported(f"its operand {x.type} has {spatial} spatial axes; 1 and 2 are supported")
    return spatial


def _bias(bias: Value | None) -> list[Value]:
    return [] if bias is None else [bias]


@handles("Conv")
def conv(
    b: Emitter,
    x: Value,
    w: Value,
    bias: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    spatial = _spatial_rank(x)
    window = Window.of(kernel_of(w, kernel_shape), spatial, strides, dilations, pads)
    window = window.auto_padded(b, x, auto_pad)
    if window.has_negative_pads:
        raise Unsupported("negative pads are not supported", attribute="pads")
    y = b.call(
        "conv2d", as_images(b, x), as_images(b, w), *_bias(bias), group=group, **window.attributes()
    )
    return from_images(b, y, spatial)


@handles("ConvTranspose")
def conv_transpose(
    b: Emitter,
    x: Value,
    w: Value,
    bias: Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    output_padding: tuple[int, ...] | None = None,
    output_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    spatial = _spatial_rank(x)
    extra = tuple(output_padding or (0,) * spatial)
    window = Window.of(kernel_of(w, kernel_shape), spatial, strides, dilations, pads)
    if output_shape or auto_pad.startswith("SAME"):
        sizes = b.static(x)[2:]
        wanted = tuple(output_shape or (n * s for n, s in zip(sizes, window.own_strides)))
        window, extra = window.transposed_to(sizes, wanted[-spatial:], extra, auto_pad)
    elif auto_pad == "VALID":
        window = window.with_pads((0,) * (2 * spatial))
    elif auto_pad != "NOTSET":
        raise Unsupported(f"{auto_pad!r} is unknown", attribute="auto_pad")
    if window.has_negative_pads:
        raise Unsupported("negative pads are not supported", attribute="pads")
    y = b.call(
        "conv_transpose2d",
        as_images(b, x),
        as_images(b, w),
        *_bias(bias),
        group=group,
        output_padding=(0,) * (2 - spatial) + extra,
        **window.attributes(),
    )
    return from_images(b, y, spatial)


@handles("BatchNormalization")
def batch_normalization(
    b: Emitter,
    x: Value,
    scale: Value,
    bias: Value,
    mean: Value,
    variance: Value,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Value:
    if training_mode:
        raise Unsupported(
            "it is in training mode",
            attribute="training_mode",
            way_out="export the model for inference",
        )
    statistics = [b.cast(v, x.type.dtype) for v in (scale, bias, mean, variance)]
    if x.type.rank == 1:
        y = b.call("batch_norm", b.reshape(x, (*x.type.shape, 1)), *statistics, epsilon=epsilon)
        return b.reshape(y, x.type.shape)
    return b.call("batch_norm", x, *statistics, epsilon=epsilon)


@handles("InstanceNormalization")
def instance_normalization(
    b: Emitter, x: Value, scale: Value, bias: Value, *, epsilon: float = 1e-5
) -> Value:
    return b.call("instance_norm", x, scale, bias, epsilon=epsilon)


@handles("GroupNormalization", since=18)
def group_normalization(
    b: Emitter,
    x: Value,
    scale: Value,
    bias: Value,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Value:
    """An instance normalisation of the groups, then scale and bias of the channels."""
    n, channels, *spatial = b.static(x)
    if num_groups < 1 or channels % num_groups:
        raise Unsupported(f"{channels} channels in {num_groups} groups", attribute="num_groups")
    size = channels // num_groups * int(np.prod(spatial))
    groups = b.reshape(x, (n, num_groups, size, 1))
    one = b.const(np.ones(num_groups, x.type.dtype))
    zero = b.const(np.zeros(num_groups, x.type.dtype))
    y = b.call("instance_norm", groups, one, zero, epsilon=epsilon)
    y = b.reshape(y, x.type.shape)
    scale, bias = (_per_channel(b, v, channels, x) for v in (scale, bias))
    return b.call("add", b.call("mul", y, scale), bias)


def _per_channel(b: Emitter, v: Value, channels: int, x: Value) -> Value:
    """A row of parameters, broadcast along the axes other than the channels."""
    (held,) = b.static(v)
    if held != channels:
        # before opset 21 there was one for each group
        v = b.call("expand", b.reshape(v, (held, 1)), shape=(held, channels // held))
    return b.reshape(b.cast(v, x.type.dtype), (channels, *[1] * (x.type.rank - 2)))


@handles("LayerNormalization", since=17)
def layer_normalization(
    b: Emitter,
    x: Value,
    scale: Value,
    bias: Value | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Value:
    affine = [b.cast(v, x.type.dtype) for v in (scale, *_bias(bias))]
    return b.call("layer_norm", x, *affine, axis=b.axis(axis, x.type.rank), epsilon=epsilon)


@handles("RMSNormalization", since=23)
def rms_normalization(
    b: Emitter,
    x: Value,
    scale: Value,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Value:
    axes = tuple(range(b.axis(axis, x.type.rank), x.type.rank))
    mean = b.call("reduce_mean", b.call("mul", x, x), axes=axes, keepdims=True)
    root = b.call("sqrt", b.call("add", mean, b.full(x, epsilon)))
    return b.call("mul", b.call("div", x, root), scale)


@handles("MeanVarianceNormalization", since=9)
def mean_variance_normalization(
    b: Emitter, x: Value, *, axes: tuple[int, ...] = (0, 2, 3)
) -> Value:
    chosen = b.axes(axes, x.type.rank)
    centred = b.call("sub", x, b.call("reduce_mean", x, axes=chosen, keepdims=True))
    square = b.call("mul", centred, centred)
    deviation = b.call("sqrt", b.call("reduce_mean", square, axes=chosen, keepdims=True))
    return b.call("div", centred, b.call("add", deviation, b.full(x, 1e-9)))


@handles("LpNormalization")
def lp_normalization(b: Emitter, x: Value, *, axis: int = -1, p: int = 2) -> Value:
    if p not in (1, 2):
        raise Unsupported(f"{p} is not supported, only 1 and 2", attribute="p")
    norm = b.call(f"reduce_l{p}", x, axes=(b.axis(axis, x.type.rank),), keepdims=True)
    zero = b.call("equal", norm, b.full(x, 0))
    return b.call("div", x, b.call("where", zero, b.full(x, 1), norm))


@handles("LRN")
def lrn(
    b: Emitter, x: Value, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Value:
    return b.call("lrn", x, size=size, alpha=alpha, beta=beta, bias=bias)


@handles("Softmax")
def softmax(b: Emitter, x: Value, *, axis: int = -1) -> Value:
    return b.call("softmax", x, axis=b.axis(axis, x.type.rank))


@handles("LogSoftmax")
def log_softmax(b: Emitter, x: Value, *, axis: int = -1) -> Value:
    return b.call("log_softmax", x, axis=b.axis(axis, x.type.rank))
