"""Operators of two quantised operands that broadcast."""

from __future__ import annotations

import numpy as np
import tflite

from armlet.compiler.ir import Value
from armlet.compiler.ops.fixed_point import LeadingZeros, ReciprocalFixed, scaled_array
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from ..model import Tensor
from ..registry import handles_integers
from .scales import (
    Scale,
    bounds,
    centred,
    fixed_point,
    multiplied,
    requantized,
    scale_of,
    stored,
)
from .tables import every, looked_up

Tensors = tuple[Tensor, ...]

#: how far operands are moved to the left before they are rounded to a common scale
_ROOM = {"int8": 20, "uint8": 20, "int16": 15}


def _power_of_two(scale: Scale) -> int | None:
    """The exponent of a scale that is a power of two, as LiteRT takes it for one."""
    exponent = float(np.log2(np.float64(scale.scale)))
    near = round(exponent)
    return near if abs(exponent - near) < 1e-3 else None


def _common(b: Emitter, x: Value, scale: Scale, twice: float, room: int) -> Value:
    """x on a scale that it shares with the other operand."""
    wide = b.call("mul", centred(b, x, scale), b.const(1 << room, "int32"))
    return multiplied(b, wide, float(scale.scale) / twice)


def _twice(x: Scale, y: Scale) -> float:
    return 2.0 * float(max(x.scale, y.scale))


def _sum(
    b: Emitter, operator: str, operands: tuple[Value, Value], tensors: Tensors, out: Tensor,
    function: int, pot_scale_int16: bool,
) -> Value:  # fmt: skip
    scales, given = [scale_of(t) for t in tensors[:2]], scale_of(out)
    if given.dtype == "int16" and pot_scale_int16:
        powers = [_power_of_two(s) for s in (*scales, given)]
        if all(p is not None for p in powers):
            return _shifted(b, operator, operands, powers, given, function)  # type: ignore[arg-type]
    twice, room = _twice(*scales), _ROOM[given.dtype]
    parts = [_common(b, v, s, twice, room) for v, s in zip(operands, scales)]
    factor = twice / float(np.float32((1 << room) * given.scale))
    return requantized(b, b.call(operator, *parts), factor, given, function)


def _shifted(
    b: Emitter, operator: str, operands: tuple[Value, Value], powers: list[int], out: Scale,
    function: int,
) -> Value:  # fmt: skip
    """int16 of scales that are powers of two: one operand is shifted to the output's scale."""
    parts = []
    for value, power in zip(operands, powers):
        by = powers[2] - power
        numbers = every("int16").astype(np.int64)
        half = (numbers & ((1 << by) - 1)) > (((1 << by) - 1) >> 1) + (numbers < 0) if by > 0 else 0
        table = (numbers >> max(by, 0)) + half
        shifted = looked_up(b, value, table.astype(np.int16)) if by > 0 else value
        parts.append(b.cast(shifted, "int32"))
    return stored(b, b.call(operator, *parts), out, function)


@handles_integers("ADD", options=tflite.AddOptions)
def add(
    b: Emitter,
    x: Value,
    y: Value,
    *,
    inputs: Tensors,
    outputs: Tensors,
    fused_activation_function: int = 0,
    pot_scale_int16: bool = True,
) -> Value:
    return _sum(b, "add", (x, y), inputs, outputs[0], fused_activation_function, pot_scale_int16)


@handles_integers("SUB", options=tflite.SubOptions)
def sub(
    b: Emitter,
    x: Value,
    y: Value,
    *,
    inputs: Tensors,
    outputs: Tensors,
    fused_activation_function: int = 0,
    pot_scale_int16: bool = True,
) -> Value:
    return _sum(b, "sub", (x, y), inputs, outputs[0], fused_activation_function, pot_scale_int16)


@handles_integers("MUL", options=tflite.MulOptions)
def mul(
    b: Emitter,
    x: Value,
    y: Value,
    *,
    inputs: Tensors,
    outputs: Tensors,
    fused_activation_function: int = 0,
) -> Value:
    left, right, out = scale_of(inputs[0]), scale_of(inputs[1]), scale_of(outputs[0])
    product = b.call("mul", centred(b, x, left), centred(b, y, right))
    factor = left.scale * right.scale / out.scale
    return requantized(b, product, factor, out, fused_activation_function)


