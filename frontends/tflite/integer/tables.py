"""Functions of one quantised number: a table of what LiteRT's rule makes of each."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tflite

from armlet.compiler.ir import Value
from armlet.compiler.ops.fixed_point import scaled_array
from armlet.compiler.ops.quantize import limits
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from ..model import Tensor
from ..registry import handles_integers
from .scales import Scale, bounds, fixed_point, rounded, scale_of

Tensors = tuple[Tensor, ...]
Function = Callable[[np.ndarray], np.ndarray]

#: segments of LiteRT's tables for int16, between which it interpolates
_SEGMENTS = 512


def every(dtype: str) -> np.ndarray:
    """Every number of a dtype, in order."""
    least, most = limits(dtype)
    return np.arange(least, most + 1).astype(dtype)


def looked_up(b: Emitter, x: Value, table: np.ndarray) -> Value:
    """``table[x]``, whose first element is that of the smallest number of x; of int32, of 0."""
    first = 0 if x.type.dtype == "int32" else limits(x.type.dtype)[0]
    return b.call("lookup", x, b.const(table), first=first)


def table_of(function: Function, x: Scale, out: Scale) -> np.ndarray:
    """LiteRT's table of a function of reals (LUTPopulate), one element for each number."""
    numbers = every(x.dtype)
    if x.dtype == "int16":
        ends = segments(
            function, (float(x.scale), x.zero), (float(out.scale), out.zero), np.float32
        )
        return interpolated(ends, numbers).astype("int16")
    reals = x.scale * (numbers.astype(np.int32) - x.zero).astype(np.float32)
    whole = rounded(_computed(function, reals) * (np.float32(1) / out.scale))
    return np.clip(whole + np.float32(out.zero), *out.limits).astype(out.dtype)


def _computed(function: Function, x: np.ndarray) -> np.ndarray:
    """Of floats what a function gives of doubles, as libm's are right to the last bit or nearly."""
    with np.errstate(all="ignore"):
        return function(x.astype(np.float64)).astype(x.dtype)


def segments(
    function: Function, x: tuple[float, int], out: tuple[float, int], kind: type[np.floating]
) -> np.ndarray:
    """The ends of the segments, moved so that the error in the middle is shared.

    ``x`` and ``out`` are scales and zero points of int16; ``kind`` is what is computed in.
    """
    first, last = (kind(x[0]) * kind(v - x[1]) for v in limits("int16"))
    low, high = (kind(out[0]) * kind(v - out[1]) for v in limits("int16"))
    step, inverse, two = (last - first) / kind(_SEGMENTS), kind(65536) / (high - low), kind(2)
    places = np.arange(_SEGMENTS + 1).astype(kind)
    ends = first + places[:-1] * step
    value, middle, following = (
        _computed(function, v) * inverse
        for v in (ends, ends + step / two, first + places[1:] * step)
    )
    sample = rounded(value)
    error = rounded((following + sample) / two) - rounded(middle)
    final = rounded(_computed(function, np.atleast_1d(last)) * inverse)
    table = np.append(sample - rounded(error / two), final)
    return np.clip(table, *limits("int16")).astype(np.int64)


