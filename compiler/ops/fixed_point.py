"""Fixed-point arithmetic: reals as integers, exactly as gemmlowp and TensorFlow Lite define it.

A real factor is a multiplier of 31 bits and a shift to the right: m / 2^31 / 2^shift. What is
defined on few integers is a table of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from armlet.compiler.ir import TensorType

from .broadcast import Elementwise, broadcast_index, broadcast_shapes, elementwise
from .helpers import check, constant, convert, dtype_of, expect_dtype, expect_operands, shape_of
from .lazy import te, tirx
from .quantize import QUANTIZED, limits
from .registry import Sample


def _sample(record: Elementwise, *operands: Any) -> Sample:
    return Sample(record, tuple(np.asarray(o) for o in operands))


def doubled_high(a: Any, b: Any) -> Any:
    """round(a * b / 2^31), which several processors have an instruction for."""
    wide = convert(a, "int64") * convert(b, "int64") + constant(1 << 30, "int64")
    return convert(wide >> constant(31, "int64"), "int32")


def rounded_shift(x: Any, by: Any) -> Any:
    """x / 2^by, halves away from zero."""
    one = constant(1, "int32")
    mask = (one << by) - one
    above = (x & mask) > (mask >> 1) + convert(x < 0, "int32")
    return (x >> by) + convert(above, "int32")


def scaled(x: Any, multiplier: Any, shift: Any) -> Any:
    """x * multiplier / 2^31 / 2^shift of int32, rounded twice."""
    nothing = constant(0, "int32")
    left, right = tirx.max(nothing - shift, nothing), tirx.max(shift, nothing)
    return rounded_shift(doubled_high(x << left, multiplier), right)


def scaled_array(x: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """``scaled``, of arrays of int32; int64."""
    left, right = np.maximum(-shift, 0), np.maximum(shift, 0).astype(np.int64)
    wide = (x << left).astype(np.int64) * multiplier
    nudged = np.minimum((wide + (1 << 30)) >> 31, 2**31 - 1)
    mask = (np.int64(1) << right) - 1
    return (nudged >> right) + ((nudged & mask) > (mask >> 1) + (nudged < 0))


def _expect_factor(op: Elementwise, operands: Sequence[TensorType]) -> None:
    """After x, in int32, a multiplier and a shift that broadcast to x."""
    for part in operands[1:3]:
        expect_dtype(op, part, ("int32",))
    x, multiplier, shift, *rest = operands
    check(
        broadcast_shapes(*(t.shape for t in operands)) == x.shape,
        f"{op.name} has multiplier {multiplier}, shift {shift}"
        f"{''.join(f', zero point {t}' for t in rest)} for {x}",
    )


@elementwise("multiply_fixed")
class MultiplyFixed(Elementwise):
    """y = x * multiplier / 2^31 / 2^shift in int32, rounded twice.

    gemmlowp's arithmetic, which TensorFlow Lite defines: the doubled high half of the product is
    rounded with halves up, and the shift to the right with halves away from zero (Jacob et al.,
    CVPR'18). A negative shift is one to the left, before.
    """

    operands = 3

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 3)
        expect_dtype(self, operands[0], ("int32",))
        _expect_factor(self, operands)
        return (operands[0],)

    def element(self, x: Any, multiplier: Any, shift: Any) -> Any:
        return scaled(x, multiplier, shift)

    def evaluate(self, x: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
        return scaled_array(x, multiplier, shift).astype(np.int32)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from (_sample(cls(), *operands) for operands in _factors())


def _factors() -> Iterator[tuple[Any, ...]]:
    """Operands x, multiplier and shift, for samples."""
    rng = np.random.default_rng(0)
    x = rng.integers(-(10**6), 10**6, (2, 3, 5, 4)).astype("int32")
    multiplier = rng.integers(1 << 30, (1 << 31) - 1, (3, 1, 1)).astype("int32")
    yield x, multiplier, rng.integers(8, 14, (3, 1, 1)).astype("int32")
    halves, one = np.arange(-9, 10, dtype="int32"), np.array([1 << 30], "int32")
    for number in (-3, 0, 1, 2):
        yield halves, one, np.array([number], "int32")


@elementwise("requantize_fixed")
class RequantizeFixed(Elementwise):
    """As ``requantize`` by ``multiply_fixed``: operands x, multiplier and shift, zero point."""

    low: float = -math.inf
    high: float = math.inf
    operands = 4

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 4)
        expect_dtype(self, operands[0], ("int32",))
        _expect_factor(self, operands)
        expect_dtype(self, operands[3], QUANTIZED)
        return (operands[0].with_dtype(operands[3].dtype),)

    def element(self, x: Any, multiplier: Any, shift: Any, zero: Any) -> Any:
        least, most = limits(dtype_of(zero), self.low, self.high)
        moved = scaled(x, multiplier, shift) + convert(zero, "int32")
        return convert(tirx.max(tirx.min(moved, most), least), dtype_of(zero))

    def evaluate(
        self, x: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, zero: np.ndarray
    ) -> np.ndarray:
        moved = scaled_array(x, multiplier, shift) + zero.astype(np.int64)
        return np.clip(moved, *limits(zero.dtype.name, self.low, self.high)).astype(zero.dtype)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        operands, *small = _factors()
        for dtype in QUANTIZED:
            yield _sample(cls(), *operands, np.array([3], dtype))
        for operands in small:
            yield _sample(cls(low=-100, high=90), *operands, np.int8(0))


@elementwise("multiply_wide")
class MultiplyWide(Elementwise):
    """y = x * multiplier / 2^15 / 2^shift in int32, of int64, rounded once with halves up.

    TensorFlow Lite's arithmetic on sums that are wider than 32 bits; multipliers have 15 bits, and
    15 and a shift are positive together.
    """

    operands = 3

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 3)
        expect_dtype(self, operands[0], ("int64",))
        _expect_factor(self, operands)
        return (operands[0].with_dtype("int32"),)

    def element(self, x: Any, multiplier: Any, shift: Any) -> Any:
        by = convert(shift, "int64") + constant(15, "int64")
        half = constant(1, "int64") << (by - constant(1, "int64"))
        return convert((x * convert(multiplier, "int64") + half) >> by, "int32")

    def evaluate(self, x: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
        by = shift.astype(np.int64) + 15
        return ((x * multiplier.astype(np.int64) + (np.int64(1) << (by - 1))) >> by).astype("int32")

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        x = rng.integers(-(10**9), 10**9, (2, 3, 5, 4))
        multiplier = rng.integers(1 << 14, 1 << 15, (3, 1, 1)).astype("int32")
        yield _sample(cls(), x, multiplier, rng.integers(-2, 20, (3, 1, 1)).astype("int32"))
        yield _sample(cls(), np.arange(-9, 10), np.int32(1 << 14), np.array([1], "int32"))


@elementwise("lookup")
class Lookup(Elementwise):
    """y = table[x - first], a table of one axis, read at its ends where x is beyond them."""

    first: int
    tables = 1
    operands = 2

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 2)
        x, table = operands
        expect_dtype(self, x, (*QUANTIZED, "int32"))
        check(table.rank == 1 and table.elements, f"{self.name} has a table {table}")
        return (x.with_dtype(table.dtype),)

    def compute(self, x: Any, table: Any) -> Any:
        (size,) = shape_of(table)

        def element(*index: Any) -> Any:
            place = convert(x[broadcast_index(shape_of(x), index)], "int32") - self.first
            last = constant(size - 1, "int32")
            return table[tirx.max(tirx.min(place, last), constant(0, "int32"))]

        return te.compute(shape_of(x), element, name=self.name)

    def evaluate(self, x: np.ndarray, table: np.ndarray) -> np.ndarray:
        return table[np.clip(x.astype(np.int64) - self.first, 0, len(table) - 1)]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        for dtype, first in (("int8", -128), ("uint8", 0)):
            table = rng.integers(-128, 128, 256).astype("int8")
            every = (np.arange(260) + first).astype(dtype)
            yield _sample(cls(first), every.reshape(2, 1, 10, 13), table)
        wide = rng.integers(-300, 10, (3, 7)).astype("int32")
        yield _sample(cls(-255), wide, rng.integers(0, 2**31 - 1, 256).astype("int32"))


def leading_zeros(x: Any) -> Any:
    """The zero bits above the highest of a positive int32."""
    return convert(tirx.clz(x), "int32")


def _leading_zeros(x: np.ndarray) -> np.ndarray:
    """As ``leading_zeros``: frexp's exponent is the number of bits; int64."""
    return 32 - np.frexp(x.astype(np.float64))[1].astype(np.int64)


class _OfPositive(Elementwise):
    """Of positive int32, an int32; 0 and what is below count as 1."""

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        expect_dtype(self, operands[0], ("int32",))
        return (operands[0],)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        near = (1 << rng.integers(0, 31, 40)) + rng.integers(-1, 2, 40)
        yield _sample(cls(), np.minimum(near, 2**31 - 1).astype("int32"))
        yield _sample(cls(), rng.integers(1, 2**31 - 1, (3, 1, 50), "int32"))
        yield _sample(cls(), np.array([1, 2, 3, 2**31 - 1, 0, -7], "int32"))


@elementwise("leading_zeros")
class LeadingZeros(_OfPositive):
    """y = the number of zero bits above the highest bit of x."""

    def element(self, x: Any) -> Any:
        return leading_zeros(tirx.max(x, constant(1, "int32")))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return _leading_zeros(np.maximum(x, 1)).astype(np.int32)


#: 48/17 and 32/17 in units of 2^-29: the line that is nearest to a reciprocal (Newton-Raphson)
_INTERCEPT, _SLOPE = 1515870810, 1010580540


@elementwise("reciprocal_fixed")
class ReciprocalFixed(_OfPositive):
    """y = 2^31 / m of x = m * 2^k with m in 1 to 2, as gemmlowp computes it in three steps.

    k is 31 less the leading zeros of x.
    """

    def element(self, x: Any) -> Any:
        x = tirx.max(x, constant(1, "int32"))
        fraction = (x << leading_zeros(x)) & constant(2**31 - 1, "int32")
        half = (fraction >> 1) + constant(1 << 30, "int32")
        y = constant(_INTERCEPT, "int32") - doubled_high(half, constant(_SLOPE, "int32"))
        for _ in range(3):
            rest = constant(1 << 29, "int32") - doubled_high(half, y)
            y = y + (doubled_high(y, rest) << 2)
        return tirx.min(y, constant((1 << 30) - 1, "int32")) * 2 + convert(
            y >= constant(1 << 30, "int32"), "int32"
        )

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        def product(a: Any, b: Any) -> Any:
            return (a * b + (1 << 30)) >> 31

        wide = np.maximum(x, 1).astype(np.int64)
        half = (((wide << _leading_zeros(wide)) - 2**31) >> 1) + (1 << 30)
        y = _INTERCEPT - product(half, _SLOPE)
        for _ in range(3):
            y = y + (product(y, (1 << 29) - product(half, y)) << 2)
        return np.minimum(2 * y, 2**31 - 1).astype(np.int32)
