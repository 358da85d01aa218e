"""Operators of two operands that broadcast; comparisons, logic, selection.

Integers wrap around; division truncates towards zero, and division by zero gives 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from armlet.compiler.ir import TensorType

from .broadcast import Binary, Elementwise, broadcast_shapes, elementwise
from .helpers import (
    ALL,
    FLOATS,
    INTEGERS,
    cases,
    check,
    constant,
    convert,
    dtype_of,
    edges,
    expect_dtype,
    expect_operands,
    joined,
    random,
    same_dtype,
)
from .lazy import tirx


@elementwise("add")
class Add(Binary):
    """z = x + y."""

    def scalar(self, x: Any, y: Any) -> Any:
        return x + y

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.add(x, y)


@elementwise("sub")
class Sub(Binary):
    """z = x - y."""

    def scalar(self, x: Any, y: Any) -> Any:
        return x - y

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.subtract(x, y)


@elementwise("mul")
class Mul(Binary):
    """z = x * y."""

    def scalar(self, x: Any, y: Any) -> Any:
        return x * y

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.multiply(x, y)


def _differ(x: Any, y: Any) -> Any:
    """Whether two bools differ; the code generator has no comparison of bools."""
    return tirx.Select(x, tirx.Not(y), y)


def _safe_divisor(y: Any) -> Any:
    """y, or 1 where dividing by it would trap (0, and -1 for the smallest integer)."""
    dtype = dtype_of(y)
    traps = tirx.EQ(y, constant(0, dtype))
    if not dtype.startswith("uint"):
        traps = tirx.Or(traps, tirx.EQ(y, constant(-1, dtype)))
    return tirx.Select(traps, constant(1, dtype), y)


@elementwise("div")
class Div(Binary):
    """z = x / y; of integers, truncated towards zero, and 0 if y = 0."""

    def scalar(self, x: Any, y: Any) -> Any:
        dtype = dtype_of(x)
        if dtype in FLOATS:
            return x / y
        zero, one = constant(0, dtype), constant(1, dtype)
        # a factor, not a choice: TVM would drop the safe divisor from a branch with y != 0
        factor = one
        if not dtype.startswith("uint"):
            factor = tirx.Select(tirx.EQ(y, constant(-1, dtype)), zero - one, one)
        factor = tirx.Select(tirx.EQ(y, zero), zero, factor)
        return tirx.truncdiv(x, _safe_divisor(y)) * factor

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if x.dtype.name in FLOATS:
            return np.divide(x, y)
        quotient, remainder = x // y, x % y
        return quotient + ((remainder != 0) & ((x < 0) != (y < 0))).astype(x.dtype)


@elementwise("mod")
class Mod(Binary):
    """z = the remainder of x / y, with the sign of y; with fmod=1, with that of x.

    Of integers, 0 if y = 0.
    """

    half = False  # a remainder is as wrong as the quotient

    fmod: int = 0
    settings = ({}, {"fmod": 1})

    def scalar(self, x: Any, y: Any) -> Any:
        dtype = dtype_of(x)
        zero = constant(0, dtype)
        rest = tirx.Mod(x, y if dtype in FLOATS else _safe_divisor(y))
        if self.fmod or dtype.startswith("uint"):
            return rest
        other_sign = _differ(rest < zero, y < zero)
        return tirx.Select(tirx.And(tirx.NE(rest, zero), other_sign), rest + y, rest)

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.fmod(x, y) if self.fmod else np.mod(x, y)

    @classmethod
    def edges(cls, dtype: str) -> np.ndarray:
        # A remainder of numbers so far apart is not computed alike by all libraries.
        special = edges(dtype)
        return special[np.abs(special) < 1e6] if dtype in FLOATS else special


@elementwise("pow")
class Pow(Binary):
    """z = x ^ y; of integers, computed in float64."""

    widen = True

    def scalar(self, x: Any, y: Any) -> Any:
        dtype = dtype_of(x)
        if dtype in INTEGERS:
            wide = [convert(v, "float64") for v in (x, y)]
            return convert(tirx.pow(*wide), dtype)
        if isinstance(y, tirx.FloatImm):
            exponents = {1.0: x, 2.0: x * x, 3.0: x * x * x, 0.5: tirx.sqrt(x), -1.0: 1 / x}
            if y.value in exponents:
                return exponents[y.value]
        return tirx.pow(x, y)

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if x.dtype.name in FLOATS:
            return np.power(x, y)
        return np.power(x.astype(np.float64), y.astype(np.float64)).astype(x.dtype)

    @classmethod
    def edges(cls, dtype: str) -> np.ndarray:
        return np.array([0, 1, 2, 3, 7], dtype) if dtype in INTEGERS else edges(dtype)


@elementwise("maximum")
class Maximum(Binary):
    """z = the larger of x and y; NaN if either is."""

    def scalar(self, x: Any, y: Any) -> Any:
        if dtype_of(x) in INTEGERS or isinstance(x, tirx.FloatImm):
            return tirx.max(x, y)
        if isinstance(y, tirx.FloatImm):
            return tirx.max(y, x)
        return tirx.Select(tirx.Or(x > y, tirx.isnan(x)), x, y)

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.maximum(x, y)


@elementwise("minimum")
class Minimum(Binary):
    """z = the smaller of x and y; NaN if either is."""

    def scalar(self, x: Any, y: Any) -> Any:
        if dtype_of(x) in INTEGERS or isinstance(x, tirx.FloatImm):
            return tirx.min(x, y)
        if isinstance(y, tirx.FloatImm):
            return tirx.min(y, x)
        return tirx.Select(tirx.Or(x < y, tirx.isnan(x)), x, y)

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.minimum(x, y)


class Comparison(Binary):
    """A binary operator whose result is a bool."""

    result = "bool"


def _number(x: Any) -> Any:
    """A bool as a number: LLVM's vectors of bools cannot be compared."""
    return convert(x, "int8") if dtype_of(x) == "bool" else x


