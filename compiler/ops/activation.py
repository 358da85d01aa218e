"""Activation functions: elementwise, of one operand.

NaN stays NaN: TIR's ``max(a, b)`` is ``a > b ? a : b``, so the operand that may be NaN is
written second.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .broadcast import FloatUnary, Unary, elementwise
from .elementwise import erf
from .helpers import FLOATS, constant, dtype_of
from .lazy import tirx
from .vector_math import normal_cdf


def _clamp(x: Any, low: float, high: float) -> Any:
    """x within [low, high]."""
    return tirx.min(constant(high, dtype_of(x)), tirx.max(constant(low, dtype_of(x)), x))


def _negative_part(x: Any) -> Any:
    return tirx.min(constant(0, dtype_of(x)), x)


@elementwise("relu")
class Relu(Unary):
    """y = max(x, 0)."""

    def scalar(self, x: Any) -> Any:
        return tirx.max(constant(0, dtype_of(x)), x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, x.dtype.type(0))


@elementwise("leaky_relu")
class LeakyRelu(FloatUnary):
    """y = x if x > 0 else alpha * x."""

    alpha: float = 0.01
    settings = ({}, {"alpha": 0.2}, {"alpha": -1.5})
    widen = False

    def scalar(self, x: Any) -> Any:
        return tirx.Select(x > 0, x, x * constant(self.alpha, dtype_of(x)))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, x * x.dtype.type(self.alpha))


@elementwise("thresholded_relu")
class ThresholdedRelu(FloatUnary):
    """y = x if x > alpha else 0."""

    alpha: float = 1.0
    settings = ({}, {"alpha": -0.25})

    def scalar(self, x: Any) -> Any:
        dtype = dtype_of(x)
        return tirx.Select(x > constant(self.alpha, dtype), x, constant(0, dtype))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.where(x > self.alpha, x, x.dtype.type(0))


@elementwise("clip")
class Clip(Unary):
    """y = x within [min, max]."""

    min: float = -math.inf
    max: float = math.inf
    settings = ({}, {"min": 0.0, "max": 6.0}, {"min": -1.0}, {"max": 2.0})

    def bounds(self, dtype: str) -> tuple[float, float]:
        """The bounds that ``dtype`` can hold."""
        limits = np.finfo(dtype) if dtype in FLOATS else np.iinfo(dtype)
        low = self.min if dtype in FLOATS else max(self.min, int(limits.min))
        high = self.max if dtype in FLOATS else min(self.max, int(limits.max))
        return low, high

    def scalar(self, x: Any) -> Any:
        low, high = self.bounds(dtype_of(x))
        if self.min > -math.inf:
            x = tirx.max(constant(low, dtype_of(x)), x)
        if self.max < math.inf:
            x = tirx.min(constant(high, dtype_of(x)), x)
        return x

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        low, high = (x.dtype.type(b) for b in self.bounds(x.dtype.name))
        return np.minimum(np.maximum(x, low), high)


@elementwise("tanh")
class Tanh(FloatUnary):
    """y = tanh x."""

    def scalar(self, x: Any) -> Any:
        return tirx.tanh(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.tanh(x)


@elementwise("sigmoid")
class Sigmoid(FloatUnary):
    """y = 1 / (1 + e^-x)."""

    def scalar(self, x: Any) -> Any:
        return tirx.sigmoid(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return sigmoid(x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x) without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, x.dtype.type(1)) / (1 + e)


@elementwise("hard_sigmoid")
class HardSigmoid(FloatUnary):
    """y = alpha * x + beta within [0, 1]."""

    alpha: float = 0.2
    beta: float = 0.5
    settings = ({}, {"alpha": 1 / 6, "beta": 0.4})

    def scalar(self, x: Any) -> Any:
        alpha, beta = (constant(v, dtype_of(x)) for v in (self.alpha, self.beta))
        return _clamp(x * alpha + beta, 0, 1)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        kind = x.dtype.type
        return np.clip(x * kind(self.alpha) + kind(self.beta), kind(0), kind(1))


@elementwise("hard_swish")
class HardSwish(FloatUnary):
    """y = x * (x / 6 + 1/2 within [0, 1])."""

    def scalar(self, x: Any) -> Any:
        return x * _clamp(x * constant(1 / 6, dtype_of(x)) + constant(0.5, dtype_of(x)), 0, 1)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return x * np.clip(x / 6 + x.dtype.type(0.5), 0, 1).astype(x.dtype)


@elementwise("silu")
class Silu(FloatUnary):
    """y = x * sigmoid(x)."""

    def scalar(self, x: Any) -> Any:
        return x * tirx.sigmoid(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return x * sigmoid(x)


@elementwise("gelu")
class Gelu(FloatUnary):
    """y = x / 2 * (1 + erf(x / sqrt 2)).

    With approximate="tanh": y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).
    """

    approximate: str = "none"
    settings = ({}, {"approximate": "tanh"})

    def scalar(self, x: Any) -> Any:
        c = lambda v: constant(v, dtype_of(x))  # noqa: E731
        if self.approximate == "tanh":
            gate = tirx.tanh(c(math.sqrt(2 / math.pi)) * (x + c(0.044715) * x * x * x))
        elif dtype_of(x) == "float32":
            return x * normal_cdf(x)
        else:
            gate = tirx.erf(x * c(math.sqrt(0.5)))
        return x * c(0.5) * (c(1) + gate)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64)
        if self.approximate == "tanh":
            gate = np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))
        else:
            gate = erf(wide * math.sqrt(0.5))
        return (wide * 0.5 * (1 + gate)).astype(x.dtype)


@elementwise("softplus")
class Softplus(FloatUnary):
    """y = ln(1 + e^x)."""

    def scalar(self, x: Any) -> Any:
        zero = constant(0, dtype_of(x))
        return tirx.max(zero, x) + tirx.log1p(tirx.exp(zero - tirx.abs(x)))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.logaddexp(x, x.dtype.type(0))


@elementwise("softsign")
class Softsign(FloatUnary):
    """y = x / (1 + |x|)."""

    def scalar(self, x: Any) -> Any:
        return x / (constant(1, dtype_of(x)) + tirx.abs(x))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return x / (1 + np.abs(x))


@elementwise("mish")
class Mish(FloatUnary):
    """y = x * tanh(softplus(x))."""

    def scalar(self, x: Any) -> Any:
        # With e = e^-|x|, tanh(ln(1 + e^x)) is a ratio of polynomials in e: one exponential.
        zero, one, two = (constant(v, dtype_of(x)) for v in (0, 1, 2))
        e = tirx.exp(zero - tirx.abs(x))
        over = tirx.Select(x > zero, one + two * e, e * (e + two))
        return x * over / (over + two * tirx.Select(x > zero, e * e, one))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return x * np.tanh(np.logaddexp(x, x.dtype.type(0)))


@elementwise("elu")
class Elu(FloatUnary):
    """y = x if x > 0 else alpha * (e^x - 1)."""

    alpha: float = 1.0
    settings = ({}, {"alpha": 0.3})

    def scalar(self, x: Any) -> Any:
        one, alpha = (constant(v, dtype_of(x)) for v in (1, self.alpha))
        return tirx.Select(x > 0, x, alpha * (tirx.exp(_negative_part(x)) - one))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0)))


@elementwise("selu")
class Selu(FloatUnary):
    """y = gamma * (x if x > 0 else alpha * (e^x - 1))."""

    alpha: float = 1.6732632423543772
    gamma: float = 1.0507009873554805

    def scalar(self, x: Any) -> Any:
        return constant(self.gamma, dtype_of(x)) * Elu(self.alpha).scalar(x)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return x.dtype.type(self.gamma) * Elu(self.alpha).evaluate(x)


@elementwise("celu")
class Celu(FloatUnary):
    """y = x if x > 0 else alpha * (e^(x / alpha) - 1)."""

    alpha: float = 1.0
    settings = ({}, {"alpha": 2.0})

    def scalar(self, x: Any) -> Any:
        one, alpha = (constant(v, dtype_of(x)) for v in (1, self.alpha))
        return tirx.Select(x > 0, x, alpha * (tirx.exp(_negative_part(x) / alpha) - one))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        alpha = x.dtype.type(self.alpha)
        return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))