def interpolated(ends: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """LUTLookup: the function of int16 numbers."""
    place = numbers.astype(np.int64)
    index, offset = 256 + (place >> 7), place & 127
    return ends[index] + (((ends[index + 1] - ends[index]) * offset + 64) >> 7)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _single_logistic(x: np.ndarray) -> np.ndarray:
    """With every step rounded to float32."""
    return np.float32(1) / (np.float32(1) + np.exp(-x).astype(np.float32))


#: operators whose tables are of a function of reals
FUNCTIONS: dict[str, tuple[Function, type | None]] = {
    "EXP": (np.exp, tflite.ExpOptions),
    "ELU": (lambda x: np.where(x < 0, np.expm1(x), x), None),
}  # fmt: skip


def _register(operator: str, function: Function, options: type | None) -> None:
    @handles_integers(operator, options=options)
    def unary(b: Emitter, x: Value, *, inputs: Tensors, outputs: Tensors) -> Value:
        return looked_up(b, x, table_of(function, scale_of(inputs[0]), scale_of(outputs[0])))


for _operator, (_function, _options) in FUNCTIONS.items():
    _register(_operator, _function, _options)


@handles_integers("LOG", options=None)
def log(b: Emitter, x: Value, *, inputs: Tensors, outputs: Tensors) -> Value:
    """Of what is not positive, the smallest number of the output."""
    out = scale_of(outputs[0])
    least = float(np.float32(out.limits[0] - out.zero) * out.scale)

    def clamped(x: np.ndarray) -> np.ndarray:
        return np.where(x <= 0, least, np.log(x))

    return looked_up(b, x, table_of(clamped, scale_of(inputs[0]), out))


@handles_integers("GELU", options=tflite.GeluOptions)
def gelu(
    b: Emitter, x: Value, *, inputs: Tensors, outputs: Tensors, approximate: bool = False
) -> Value:
    function = _gelu_tanh if approximate else _gelu
    return looked_up(b, x, table_of(function, scale_of(inputs[0]), scale_of(outputs[0])))


def _gelu(x: np.ndarray) -> np.ndarray:
    """With every step rounded to float32."""
    single = x.astype(np.float32)
    turned = (single * np.float32(-math.sqrt(0.5))).astype(np.float64)
    return np.float32(0.5) * single * np.vectorize(math.erfc)(turned).astype(np.float32)


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    """With every step rounded to float32."""
    single = x.astype(np.float32)
    inner = single + np.float32(0.044715) * single * single * single
    wave = np.tanh((np.float32(math.sqrt(2 / math.pi)) * inner).astype(np.float64))
    return np.float32(0.5) * single * (np.float32(1) + wave.astype(np.float32))


# -- LOGISTIC and TANH: of bytes, functions of reals; of int16, an interpolated sigmoid ------------


def _sigmoids() -> np.ndarray:
    """sigmoid(k / 24) in units of 2^-16, moved so that the error of interpolation is shared."""
    s = _logistic(np.arange(256) / 24)
    bend = s * (1 - s) * (1 - 2 * s) / 24**2
    return np.append(np.rint(65536 * (s - bend / 16))[:255], 65535).astype(np.int64)


def _places(x: Scale, exact: tuple[int, ...]) -> np.ndarray:
    """Every number of int16 in units of 2^-12 / 3, of which LiteRT takes the sigmoid.

    ``exact``: the powers of two above 2^-12 whose scales it moves by a shift.
    """
    numbers = every("int16").astype(np.int64)
    power = np.log2(np.float64(x.scale)) + 12
    if abs(power - round(power)) < 1e-3 and round(power) in exact:
        return numbers * (3 << round(power))
    multiplier, shift = float(x.scale) * 4096.0 * 3.0, 0
    while multiplier <= 32767 / 2 and shift <= 30:
        multiplier, shift = 2 * multiplier, shift + 1
    return (numbers * int(multiplier) + (1 << shift >> 1)) >> shift


def _between(places: np.ndarray, bits: int, beyond: int) -> np.ndarray:
    """The sigmoid of the magnitudes, with so many bits between two entries of the table."""
    table, size = _sigmoids(), np.abs(places)
    index = np.minimum(size >> bits, 254)
    low, high = table[index], table[index + 1]
    inside = (low << bits) + (size & ((1 << bits) - 1)) * (high - low)
    return np.where(size >> bits >= 255, beyond, inside)


def _logistic_int16(x: Scale) -> np.ndarray:
    places = _places(x, (0,))
    found = _between(places, 9, 0x7FFF << 10)
    return np.where(places >= 0, found + (1 << 9), (1 << 25) - found + (1 << 9) - 1) >> 10


def _tanh_int16(x: Scale) -> np.ndarray:
    places = _places(x, (0, 1))
    found, middle = _between(places, 8, 0xFFFF << 8), 1 << 23
    return np.where(places >= 0, found - middle + 128, middle - found + 127) >> 8


def _register_sigmoid(
    operator: str, function: Function, wide: Callable[[Scale], np.ndarray]
) -> None:
    @handles_integers(operator)
    def sigmoid(b: Emitter, x: Value, *, inputs: Tensors, outputs: Tensors) -> Value:
        given, out = scale_of(inputs[0]), scale_of(outputs[0])
        if given.dtype != "int16":
            return looked_up(b, x, table_of(function, given, out))
        if out.scale != np.float32(2.0**-15):
            raise Unsupported(f"its result has the scale {out.scale:g}; of int16 it must be 2^-15")
        return looked_up(b, x, wide(given).astype(np.int16))


_register_sigmoid("LOGISTIC", _single_logistic, _logistic_int16)
_register_sigmoid("TANH", np.tanh, _tanh_int16)


# -- functions that LiteRT computes in fixed point -------------------------------------------------


def scaled_numbers(numbers: np.ndarray, factor: float) -> np.ndarray:
    """MultiplyByQuantizedMultiplier of known integers."""
    return scaled_array(numbers.astype(np.int32), *fixed_point(factor))


def _stored(numbers: np.ndarray, out: Scale, function: int = 0) -> np.ndarray:
    low, high = np.clip(bounds(out, function), *out.limits)
    return np.clip(numbers + out.zero, low, high).astype(out.dtype)


def _centred(x: Scale) -> np.ndarray:
    return every(x.dtype).astype(np.int64) - x.zero


_CLIPPED = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}