@handles_integers("SQUARED_DIFFERENCE", options=tflite.SquaredDifferenceOptions)
def squared_difference(
    b: Emitter, x: Value, y: Value, *, inputs: Tensors, outputs: Tensors
) -> Value:
    left, right, out = scale_of(inputs[0]), scale_of(inputs[1]), scale_of(outputs[0])
    twice, room = _twice(left, right), 7
    difference = b.call("sub", _common(b, x, left, twice, room), _common(b, y, right, twice, room))
    factor = twice * twice / float(np.float32((1 << 2 * room) * out.scale))
    return requantized(b, b.call("mul", difference, difference), factor, out)


@handles_integers("PRELU")
def prelu(b: Emitter, x: Value, alpha: Value, *, inputs: Tensors, outputs: Tensors) -> Value:
    given, slope, out = scale_of(inputs[0]), scale_of(inputs[1]), scale_of(outputs[0])
    wide = centred(b, x, given)
    above = multiplied(b, wide, given.scale / out.scale)
    product = b.call("mul", wide, centred(b, alpha, slope))
    factor = given.scale * slope.scale / out.scale
    below = multiplied(b, product, factor)
    positive = b.call("greater_or_equal", wide, b.full(wide, 0))
    # a factor of 1 only clamps and adds the zero point
    return requantized(b, b.call("where", positive, above, below), 1.0, out)


#: TFLite comparisons -> ours
COMPARISONS = {
    "EQUAL": ("equal", tflite.EqualOptions), "LESS": ("less", tflite.LessOptions),
    "LESS_EQUAL": ("less_or_equal", tflite.LessEqualOptions),
    "GREATER": ("greater", tflite.GreaterOptions),
    "GREATER_EQUAL": ("greater_or_equal", tflite.GreaterEqualOptions),
    "NOT_EQUAL": ("equal", tflite.NotEqualOptions),
}  # fmt: skip


def _register_comparison(operator: str, name: str, options: type) -> None:
    @handles_integers(operator, options=options)
    def comparison(b: Emitter, x: Value, y: Value, *, inputs: Tensors) -> Value:
        # LiteRT compares the order of int16 as they are
        raw = inputs[0].type == "INT16" and name != "equal"
        parts = (x, y) if raw else [_compared(b, v, scale_of(t)) for v, t in zip((x, y), inputs)]
        found = b.call(name, *parts)
        return b.call("logical_not", found) if operator == "NOT_EQUAL" else found


def _compared(b: Emitter, x: Value, scale: Scale) -> Value:
    """x in units of 2^-8, rounded."""
    wide = b.call("mul", centred(b, x, scale), b.const(256, "int32"))
    return multiplied(b, wide, np.float64(scale.scale))


for _operator, (_name, _options) in COMPARISONS.items():
    _register_comparison(_operator, _name, _options)


@handles_integers("DIV", options=tflite.DivOptions)
def div(
    b: Emitter,
    x: Value,
    y: Value,
    *,
    inputs: Tensors,
    outputs: Tensors,
    fused_activation_function: int = 0,
) -> Value:
    """Of two bytes: every quotient is in a table."""
    left, right, out = scale_of(inputs[0]), scale_of(inputs[1]), scale_of(outputs[0])
    if left.dtype == "int16":
        raise Unsupported("quotients of int16 are not supported", way_out="quantise to bytes")
    numbers = [every(s.dtype).astype(np.int64) - s.zero for s in (left, right)]
    quotients = _quotients(
        numbers[0], numbers[1], np.float64(left.scale / (right.scale * out.scale))
    )
    low, high = np.clip(bounds(out, fused_activation_function), *out.limits)
    table = np.clip(quotients + out.zero, low, high).astype(out.dtype)
    places = [b.cast(v, "int32") for v in (x, y)]
    first = [int(every(s.dtype)[0]) for s in (left, right)]
    row = b.call("mul", b.call("sub", places[0], b.const(first[0], "int32")), b.const(256, "int32"))
    place = b.call("add", row, b.call("sub", places[1], b.const(first[1], "int32")))
    return looked_up(b, place, table.reshape(-1))


def _quotients(dividends: np.ndarray, divisors: np.ndarray, factor: float) -> np.ndarray:
    """Each dividend over each divisor (1 in place of 0) times a factor."""
    x = dividends[:, None] * np.where(divisors < 0, -1, 1)
    size = np.maximum(np.abs(divisors), 1).astype(np.int32)
    digits = 31 - LeadingZeros().evaluate(size)
    # as far to the left as a dividend goes
    room = LeadingZeros().evaluate(np.where(x >= 0, x, -2 * x - 1).astype(np.int32)) - (x >= 0)
    wide = scaled_array(x.astype(np.int32), ReciprocalFixed().evaluate(size), -room)
    multiplier, shift = fixed_point(factor)
    return scaled_array(wide.astype(np.int32), multiplier, shift + digits + room)
