"""Operators of several operands that broadcast: arithmetic, comparisons, selection."""

from __future__ import annotations

from functools import reduce

import numpy as np

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import Emitter

from .registry import handles

#: ONNX operators of two operands, without attributes -> ours
BINARY = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "And": "logical_and",
    "Or": "logical_or", "Xor": "logical_xor", "Equal": "equal", "Less": "less",
    "LessOrEqual": "less_or_equal", "Greater": "greater", "GreaterOrEqual": "greater_or_equal",
    "PRelu": "prelu",
}  # fmt: skip
#: ONNX operators of any number of operands -> ours of two
VARIADIC = {"Sum": "add", "Max": "maximum", "Min": "minimum"}
#: the opset that brought an operator, where later than 7
SINCE = {"LessOrEqual": 12, "GreaterOrEqual": 12}


def _register_binary(onnx_name: str, name: str) -> None:
    @handles(onnx_name, since=SINCE.get(onnx_name, 1))
    def binary(b: Emitter, x: Value, y: Value) -> Value:
        return b.call(name, x, y)


def _register_variadic(onnx_name: str, name: str) -> None:
    @handles(onnx_name)
    def variadic(b: Emitter, first: Value, *rest: Value) -> Value:
        return reduce(lambda x, y: b.call(name, x, y), rest, first)


for _onnx_name, _name in BINARY.items():
    _register_binary(_onnx_name, _name)
for _onnx_name, _name in VARIADIC.items():
    _register_variadic(_onnx_name, _name)


@handles("Mean")
def mean(b: Emitter, first: Value, *rest: Value) -> Value:
    total = reduce(lambda x, y: b.call("add", x, y), rest, first)
    return b.call("mul", total, b.full(total, 1 / (len(rest) + 1))) if rest else first


@handles("Pow")
def power(b: Emitter, x: Value, y: Value) -> Value:
    """The result has the dtype of the base; the exponent may have another."""
    dtype = x.type.dtype
    if isinstance(y, Const) and np.array_equal(y.data, y.data.astype(dtype)):
        y = b.cast(y, dtype)
    if y.type.dtype == dtype or dtype.startswith("float"):
        return b.call("pow", x, b.cast(y, dtype))
    return b.cast(b.call("pow", b.cast(x, y.type.dtype), y), dtype)


@handles("Mod", since=10)
def mod(b: Emitter, x: Value, y: Value, *, fmod: int = 0) -> Value:
    return b.call("mod", x, y, fmod=fmod)


@handles("Where", since=9)
def where(b: Emitter, condition: Value, x: Value, y: Value) -> Value:
    return b.call("where", condition, x, y)
