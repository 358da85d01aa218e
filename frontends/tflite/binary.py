"""Operators of several operands that broadcast: arithmetic, comparisons, selection."""

from __future__ import annotations

from functools import reduce

import numpy as np
import tflite

from armlet.compiler.ir import Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from .elementwise import activated
from .registry import handles

#: TFLite operators without options, or with a table without fields -> ours
BINARY = {
    "MAXIMUM": ("maximum", tflite.MaximumMinimumOptions),
    "MINIMUM": ("minimum", tflite.MaximumMinimumOptions),
    "POW": ("pow", tflite.PowOptions), "LESS": ("less", tflite.LessOptions),
    "LESS_EQUAL": ("less_or_equal", tflite.LessEqualOptions),
    "GREATER": ("greater", tflite.GreaterOptions),
    "GREATER_EQUAL": ("greater_or_equal", tflite.GreaterEqualOptions),
    "EQUAL": ("equal", tflite.EqualOptions),
    "LOGICAL_AND": ("logical_and", tflite.LogicalAndOptions),
    "LOGICAL_OR": ("logical_or", tflite.LogicalOrOptions),
    # of StableHLO's those for which LiteRT has kernels
    "STABLEHLO_ADD": ("add", None), "STABLEHLO_MULTIPLY": ("mul", None),
    "STABLEHLO_MAXIMUM": ("maximum", None), "STABLEHLO_MINIMUM": ("minimum", None),
}  # fmt: skip


def _register_binary(operator: str, name: str, options: type | None) -> None:
    @handles(operator, options=options)
    def binary(b: Emitter, x: Value, y: Value) -> Value:
        return b.call(name, x, y)


for _operator, (_name, _options) in BINARY.items():
    _register_binary(_operator, _name, _options)


@handles("ADD", options=tflite.AddOptions)
def add(
    b: Emitter,
    x: Value,
    y: Value,
    *,
    fused_activation_function: int = 0,
    pot_scale_int16: bool = True,
) -> Value:
    return activated(b, b.call("add", x, y), fused_activation_function)


@handles("SUB", options=tflite.SubOptions)
def sub(
    b: Emitter,
    x: Value,
    y: Value,
    *,
    fused_activation_function: int = 0,
    pot_scale_int16: bool = True,
) -> Value:
    return activated(b, b.call("sub", x, y), fused_activation_function)


@handles("MUL", options=tflite.MulOptions)
def mul(b: Emitter, x: Value, y: Value, *, fused_activation_function: int = 0) -> Value:
    return activated(b, b.call("mul", x, y), fused_activation_function)


@handles("DIV", options=tflite.DivOptions)
def div(b: Emitter, x: Value, y: Value, *, fused_activation_function: int = 0) -> Value:
    return activated(b, b.call("div", x, y), fused_activation_function)


@handles("ADD_N", options=tflite.AddNOptions)
def add_n(b: Emitter, first: Value, *rest: Value) -> Value:
    return reduce(lambda x, y: b.call("add", x, y), rest, first)


@handles("SQUARED_DIFFERENCE", options=tflite.SquaredDifferenceOptions)
def squared_difference(b: Emitter, x: Value, y: Value) -> Value:
    difference = b.call("sub", x, y)
    return b.call("mul", difference, difference)


@handles("NOT_EQUAL", options=tflite.NotEqualOptions)
def not_equal(b: Emitter, x: Value, y: Value) -> Value:
    return b.call("logical_not", b.call("equal", x, y))


@handles("FLOOR_MOD", options=tflite.FloorModOptions)
def floor_mod(b: Emitter, x: Value, y: Value) -> Value:
    """The remainder that has the sign of the divisor."""
    if x.type.dtype[0] != "f":
        return b.call("mod", x, y, fmod=0)
    rest, zero = b.call("mod", x, y, fmod=1), b.full(x, 0)
    apart = b.call("less", b.call("mul", b.call("sign", rest), b.call("sign", y)), zero)
    return b.call("where", apart, b.call("add", rest, y), rest)


@handles("FLOOR_DIV", options=tflite.FloorDivOptions)
def floor_div(b: Emitter, x: Value, y: Value) -> Value:
    if x.type.dtype[0] == "f":
        return b.call("floor", b.call("div", x, y))
    return b.call("div", b.call("sub", x, b.call("mod", x, y, fmod=0)), y)


@handles("ATAN2", options=tflite.ATan2Options)
def atan2(b: Emitter, y: Value, x: Value) -> Value:
    """The arc tangent of y/x, in the quadrant of (x, y)."""
    zero, pi = b.full(x, 0), b.full(x, np.pi)
    up = b.call("greater_or_equal", y, zero)
    on_axis = b.call("equal", x, zero)
    half = b.call("where", up, b.full(x, np.pi / 2), b.full(x, -np.pi / 2))
    half = b.call("where", b.call("equal", y, zero), zero, half)
    angle = b.call("atan", b.call("div", y, b.call("where", on_axis, b.full(x, 1), x)))
    turn = b.call("where", up, pi, b.call("neg", pi))
    turned = b.call("where", b.call("less", x, zero), b.call("add", angle, turn), angle)
    return b.call("where", on_axis, half, turned)


@handles("SELECT", options=tflite.SelectOptions)
def select(b: Emitter, condition: Value, x: Value, y: Value) -> Value:
    """A condition of one axis chooses whole entries of the first axis."""
    rank = x.type.rank
    if condition.type.rank == 1 and rank > 1 and condition.type.shape[0] == x.type.shape[0]:
        condition = b.reshape(condition, (*condition.type.shape, *[1] * (rank - 1)))
    elif condition.type.rank not in (0, rank):
        raise Unsupported(f"a condition {condition.type} for operands {x.type}")
    return b.call("where", condition, x, y)


@handles("SELECT_V2", options=tflite.SelectV2Options)
def select_v2(b: Emitter, condition: Value, x: Value, y: Value) -> Value:
    return b.call("where", condition, x, y)
