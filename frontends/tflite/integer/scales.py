"""Scales of quantised tensors, and LiteRT's way from real factors to fixed-point ones.

The arithmetic is that of LiteRT's reference kernels to the bit, and so is the precision in which
each factor is computed here: a product of scales is rounded to float32 or not as it is there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite

from armlet.compiler.ir import Const, Value
from armlet.compiler.ops.quantize import limits
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from ..model import Tensor
from ..tensors import INTEGER_BITS, dtype_of

_AGAIN = "quantise the model again"
_Fused = tflite.ActivationFunctionType
#: fused activation -> what it cuts off
_BOUNDS = {
    _Fused.NONE: (None, None), _Fused.RELU: (0.0, None), _Fused.RELU6: (0.0, 6.0),
    _Fused.RELU_N1_TO_1: (-1.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scale:
    """real = scale * (q - zero), one for the whole tensor."""

    scale: np.float32
    zero: int
    dtype: str

    @property
    def limits(self) -> tuple[int, int]:
        return limits(self.dtype)


def is_quantised(tensor: Tensor) -> bool:
    """Whether a tensor holds integers that stand for reals."""
    return tensor.quantization is not None and tensor.type in INTEGER_BITS


def _checked(tensor: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(scales, zero points) of a tensor, each of which must be sound."""

    def wrong(why: str) -> Unsupported:
        return Unsupported(f"tensor {tensor.name!r} {why}", way_out=_AGAIN)

    if tensor.quantization is None:
        raise wrong(f"is {tensor.type} without a scale")
    scale, zero = tensor.quantization.scale, tensor.quantization.zero_point
    if not np.isfinite(scale).all():
        raise wrong("has a scale that is not finite")
    if (scale <= 0).any():
        raise wrong(f"has the scale {float(scale.min()):g}; scales are positive")
    least, most = INTEGER_BITS.get(tensor.type, limits("int32"))
    outside = zero[(zero < least) | (zero > most)]
    if outside.size:
        raise wrong(f"is {tensor.type} with the zero point {int(outside[0])}")
    return scale.astype(np.float32), zero


def scale_of(tensor: Tensor) -> Scale:
    """The one scale of a tensor."""
    scale, zero = _checked(tensor)
    if scale.size > 1:
        raise Unsupported(
            f"tensor {tensor.name!r} has {scale.size} scales; this operator takes one for a tensor",
            way_out=_AGAIN,
        )
    if tensor.type == "INT16" and zero[0]:
        raise Unsupported(
            f"tensor {tensor.name!r} is INT16 with the zero point {zero[0]}; it must be 0",
            way_out=_AGAIN,
        )
    return Scale(scale[0], int(zero[0]), dtype_of(tensor))


def along(b: Emitter, tensor: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(scale, zero point) of a tensor, in shapes that broadcast to it."""
    scale, zero = _checked(tensor)
    shape: tuple[int, ...] = ()
    if scale.size > 1:
        rank = len(tensor.shape)
        axis = b.axis(tensor.quantization.axis, rank, "quantized_dimension")  # type: ignore[union-attr]
        if tensor.shape[axis] != scale.size:
            raise Unsupported(
                f"tensor {tensor.name!r} has {scale.size} scales for {tensor.shape[axis]} elements "
                f"of axis {axis}",
                way_out=_AGAIN,
            )
        shape = tuple(-1 if a == axis else 1 for a in range(rank))
    return scale.reshape(shape), zero.astype(dtype_of(tensor)).reshape(shape)


def same_scales(tensors: tuple[Tensor, ...], what: str) -> None:
    """Refuses tensors whose integers mean different reals, where integers are only moved."""
    scales = [scale_of(t) for t in tensors]
    if any((s.scale, s.zero) != (scales[0].scale, scales[0].zero) for s in scales):
        raise Unsupported(f"{what} have different scales or zero points", way_out=_AGAIN)


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights less their zero point, and a scale for each output channel or one for all."""

    value: Value
    scale: np.ndarray


def weights_of(b: Emitter, w: Value, tensor: Tensor, axis: int, channels: int) -> Weights:
    """Of ``w``, one of whose axes is that of ``channels``."""
    scale, zero = _checked(tensor)
    given = tensor.quantization.axis  # type: ignore[union-attr]
    if scale.size > 1 and (scale.size != channels or given != axis):
        raise Unsupported(
            f"tensor {tensor.name!r} has {scale.size} scales along axis {given} for {channels} "
            f"channels along axis {axis}",
            way_out=_AGAIN,
        )
    if scale.size > 1 and zero.any():
        raise Unsupported(
            f"tensor {tensor.name!r} has zero points other than 0 beside a scale for each channel",
            way_out=_AGAIN,
        )
    if not zero.any():
        return Weights(w, scale)
    if not isinstance(w, Const):
        raise Unsupported("weights that are computed have a zero point other than 0")
    moved = w.data.astype(np.int16) - np.int16(zero[0])
    small = moved.min(initial=0) >= -128 and moved.max(initial=0) <= 127
    return Weights(b.const(moved.astype(np.int8) if small else moved), scale)


# -- factors --------------------------------------------------------------------------------------


def fixed_point(factor: Any) -> tuple[np.ndarray, np.ndarray]:
    """LiteRT's QuantizeMultiplier: (multiplier, shift to the right) of reals, as int32."""
    fraction, exponent = np.frexp(np.asarray(factor, np.float64))
    multiplier = rounded(fraction * 2.0**31).astype(np.int64)
    full = multiplier == 1 << 31
    multiplier, exponent = np.where(full, 1 << 30, multiplier), exponent + full
    none = exponent < -31
    multiplier, exponent = np.where(none, 0, multiplier), np.where(none, 0, exponent)
    if (exponent > 30).any():
        raise Unsupported("its scales are too far apart", way_out=_AGAIN)
    return multiplier.astype(np.int32), (-exponent).astype(np.int32)


def rounded(x: Any) -> Any:
    """C's ``round``: halves away from zero."""
    whole = np.trunc(x)
    return whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0).astype(x.dtype)


