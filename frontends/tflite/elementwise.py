"""Operators of one operand that look at one element at a time."""

from __future__ import annotations

import tflite

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from .model import Tensor
from .registry import handles
from .tensors import dtype_of

#: TFLite operators without options -> ours
UNARY = {
    "FLOOR": "floor", "CEIL": "ceil", "LOG": "log", "SQRT": "sqrt", "SIN": "sin",
    "RELU": "relu", "LOGISTIC": "sigmoid", "TANH": "tanh", "ELU": "elu", "ROUND": "round",
}  # fmt: skip
#: those whose options are a table without fields
EMPTY = {
    "ABS": ("abs", tflite.AbsOptions), "COS": ("cos", tflite.CosOptions),
    "EXP": ("exp", tflite.ExpOptions), "NEG": ("neg", tflite.NegOptions),
    "SIGN": ("sign", tflite.SignOptions), "HARD_SWISH": ("hard_swish", tflite.HardSwishOptions),
    "LOGICAL_NOT": ("logical_not", tflite.LogicalNotOptions),
}  # fmt: skip
#: activations that cut off
CLIPPED = {"RELU_N1_TO_1": (-1.0, 1.0), "RELU6": (0.0, 6.0), "RELU_0_TO_1": (0.0, 1.0)}

_Fused = tflite.ActivationFunctionType


def _register_unary(operator: str, name: str, options: type | None) -> None:
    @handles(operator, options=options)
    def unary(b: Emitter, x: Value) -> Value:
        return b.call(name, x)


def _register_clipped(operator: str, low: float, high: float) -> None:
    @handles(operator)
    def clipped(b: Emitter, x: Value) -> Value:
        return b.call("clip", x, min=low, max=high)


for _operator, _name in UNARY.items():
    _register_unary(_operator, _name, None)
for _operator, (_name, _options) in EMPTY.items():
    _register_unary(_operator, _name, _options)
for _operator, _bounds in CLIPPED.items():
    _register_clipped(_operator, *_bounds)


def activated(b: Emitter, x: Value, function: int) -> Value:
    """``x`` after the activation that is fused into an operator."""
    if function == _Fused.NONE:
        return x
    if function == _Fused.RELU:
        # of integers, too
        return b.call("maximum", x, b.full(x, 0)) if x.type.dtype[0] != "f" else b.call("relu", x)
    if function in (_Fused.RELU_N1_TO_1, _Fused.RELU6):
        low, high = (-1.0, 1.0) if function == _Fused.RELU_N1_TO_1 else (0.0, 6.0)
        if x.type.dtype[0] != "f":
            return b.call("minimum", b.call("maximum", x, b.full(x, low)), b.full(x, high))
        return b.call("clip", x, min=low, max=high)
    # LiteRT's kernels take no notice of others than these, but for recurrences
    raise Unsupported(f"{function} is not supported", attribute="fused_activation_function")


@handles("LEAKY_RELU", options=tflite.LeakyReluOptions)
def leaky_relu(b: Emitter, x: Value, *, alpha: float) -> Value:
    return b.call("leaky_relu", x, alpha=alpha)


@handles("GELU", options=tflite.GeluOptions)
def gelu(b: Emitter, x: Value, *, approximate: bool = False) -> Value:
    return b.call("gelu", x, approximate="tanh" if approximate else "none")


@handles("PRELU")
def prelu(b: Emitter, x: Value, alpha: Value) -> Value:
    return b.call("prelu", x, alpha)


@handles("SQUARE", options=tflite.SquareOptions)
def square(b: Emitter, x: Value) -> Value:
    return b.call("mul", x, x)


@handles("RSQRT")
def reciprocal_square_root(b: Emitter, x: Value) -> Value:
    return b.call("reciprocal", b.call("sqrt", x))


@handles("ZEROS_LIKE", options=tflite.ZerosLikeOptions)
def zeros_like(b: Emitter, x: Value) -> Value:
    return b.call("expand", b.full(x, 0), shape=b.static(x))


@handles("CAST", options=tflite.CastOptions)
def cast(
    b: Emitter,
    x: Value,
    *,
    in_data_type: int = 0,
    out_data_type: int = 0,
    outputs: tuple[Tensor, ...],
) -> Value:
    # LiteRT goes by the tensors: older converters do not write the options
    return b.cast(x, dtype_of(outputs[0]))


@handles("DEQUANTIZE", options=tflite.DequantizeOptions)
def dequantize(b: Emitter, x: Value) -> Value:
    """float16 to float32."""
    return b.cast(x, "float32")


@handles("DENSIFY", options=tflite.DensifyOptions)
def densify(b: Emitter, x: Const) -> Value:
    # a sparse constant is given its zeros where it is read
    return x
