"""Recognise activations that models spell out, and use the one operator for each.

    %1 = sigmoid(%x)                     %y = silu(%x)
    %y = mul(%x, %1)               ->

    %1 = add(%x, 3)                      %y = hard_sigmoid(%x) {alpha=1/6, beta=0.5}
    %2 = clip(%1) {min=0, max=6}   ->
    %y = mul(%2, 1/6)

Runs after ``simplify``, so divisions by constants are multiplications already.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from armlet.compiler.ir import Builder, Function, Match, Rules, Value, any_, call, rewrite, scalar
from armlet.compiler.ops.activation import Gelu, HardSigmoid, HardSwish, LeakyRelu, Silu

rules = Rules()
x = any_("x")


def _clips_0_to_6(op: Any) -> bool:
    return op.min == 0 and op.max == 6


def _sixth_and_half(op: Any) -> bool:
    return math.isclose(op.alpha, 1 / 6, rel_tol=1e-5) and op.beta == 0.5


relu6_of_x_plus_3 = call(
    "clip", call("add", x, scalar("three", 3), commutative=True), where=_clips_0_to_6
)
erf_plus_1 = call(
    "add",
    call("erf", call("mul", x, scalar("r", math.sqrt(0.5)), commutative=True)),
    scalar("one", 1),
    commutative=True,
)


@rules.add(call("mul", relu6_of_x_plus_3, scalar("sixth", 1 / 6), commutative=True))
def hard_sigmoid(m: Match, b: Builder) -> Value | None:
    return b.call(HardSigmoid(1 / 6, 0.5), m["x"])


@rules.add(
    call(
        "mul", call("mul", x, relu6_of_x_plus_3, commutative=True), scalar("sixth", 1 / 6),
        commutative=True,
    )
)  # fmt: skip
def hard_swish_scaled_last(m: Match, b: Builder) -> Value | None:
    return b.call(HardSwish(), m["x"])


@rules.add(call("mul", x, call("hard_sigmoid", x, where=_sixth_and_half), commutative=True))
def hard_swish(m: Match, b: Builder) -> Value | None:
    return b.call(HardSwish(), m["x"])


@rules.add(call("mul", x, call("sigmoid", x), commutative=True))
def silu(m: Match, b: Builder) -> Value | None:
    return b.call(Silu(), m["x"])


@rules.add(
    call("mul", call("mul", x, erf_plus_1, commutative=True), scalar("h", 0.5), commutative=True)
)
def gelu_halved_last(m: Match, b: Builder) -> Value | None:
    return b.call(Gelu(), m["x"])


@rules.add(
    call("mul", call("mul", x, scalar("h", 0.5), commutative=True), erf_plus_1, commutative=True)
)
def gelu_halved_first(m: Match, b: Builder) -> Value | None:
    return b.call(Gelu(), m["x"])


@rules.add(
    call("mul", x, call("mul", erf_plus_1, scalar("h", 0.5), commutative=True), commutative=True)
)
def gelu_halved_inside(m: Match, b: Builder) -> Value | None:
    return b.call(Gelu(), m["x"])


@rules.add(call("maximum", x, call("mul", x, scalar("alpha"), commutative=True), commutative=True))
def leaky_relu(m: Match, b: Builder) -> Value | None:
    alpha = float(m.data("alpha").reshape(()))
    same_type = m["x"].type == m.root.output.type
    floating = np.dtype(m["x"].type.dtype).kind == "f"
    return b.call(LeakyRelu(alpha), m["x"]) if 0 < alpha < 1 and same_type and floating else None


def run(function: Function) -> Function:
    return rewrite(function, rules)