def multiplied(b: Emitter, x: Value, factor: Any) -> Value:
    """MultiplyByQuantizedMultiplier: x times real factors, in int32."""
    multiplier, shift = fixed_point(factor)
    return b.call("multiply_fixed", x, b.const(multiplier), b.const(shift))


def bounds(out: Scale, function: int) -> tuple[float, float]:
    """What a fused activation leaves of the integers of a scale."""
    if function not in _BOUNDS:
        raise Unsupported(f"{function} is not supported", attribute="fused_activation_function")
    low, high = (
        None if v is None else out.zero + int(rounded(np.float32(v) / out.scale))
        for v in _BOUNDS[function]
    )
    least, most = out.limits
    return (
        -math.inf if low is None or low <= least else low,
        math.inf if high is None or high >= most else high,
    )


def requantized(b: Emitter, x: Value, factor: Any, out: Scale, function: int = 0) -> Value:
    """int32 times real factors as the output's integers, after a fused activation."""
    multiplier, shift = fixed_point(factor)
    low, high = bounds(out, function)
    parts = b.const(multiplier), b.const(shift), b.const(out.zero, out.dtype)
    return b.call("requantize_fixed", x, *parts, low=low, high=high)


def requantized_wide(b: Emitter, x: Value, factor: Any, out: Scale, function: int = 0) -> Value:
    """As ``requantized``, of int64, where LiteRT's multipliers have 15 bits."""
    multiplier, shift = fixed_point(factor)
    short = np.where(
        multiplier < 0x7FFF0000, (multiplier.astype(np.int64) + (1 << 15)) >> 16, 32767
    )
    parts = b.const(short.astype(np.int32)), b.const(shift)
    return stored(b, b.call("multiply_wide", x, *parts), out, function)


def requantized_once(b: Emitter, x: Value, factor: Any, out: Scale, function: int = 0) -> Value:
    """As ``requantized``, computed in float64 and rounded once, halves away from zero."""
    real = b.call("mul", b.cast(x, "float64"), b.const(factor, "float64"))
    size = b.call("floor", b.call("add", b.call("abs", real), b.full(real, 0.5)))
    # beyond this only saturation is left
    size = b.call("minimum", size, b.full(real, 1e9))
    whole = b.cast(b.call("mul", size, b.call("sign", real)), "int32")
    return stored(b, whole, out, function)


def stored(b: Emitter, x: Value, out: Scale, function: int = 0) -> Value:
    """int32 in steps of the output's scale as its integers, after a fused activation."""
    low, high = (int(v) for v in np.clip(bounds(out, function), *out.limits))
    moved = b.call("add", x, b.full(x, out.zero)) if out.zero else x
    held = b.call("minimum", b.call("maximum", moved, b.full(x, low)), b.full(x, high))
    return b.cast(held, out.dtype)


def centred(b: Emitter, x: Value, scale: Scale) -> Value:
    """x less its zero point, in int32."""
    wide = b.cast(x, "int32")
    return b.call("sub", wide, b.const(scale.zero, "int32")) if scale.zero else wide
