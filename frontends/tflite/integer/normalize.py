"""SOFTMAX in fixed point: exponentials by table, a reciprocal for each row.

gemmlowp's functions are computed here on every difference that two integers can have.
"""

from __future__ import annotations

import numpy as np
import tflite

from armlet.compiler.ir import Value
from armlet.frontends.emitter import Emitter

from ..model import Tensor
from ..registry import handles_integers
from .scales import Scale, fixed_point, scale_of
from .tables import interpolated, scaled_numbers, segments

Tensors = tuple[Tensor, ...]

#: bits before the point of a difference, and of a sum of exponentials
_DIFFERENCE_BITS, _SUM_BITS = 5, 12
#: what int16's exponentials are taken of: 2^16 numbers of -10 to 0
_LEAST, _STEPS = -10.0, 65535


def _product(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """gemmlowp's product of numbers in units of 2^-31."""
    return (a * b + (1 << 30)) >> 31


def _divided(a: np.ndarray, bits: int) -> np.ndarray:
    """Halves away from zero."""
    return np.sign(a) * ((np.abs(a) + (1 << bits >> 1)) >> bits)


def _constant(real: float) -> int:
    return round(real * 2.0**31)


def exponentials(differences: np.ndarray) -> np.ndarray:
    """exp of what is not above 0, in units of 2^-26, as int32 in units of 2^-31 (saturated).

    A Taylor series around -1/8 of what is above a multiple of 1/4, and a product for each bit of
    that multiple: gemmlowp's exp_on_negative_values.
    """
    quarter = 1 << 24
    above = (differences & (quarter - 1)) - quarter
    x = (above << 5) + (1 << 28)
    square = _product(x, x)
    fourth = _divided(_product(square, square), 2)
    series = _divided(_product(fourth + _product(square, x), _constant(1 / 3)) + square, 1)
    middle = _constant(np.exp(-1 / 8))
    result = middle + _product(x + series, middle)
    rest = above - differences
    for power in range(-2, 5):
        factor = _constant(np.exp(-(2.0**power)))
        result = np.where(rest & (1 << (26 + power)), _product(result, factor), result)
    return np.where(differences == 0, 2**31 - 1, result)


@handles_integers("SOFTMAX", options=tflite.SoftmaxOptions)
def softmax(b: Emitter, x: Value, *, inputs: Tensors, outputs: Tensors, beta: float) -> Value:
    given, out, axis = scale_of(inputs[0]), scale_of(outputs[0]), x.type.rank - 1
    largest = b.call("reduce_max", x, axes=(axis,), keepdims=True)
    differences = b.call("sub", b.cast(x, "int32"), b.cast(largest, "int32"))
    rows = _int16_rows if given.dtype == "int16" else _byte_rows
    return rows(b, differences, float(given.scale) * float(np.float32(beta)), out)


def _byte_rows(b: Emitter, differences: Value, factor: float, out: Scale) -> Value:
    """Whatever the output's scale is, its integers are units of 2^-8 (of int16, of 2^-16)."""
    real = min(factor * 2.0 ** (31 - _DIFFERENCE_BITS), 2.0**31 - 1)
    _, shift = fixed_point(real)
    ceiling = ((1 << _DIFFERENCE_BITS) - 1) << (31 - _DIFFERENCE_BITS)
    furthest = int(ceiling / 2.0 ** -int(shift))
    numbers = np.arange(-255, 1)
    near = np.maximum(numbers, -furthest)
    table = np.where(numbers >= -furthest, exponentials(scaled_numbers(near, real)), 0)
    parts = _divided(table, _SUM_BITS)
    total = _sum(b, _lookup(b, differences, parts.astype(np.int32)))
    bits = 31 + _SUM_BITS - np.iinfo(out.dtype).bits
    digits = b.call("sub", b.const(bits, "int32"), b.call("leading_zeros", total))
    scale = b.call("reciprocal_fixed", total)
    least = b.const(out.limits[0], out.dtype)
    exponential = _lookup(b, differences, table.astype(np.int32))
    return b.call("requantize_fixed", exponential, scale, digits, least)


def _lookup(b: Emitter, differences: Value, table: np.ndarray) -> Value:
    return b.call("lookup", differences, b.const(table), first=1 - len(table))


def _sum(b: Emitter, x: Value) -> Value:
    return b.call("reduce_sum", x, axes=(x.type.rank - 1,), keepdims=True)


def _int16_rows(b: Emitter, differences: Value, factor: float, out: Scale) -> Value:
    """By LiteRT's tables of exp(x) for x in -10..0, and of 1 / (1 + x) for x in 0..1."""
    step = -_LEAST / _STEPS
    numbers = np.arange(-_STEPS, 1)
    places = np.clip(scaled_numbers(numbers, factor / step) + 32767, -32768, 32767)
    ends = segments(np.exp, (step, 32767), (2 / _STEPS, 0), np.float64)
    exponential = _lookup(b, differences, interpolated(ends, places).astype(np.int32))
    total = _sum(b, exponential)
    zeros = b.call("leading_zeros", total)

    powers = (1 << np.clip(np.arange(32) - 1, 0, 30)).astype(np.int32)
    left = b.call("lookup", zeros, b.const(powers), first=0)
    moved = b.call("mul", b.cast(total, "int64"), b.cast(left, "int64"))
    one = b.const(1, "int32")
    place = b.call("multiply_wide", moved, one, b.const(-1, "int32"))  # by 2^-14
    place = b.call("sub", place, b.const(3 << 15, "int32"))
    ends = segments(lambda v: 1 / (1 + v), (1 / _STEPS, -32768), (2 / _STEPS, 0), np.float64)
    table = interpolated(ends, np.arange(-32768, 32768)).astype(np.int32)
    reciprocal = b.call("lookup", place, b.const(table), first=-32768)
    product = b.call("mul", exponential, reciprocal)
    shift = b.call("sub", b.const(16, "int32"), zeros)
    rounded = b.call("multiply_wide", b.cast(product, "int64"), one, shift)
    held = b.call("maximum", b.call("minimum", rounded, b.full(rounded, 32767)), b.full(rounded, 0))
    return b.cast(held, out.dtype)
