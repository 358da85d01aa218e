"""Quantised numbers: what stands between floats and the integers that they are stored as.

An integer q with scale s and zero point z means the number (q - z) * s. Scales and zero points
are operands that broadcast: one element for a whole tensor, [1, C, 1, 1] for one a channel. So
these operators are elementwise, follow any layout and fuse with anything. Integers saturate;
halves are rounded to even.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from armlet.compiler.ir import TensorType

from .broadcast import Elementwise, broadcast_shapes, elementwise
from .helpers import FLOATS, check, constant, convert, dtype_of, expect_dtype, expect_operands
from .lazy import tirx
from .registry import Sample

#: integers that numbers may be quantised to
QUANTIZED = ("int8", "uint8", "int16", "uint16")


def _sample(record: Elementwise, *operands: Any) -> Sample:
    return Sample(record, tuple(np.asarray(o) for o in operands))


class Scaled(Elementwise):
    """Operands: what is converted, a scale, a zero point."""

    half = False  # a scale's last bits decide between two integers

    def _parts(self, operands: Sequence[TensorType]) -> tuple[TensorType, TensorType, TensorType]:
        expect_operands(self, operands, 3)
        x, scale, zero = operands
        check(
            broadcast_shapes(*(t.shape for t in operands)) == x.shape,
            f"{self.name} has scale {scale} and zero point {zero} for {x}",
        )
        return x, scale, zero


#: a float32 of 1.5 * 2^23, whose last bit is worth 1, and its bits as an integer
MAGIC, MAGIC_BITS = 12582912.0, 0x4B400000
#: numbers beyond this saturate any integer that is stored, and the sum with ``MAGIC`` is exact
BEYOND = float(1 << 21)


def nearest(value: Any) -> Any:
    """A float32 rounded to int32, halves to even; saturated at ``BEYOND``.

    Adding ``MAGIC`` does that in an instruction of any processor (Arm gets its own one in
    ``compiler/lower/plain_c.py``); libm's functions are no vectors.
    """
    bound = constant(BEYOND, "float32")
    held = tirx.max(tirx.min(value, bound), constant(-BEYOND, "float32"))
    bits = tirx.reinterpret("int32", held + constant(MAGIC, "float32"))
    return bits - constant(MAGIC_BITS, "int32")


def _evened(value: Any) -> Any:
    """A float that ``nearest`` rounds as this one with halves away from zero.

    Halves are the only numbers that are as far from one integer as from another.
    """
    half, nothing = constant(0.5, "float32"), constant(0, "float32")
    apart = value - convert(nearest(value), "float32")
    is_half = tirx.max(apart, -apart) == half
    return tirx.Select(is_half, value + tirx.Select(value > nothing, half, -half), value)


def _saturated(value: Any, zero: Any, low: float, high: float) -> Any:
    """A float, rounded, and a zero point as an integer of the zero point's dtype.

    Bytes saturate twice, on the way through int16, as instructions that narrow do.
    """
    dtype = dtype_of(zero)
    least, most = limits(dtype, low, high)
    whole = nearest(value)
    if dtype in ("int8", "uint8"):
        whole = convert(_clamped(whole, *limits("int16")), "int16")
    kind = dtype_of(whole)
    moved = convert(zero, kind)
    # bounds less the zero point, as the sum with it might overflow
    bounds = (constant(v, kind) - moved for v in (least, most))
    return convert(_clamped(whole, *bounds) + moved, dtype)


def _clamped(value: Any, least: Any, most: Any) -> Any:
    return tirx.max(tirx.min(value, _bound(most, value)), _bound(least, value))


def _bound(bound: Any, like: Any) -> Any:
    return constant(bound, dtype_of(like)) if isinstance(bound, int) else bound


def _is_zero(expr: Any) -> bool:
    return isinstance(expr, tirx.IntImm) and expr.value == 0


def limits(dtype: str, low: float = -math.inf, high: float = math.inf) -> tuple[int, int]:
    """The smallest and the largest integer of a dtype between ``low`` and ``high``."""
    info = np.iinfo(dtype)
    return int(max(info.min, low)), int(min(info.max, high))


def _stored(value: np.ndarray, zero: np.ndarray, low: float, high: float) -> np.ndarray:
    least, most = limits(zero.dtype.name, low, high)
    moved = value + zero.astype(np.float32)
    return np.where(np.isnan(moved), least, np.clip(moved, least, most)).astype(zero.dtype)


@elementwise("quantize")
class Quantize(Scaled):
    """ONNX QuantizeLinear: y = round(x / scale) + zero point, between ``low`` and ``high``.

    y has the dtype of the zero point and saturates. TensorFlow Lite rounds halves ``away`` from
    zero instead of to even.
    """

    low: float = -math.inf
    high: float = math.inf
    away: bool = False

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        x, scale, zero = self._parts(operands)
        expect_dtype(self, x, FLOATS)
        expect_dtype(self, scale, FLOATS)
        expect_dtype(self, zero, QUANTIZED)
        return (x.with_dtype(zero.dtype),)

    def element(self, x: Any, scale: Any, zero: Any) -> Any:
        x, scale = convert(x, "float32"), convert(scale, "float32")
        one = isinstance(scale, tirx.FloatImm) and scale.value == 1
        quotient = x if one else x / scale
        return _saturated(_evened(quotient) if self.away else quotient, zero, self.low, self.high)

    def evaluate(self, x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
        quotient = x.astype(np.float32) / scale.astype(np.float32)
        whole = np.rint(quotient)
        if self.away:
            whole = np.where(
                np.abs(quotient - whole) == 0.5, quotient + np.sign(quotient) / 2, whole
            )
        return _stored(whole, zero, self.low, self.high)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        for dtype in QUANTIZED:
            x = (300 * rng.standard_normal((2, 3, 5, 4))).astype("f")
            yield _sample(cls(), x, np.array([0.75], "f"), np.array([3], dtype))
            channels = (rng.random((3, 1, 1)) + 0.5).astype("f")
            zeros = rng.integers(0, 9, (3, 1, 1)).astype(dtype)
            yield _sample(cls(), x, channels, zeros)
        halves = np.arange(-6, 7, dtype="f") / 2
        yield _sample(cls(), halves, np.float32(1), np.int8(0))
        yield _sample(cls(low=-8, high=7), halves * 7, np.float32(1), np.int8(0))
        yield _sample(cls(away=True), halves, np.float32(1), np.int16(0))
        yield _sample(cls(away=True), np.array([0.49999997, -0.49999997, 70000.5, -70000.5], "f"),
                      np.float32(1), np.int8(1))  # fmt: skip
        yield _sample(cls(), halves.astype(np.float16), np.float16(0.5), np.uint8(128))
        large = np.array([np.inf, -np.inf, 3e38, -3e38], "f")
        yield _sample(cls(), large, np.float32(1e-5), np.int8(-1))


@elementwise("dequantize")
class Dequantize(Scaled):
    """ONNX DequantizeLinear: y = (x - zero point) * scale, in the dtype of the scale."""

    late = True

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        x, scale, zero = self._parts(operands)
        expect_dtype(self, x, (*QUANTIZED, "int32"))
        expect_dtype(self, scale, FLOATS)
        check(zero.dtype == x.dtype, f"{self.name} of {x} has zero point {zero}")
        return (x.with_dtype(scale.dtype),)

    def element(self, x: Any, scale: Any, zero: Any) -> Any:
        moved = convert(x, "int32")
        if not _is_zero(zero):
            moved = moved - convert(zero, "int32")
        product = convert(moved, "float32") * convert(scale, "float32")
        return convert(product, dtype_of(scale))

    def evaluate(self, x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
        moved = x.astype(np.int32) - zero.astype(np.int32)
        return (moved.astype(np.float32) * scale.astype(np.float32)).astype(scale.dtype)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        for dtype in (*QUANTIZED, "int32"):
            x = rng.integers(0, 127, (2, 3, 5, 4)).astype(dtype)
            yield _sample(cls(), x, np.array([0.75], "f"), np.array([3], dtype))
            channels = (rng.random((3, 1, 1)) + 0.5).astype("f")
            zeros = rng.integers(0, 9, (3, 1, 1)).astype(dtype)
            yield _sample(cls(), x, channels, zeros)
        yield _sample(cls(), x.astype("int8"), np.float16(0.5), np.int8(0))


@elementwise("requantize")
class Requantize(Scaled):
    """y = round(x * scale) + zero point, of sums in int32, between ``low`` and ``high``.

    The product is in float32, as in ONNX Runtime.
    """

    low: float = -math.inf
    high: float = math.inf

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        x, scale, zero = self._parts(operands)
        expect_dtype(self, x, ("int32",))
        expect_dtype(self, scale, ("float32",))
        expect_dtype(self, zero, QUANTIZED)
        return (x.with_dtype(zero.dtype),)

    def element(self, x: Any, scale: Any, zero: Any) -> Any:
        product = convert(x, "float32") * scale
        return _saturated(product, zero, self.low, self.high)

    def evaluate(self, x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
        return _stored(np.rint(x.astype(np.float32) * scale), zero, self.low, self.high)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        x = rng.integers(-(10**6), 10**6, (2, 3, 5, 4)).astype("int32")
        scale = (1e-4 * (rng.random((3, 1, 1)) + 0.5)).astype("f")
        for dtype in QUANTIZED:
            yield _sample(cls(), x, np.array([1e-4], "f"), np.array([3], dtype))
            yield _sample(cls(low=0, high=100), x, scale, np.array([7], dtype))
        halves = np.arange(-9, 10, dtype="int32")
        yield _sample(cls(), halves, np.float32(0.5), np.int8(0))
        extremes = np.array([-(2**31), 2**31 - 1, 0], "int32")
        yield _sample(cls(), extremes, np.float32(4), np.uint8(10))


@elementwise("flip_sign")
class FlipSign(Elementwise):
    """y = x - 128 as int8 of uint8, and x + 128 as uint8 of int8: the same number's other form."""

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        expect_dtype(self, operands[0], ("int8", "uint8"))
        return (operands[0].with_dtype(flipped(operands[0].dtype)),)

    def element(self, x: Any) -> Any:
        dtype = dtype_of(x)
        sign = constant(-128 if dtype == "int8" else 128, dtype)
        return tirx.reinterpret(flipped(dtype), x ^ sign)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return x.view(np.uint8).__xor__(np.uint8(128)).view(flipped(x.dtype.name))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for dtype in ("int8", "uint8"):
            every = np.arange(256).astype(np.uint8).view(dtype)
            yield _sample(cls(), every)
            yield _sample(cls(), every[:30].reshape(2, 3, 5))


def flipped(dtype: str) -> str:
    """The other type of a byte."""
    return {"int8": "uint8", "uint8": "int8"}[dtype]
