"""Operators of one operand that look at one element at a time."""

from __future__ import annotations

import numpy as np

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from .registry import handles
from .tensors import dtype_of

#: ONNX operators without attributes -> ours
UNARY = {
    "Abs": "abs", "Neg": "neg", "Exp": "exp", "Log": "log", "Sqrt": "sqrt",
    "Reciprocal": "reciprocal", "Floor": "floor", "Ceil": "ceil", "Round": "round",
    "Sign": "sign", "Sin": "sin", "Cos": "cos", "Tan": "tan", "Asin": "asin", "Acos": "acos",
    "Atan": "atan", "Sinh": "sinh", "Cosh": "cosh", "Asinh": "asinh", "Acosh": "acosh",
    "Atanh": "atanh", "Erf": "erf", "Tanh": "tanh", "Sigmoid": "sigmoid", "Relu": "relu",
    "Softplus": "softplus", "Softsign": "softsign", "HardSwish": "hard_swish", "Mish": "mish",
    "Not": "logical_not", "IsNaN": "is_nan",
}  # fmt: skip
#: the opset that brought an operator, where later than 7
SINCE = {
    "Round": 11, "Sign": 9, "Sinh": 9, "Cosh": 9, "Asinh": 9, "Acosh": 9, "Atanh": 9, "Erf": 9,
    "HardSwish": 14, "Mish": 18, "IsNaN": 9,
}  # fmt: skip


def _register_unary(onnx_name: str, name: str) -> None:
    @handles(onnx_name, since=SINCE.get(onnx_name, 1))
    def unary(b: Emitter, x: Value) -> Value:
        return b.call(name, x)


for _onnx_name, _name in UNARY.items():
    _register_unary(_onnx_name, _name)


@handles("Identity")
def identity(b: Emitter, x: Value) -> Value:
    return x


@handles("LeakyRelu")
def leaky_relu(b: Emitter, x: Value, *, alpha: float = 0.01) -> Value:
    return b.call("leaky_relu", x, alpha=alpha)


@handles("Elu")
def elu(b: Emitter, x: Value, *, alpha: float = 1.0) -> Value:
    return b.call("elu", x, alpha=alpha)


@handles("Celu", since=12)
def celu(b: Emitter, x: Value, *, alpha: float = 1.0) -> Value:
    return b.call("celu", x, alpha=alpha)


@handles("Selu")
def selu(
    b: Emitter, x: Value, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805
) -> Value:
    return b.call("selu", x, alpha=alpha, gamma=gamma)


@handles("HardSigmoid")
def hard_sigmoid(b: Emitter, x: Value, *, alpha: float = 0.2, beta: float = 0.5) -> Value:
    return b.call("hard_sigmoid", x, alpha=alpha, beta=beta)


@handles("ThresholdedRelu", since=10)
def thresholded_relu(b: Emitter, x: Value, *, alpha: float = 1.0) -> Value:
    return b.call("thresholded_relu", x, alpha=alpha)


@handles("Gelu", since=20)
def gelu(b: Emitter, x: Value, *, approximate: str = "none") -> Value:
    if approximate not in ("none", "tanh"):
        raise Unsupported(f"{approximate!r} is unknown", attribute="approximate")
    return b.call("gelu", x, approximate=approximate)


@handles("Swish", since=24)
def swish(b: Emitter, x: Value, *, alpha: float = 1.0) -> Value:
    if alpha == 1.0:
        return b.call("silu", x)
    return b.call("mul", x, b.call("sigmoid", b.call("mul", x, b.full(x, alpha))))


@handles("Shrink", since=9)
def shrink(b: Emitter, x: Value, *, bias: float = 0.0, lambd: float = 0.5) -> Value:
    below = b.call("less", x, b.full(x, -lambd))
    above = b.call("greater", x, b.full(x, lambd))
    lower = b.call("add", x, b.full(x, bias))
    upper = b.call("where", above, b.call("sub", x, b.full(x, bias)), b.full(x, 0))
    return b.call("where", below, lower, upper)


@handles("IsInf", since=10)
def is_inf(b: Emitter, x: Value, *, detect_negative: int = 1, detect_positive: int = 1) -> Value:
    if detect_negative and detect_positive:
        return b.call("is_inf", x)
    if not detect_negative and not detect_positive:
        return b.call("less", x, b.full(x, -np.inf))
    return b.call("equal", x, b.full(x, -np.inf if detect_negative else np.inf))


@handles("Clip")
def clip(b: Emitter, x: Value, min: Value | None = None, max: Value | None = None) -> Value:
    low, high = _number(min, -np.inf), _number(max, np.inf)
    if low is not None and high is not None and x.type.dtype.startswith("float"):
        return x if (low, high) == (-np.inf, np.inf) else b.call("clip", x, min=low, max=high)
    if min is not None:
        x = b.call("maximum", x, min)
    return x if max is None else b.call("minimum", x, max)


def _number(bound: Value | None, absent: float) -> float | None:
    """A bound that is one number known at compile time, or ``absent`` where there is none."""
    if bound is None:
        return absent
    return float(bound.data.item()) if isinstance(bound, Const) and bound.data.size == 1 else None


@handles("Cast")
def cast(b: Emitter, x: Value, *, to: int, saturate: int = 1, round_mode: str = "up") -> Value:
    # saturate and round_mode concern the 8-bit floats, which dtype_of refuses
    try:
        return b.cast(x, dtype_of(to))
    except Unsupported as error:
        raise Unsupported(error.reason, attribute="to", way_out=error.way_out) from None


@handles("CastLike", since=15)
def cast_like(
    b: Emitter, x: Value, target: Value, *, saturate: int = 1, round_mode: str = "up"
) -> Value:
    return b.cast(x, target.type.dtype)


@handles("Dropout")
def dropout(
    b: Emitter,
    data: Value,
    ratio: Value | None = None,
    training_mode: Const | None = None,
    *,
    seed: int = 0,
) -> tuple[Value, ...]:
    if training_mode is not None and training_mode.data.any():
        raise Unsupported("the model is in training mode", way_out="export it for inference")
    if not data.type.is_static:
        return (data,)
    return data, b.call("expand", b.const(np.bool_(True)), shape=data.type.shape)