@elementwise("equal")
class Equal(Comparison):
    """z = whether x = y."""

    dtypes = ALL

    def scalar(self, x: Any, y: Any) -> Any:
        return tirx.EQ(*map(_number, (x, y)))

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.equal(x, y)


@elementwise("less")
class Less(Comparison):
    """z = whether x < y."""

    def scalar(self, x: Any, y: Any) -> Any:
        return tirx.LT(x, y)

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.less(x, y)


@elementwise("less_or_equal")
class LessOrEqual(Comparison):
    """z = whether x <= y."""

    def scalar(self, x: Any, y: Any) -> Any:
        return tirx.LE(x, y)

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.less_equal(x, y)


@elementwise("greater")
class Greater(Comparison):
    """z = whether x > y."""

    def scalar(self, x: Any, y: Any) -> Any:
        return tirx.GT(x, y)

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.greater(x, y)


@elementwise("greater_or_equal")
class GreaterOrEqual(Comparison):
    """z = whether x >= y."""

    def scalar(self, x: Any, y: Any) -> Any:
        return tirx.GE(x, y)

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.greater_equal(x, y)


class Logic(Binary):
    """A binary operator on bools."""

    dtypes = ("bool",)


@elementwise("logical_and")
class LogicalAnd(Logic):
    """z = x and y."""

    def scalar(self, x: Any, y: Any) -> Any:
        return tirx.And(x, y)

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.logical_and(x, y)


@elementwise("logical_or")
class LogicalOr(Logic):
    """z = x or y."""

    def scalar(self, x: Any, y: Any) -> Any:
        return tirx.Or(x, y)

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.logical_or(x, y)


@elementwise("logical_xor")
class LogicalXor(Logic):
    """z = either x or y, not both."""

    def scalar(self, x: Any, y: Any) -> Any:
        return tirx.NE(*map(_number, (x, y)))

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.logical_xor(x, y)


@elementwise("prelu")
class Prelu(Binary):
    """y = x if x > 0 else slope * x; the slope broadcasts to the shape of x."""

    dtypes = FLOATS

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (result,) = super().infer(operands)
        x, slope = operands
        check(result.shape == x.shape, f"prelu's slope {slope} does not broadcast to {x}")
        return (result,)

    def scalar(self, x: Any, slope: Any) -> Any:
        return tirx.Select(x > 0, x, x * slope)

    def evaluate(self, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, x * slope)

    samples = cases(
        ({}, (2, 3, 5, 7), (3, 1, 1)),
        ({}, (1, 2, 4, 4, 16), (1, 2, 1, 1, 16)),
        ({}, edges("float32"), (1,)),
        ({}, (17,), ()),
    )


@elementwise("where")
class Where(Elementwise):
    """z = x where the condition holds, else y; all three broadcast."""

    operands = 3
    dtypes = ALL

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 3)
        expect_dtype(self, operands[0], ("bool",))
        dtype = same_dtype(self, operands[1:])
        return (TensorType(broadcast_shapes(*(t.shape for t in operands)), dtype),)

    def scalar(self, condition: Any, x: Any, y: Any) -> Any:
        return tirx.Select(condition, x, y)

    def evaluate(self, condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(condition, x, y)

    samples = joined(
        cases(
            ({}, random((3, 1, 7), "bool"), (3, 5, 1), ()),
            ({}, random((), "bool"), (2, 1), (1, 3)),
            ({}, random((25,), "bool"), edges("float32"), edges("float32")[::-1].copy()),
        ),
        cases(({}, random((17,), "bool"), (17,), (1,)), dtype="int64"),
        cases(({}, random((17,), "bool"), (17,), (2, 1)), dtype="bool"),
    )
