"""Mathematical functions, predicates and casts of one operand, elementwise.

Adding one: a class with ``scalar`` (TIR) and ``evaluate`` (NumPy); the base brings the rest.
Transcendental functions are TIR's own intrinsics; ``vector_math.py`` says what becomes of
them on a CPU. Activations are in ``activation.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from armlet.compiler.ir import TensorType

from .broadcast import FloatUnary, Unary, elementwise
from .helpers import (
    ALL,
    FLOATS,
    SIGNED,
    cases,
    check,
    constant,
    convert,
    dtype_of,
    edges,
    expect_operands,
    random,
)
from .lazy import tirx


@elementwise("abs")
class Abs(Unary):
    """y = |x|."""

    def scalar(self, x: Any) -> Any:
        return x if dtype_of(x).startswith("uint") else tirx.abs(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.abs(x)


@elementwise("neg")
class Neg(Unary):
    """y = -x."""

    dtypes = FLOATS + SIGNED

    def scalar(self, x: Any) -> Any:
        return x * constant(-1, dtype_of(x))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.negative(x)


@elementwise("sign")
class Sign(Unary):
    """y = 1, 0 or -1, or NaN for NaN."""

    def scalar(self, x: Any) -> Any:
        zero, one = (constant(v, dtype_of(x)) for v in (0, 1))
        if dtype_of(x).startswith("uint"):
            return tirx.min(x, one)
        return tirx.Select(x > zero, one, tirx.Select(x < zero, zero - one, x))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.sign(x)


@elementwise("exp")
class Exp(FloatUnary):
    """y = e^x."""

    def scalar(self, x: Any) -> Any:
        return tirx.exp(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.exp(x)


@elementwise("log")
class Log(FloatUnary):
    """y = ln x."""

    def scalar(self, x: Any) -> Any:
        return tirx.log(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.log(x)


@elementwise("sqrt")
class Sqrt(FloatUnary):
    """y = square root of x."""

    def scalar(self, x: Any) -> Any:
        return tirx.sqrt(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.sqrt(x)


@elementwise("reciprocal")
class Reciprocal(FloatUnary):
    """y = 1 / x."""

    def scalar(self, x: Any) -> Any:
        return constant(1, dtype_of(x)) / x

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.reciprocal(x)


@elementwise("floor")
class Floor(FloatUnary):
    """y = the largest integer not above x."""

    def scalar(self, x: Any) -> Any:
        return tirx.floor(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.floor(x)


@elementwise("ceil")
class Ceil(FloatUnary):
    """y = the smallest integer not below x."""

    def scalar(self, x: Any) -> Any:
        return tirx.ceil(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.ceil(x)


@elementwise("round")
class Round(FloatUnary):
    """y = the nearest integer; the even one of two that are equally near."""

    def scalar(self, x: Any) -> Any:
        return tirx.nearbyint(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.rint(x)


@elementwise("sin")
class Sin(FloatUnary):
    """y = sin x."""

    def scalar(self, x: Any) -> Any:
        return tirx.sin(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.sin(x)


@elementwise("cos")
class Cos(FloatUnary):
    """y = cos x."""

    def scalar(self, x: Any) -> Any:
        return tirx.cos(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.cos(x)


@elementwise("tan")
class Tan(FloatUnary):
    """y = tan x."""

    def scalar(self, x: Any) -> Any:
        return tirx.tan(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.tan(x)


@elementwise("asin")
class Asin(FloatUnary):
    """y = arcsin x."""

    def scalar(self, x: Any) -> Any:
        return tirx.asin(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.arcsin(x)


@elementwise("acos")
class Acos(FloatUnary):
    """y = arccos x."""

    def scalar(self, x: Any) -> Any:
        return tirx.acos(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.arccos(x)


@elementwise("atan")
class Atan(FloatUnary):
    """y = arctan x."""

    def scalar(self, x: Any) -> Any:
        return tirx.atan(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.arctan(x)


def _hyperbolic(name: str, x: Any) -> Any:
    """TIR's intrinsic, which TVM does not lower for vectors of float64: then libm's function."""
    if dtype_of(x) == "float64":
        return tirx.call_pure_extern("float64", name, x)
    return getattr(tirx, name)(x)


@elementwise("sinh")
class Sinh(FloatUnary):
    """y = sinh x."""

    def scalar(self, x: Any) -> Any:
        return _hyperbolic("sinh", x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.sinh(x)


@elementwise("cosh")
class Cosh(FloatUnary):
    """y = cosh x."""

    def scalar(self, x: Any) -> Any:
        return _hyperbolic("cosh", x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.cosh(x)


@elementwise("asinh")
class Asinh(FloatUnary):
    """y = arsinh x."""

    def scalar(self, x: Any) -> Any:
        return tirx.asinh(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.arcsinh(x)


@elementwise("acosh")
class Acosh(FloatUnary):
    """y = arcosh x."""

    def scalar(self, x: Any) -> Any:
        return tirx.acosh(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.arccosh(x)


@elementwise("atanh")
class Atanh(FloatUnary):
    """y = artanh x."""

    def scalar(self, x: Any) -> Any:
        return tirx.atanh(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.arctanh(x)


@elementwise("erf")
class Erf(FloatUnary):
    """y = 2 / sqrt(pi) * integral of e^(-t^2) from 0 to x."""

    def scalar(self, x: Any) -> Any:
        return tirx.erf(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return erf(x)


def erf(x: np.ndarray) -> np.ndarray:
    """The error function, which NumPy lacks, by ``math.erf``."""
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype)


@elementwise("logical_not")
class LogicalNot(Unary):
    """y = not x."""

    dtypes = ("bool",)

    def scalar(self, x: Any) -> Any:
        return tirx.Not(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.logical_not(x)


@elementwise("is_nan")
class IsNan(FloatUnary):
    """y = whether x is NaN."""

    result, widen = "bool", False

    def scalar(self, x: Any) -> Any:
        return tirx.isnan(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.isnan(x)


@elementwise("is_inf")
class IsInf(FloatUnary):
    """y = whether x is an infinity."""

    result, widen = "bool", False

    def scalar(self, x: Any) -> Any:
        return tirx.EQ(tirx.abs(x), constant(np.inf, dtype_of(x)))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.isinf(x)


@elementwise("cast")
class Cast(Unary):
    """y = x as dtype ``to``: floats become integers towards zero; bool is whether x != 0.

    What an integer too small to hold x becomes is not defined.
    """

    half = False  # it says itself what it makes

    to: str = "float32"
    dtypes = ALL

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        check(self.to in ALL, f"cast to an unknown dtype {self.to!r}")
        return (operands[0].with_dtype(self.to),)

    def scalar(self, x: Any) -> Any:
        return convert(x, self.to)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return x.astype(self.to)

    samples = cases(
        ({}, random((3, 7), "int64")),
        ({}, random((17,), "bool")),
        ({"to": "int32"}, 10 * random((5, 5))),
        ({"to": "int64"}, random((), "int8")),
        ({"to": "uint8"}, np.abs(random((33,)) * 50)),
        ({"to": "bool"}, edges("float32")),
        ({"to": "bool"}, random((33,), "int32")),
        ({"to": "float16"}, random((1, 2, 3, 1, 16))),
        ({"to": "float64"}, edges("float32")),
    )


@elementwise("copy")
class Copy(Unary):
    """y = x, in storage of its own: a result that would otherwise share another value's."""

    def scalar(self, x: Any) -> Any:
        return x

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return x.copy()