def _register_clipped(operator: str, function: int) -> None:
    @handles_integers(operator)
    def clipped(b: Emitter, x: Value, *, inputs: Tensors, outputs: Tensors) -> Value:
        given, out = scale_of(inputs[0]), scale_of(outputs[0])
        factor = np.float64(given.scale / out.scale)
        return looked_up(b, x, _stored(scaled_numbers(_centred(given), factor), out, function))


for _operator, _fused in _CLIPPED.items():
    _register_clipped(_operator, _fused)


@handles_integers("LEAKY_RELU", options=tflite.LeakyReluOptions)
def leaky_relu(b: Emitter, x: Value, *, inputs: Tensors, outputs: Tensors, alpha: float) -> Value:
    given, out = scale_of(inputs[0]), scale_of(outputs[0])
    numbers = _centred(given)
    above = scaled_numbers(numbers, np.float64(given.scale / out.scale))
    slope = np.float64(given.scale * np.float32(alpha) / out.scale)
    below = np.sign(slope) * scaled_numbers(numbers, abs(slope))
    return looked_up(b, x, _stored(np.where(numbers >= 0, above, below), out))


@handles_integers("ABS", options=tflite.AbsOptions)
def absolute(b: Emitter, x: Value, *, inputs: Tensors, outputs: Tensors) -> Value:
    given, out = scale_of(inputs[0]), scale_of(outputs[0])
    size = np.abs(_centred(given))
    return looked_up(b, x, _stored(scaled_numbers(size, np.float64(given.scale / out.scale)), out))


@handles_integers("HARD_SWISH", options=tflite.HardSwishOptions)
def hard_swish(b: Emitter, x: Value, *, inputs: Tensors, outputs: Tensors) -> Value:
    """In int16, as the gemmlowp functions that are named in the comments."""
    given, out = scale_of(inputs[0]), scale_of(outputs[0])
    if given.dtype == "int16":
        raise Unsupported("it is not defined for int16", way_out="quantise this layer to bytes")
    fine = given.scale * np.float32(1 / 128)
    multiplier, shift = _halved_multiplier(fine / out.scale)
    gate_multiplier, gate_shift = _halved_multiplier(fine / np.float32(3 / 32768))
    if shift < 0:
        raise Unsupported(f"its scales {given.scale:g} and {out.scale:g} are too far apart")
    moved = _centred(given) << 7
    value = _doubled_high(moved, multiplier)  # SaturatingRoundingDoublingHighMul
    gate = moved
    if gate_shift < 0:
        gate = _int16(gate << (-gate_shift - 1))  # SaturatingLeftShift
    gate = _doubled_high(gate, gate_multiplier)
    gate = _int16(gate << 1) if gate_shift < 0 else _rounded_shift(gate, gate_shift)
    gate = (gate + (1 << 15)) >> 1
    product = gate * value
    high = np.sign(product) * (np.abs(product) >> 15)  # SaturatingDoublingHighMul
    return looked_up(b, x, _stored(_rounded_shift(high, shift), out))


def _halved_multiplier(factor: np.float32) -> tuple[int, int]:
    """A multiplier of 15 bits (DownScaleInt32ToInt16Multiplier) and its shift to the right."""
    multiplier, shift = fixed_point(np.float64(factor))
    return min((int(multiplier) + (1 << 15)) >> 16, 32767), int(shift)


def _int16(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -32768, 32767)


def _doubled_high(x: np.ndarray, multiplier: int) -> np.ndarray:
    return (x * multiplier + (1 << 14)) >> 15


def _rounded_shift(x: np.ndarray, by: int) -> np.ndarray:
    """Halves away from zero (RoundingDivideByPOT)."""
    mask = (1 << by) - 1
    return (x >> by) + ((x & mask) > (mask >> 1) + (x < 0))


@handles_integers("SQRT")
def sqrt(b: Emitter, x: Value, *, inputs: Tensors, outputs: Tensors) -> Value:
    """Cut off, not rounded; of what is below 0, 0."""
    given, out = scale_of(inputs[0]), scale_of(outputs[0])
    reals = np.maximum(given.scale * _centred(given).astype(np.float32), 0)
    return looked_up(b, x, _stored(np.trunc(np.sqrt(reals) / out.scale), out))
