"""Algebra: drop what does nothing, prefer what costs less.

    %y = mul(%x, 1)                ->    %x
    %y = pow(%x, 2)                ->    %y = mul(%x, %x)
    %y = reshape(reshape(%x))      ->    %y = reshape(%x)
    %y = div(%x, $c)               ->    %y = mul(%x, $1/c)      (floating point)

Rules keep the type of what they replace; none widens a rounding error beyond one ulp.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armlet.compiler.ir import (
    Builder,
    Function,
    Match,
    Rules,
    Value,
    any_,
    call,
    const,
    rewrite,
    scalar,
)  # fmt: skip
from armlet.compiler.ops.activation import Relu
from armlet.compiler.ops.binary import Add, Mul
from armlet.compiler.ops.elementwise import Reciprocal, Sqrt
from armlet.compiler.ops.shape import Reshape, Transpose

rules = Rules()
x, y = any_("x"), any_("y")


def _same_type(m: Match) -> Value | None:
    return m["x"] if m["x"].type == m.root.output.type else None


def _is_float(m: Match) -> bool:
    return np.dtype(m["x"].type.dtype).kind == "f"


def _all(value: float) -> Callable[[np.ndarray], bool]:
    return lambda data: bool(np.all(data == value))


def _has_reciprocal(data: np.ndarray) -> bool:
    with np.errstate(all="ignore"):
        return bool(np.all(np.isfinite(1 / data) & (data != 0)))


@rules.add(call("mul", x, const("one", _all(1)), commutative=True))
def drop_multiplication_by_one(m: Match, b: Builder) -> Value | None:
    return _same_type(m)


@rules.add(call("div", x, const("one", _all(1))))
def drop_division_by_one(m: Match, b: Builder) -> Value | None:
    return _same_type(m)


@rules.add(call("add", x, const("zero", _all(0)), commutative=True))
def drop_addition_of_zero(m: Match, b: Builder) -> Value | None:
    return _same_type(m)


@rules.add(call("sub", x, const("zero", _all(0))))
def drop_subtraction_of_zero(m: Match, b: Builder) -> Value | None:
    return _same_type(m)


@rules.add(call("sub", x, const("c")))
def subtraction_of_constant_is_addition(m: Match, b: Builder) -> Value | None:
    return b.call(Add(), m["x"], b.const(-m.data("c"), "c")) if _is_float(m) else None


@rules.add(call("div", x, const("c", _has_reciprocal)))
def division_by_constant_is_multiplication(m: Match, b: Builder) -> Value | None:
    if not _is_float(m):
        return None
    c = m.data("c")
    return b.call(Mul(), m["x"], b.const((1 / c.astype("d")).astype(c.dtype), "c"))


@rules.add(call("mul", call("add", x, const("t"), single_reader=True, bind="add"), const("s")))
def scale_before_shift(m: Match, b: Builder) -> Value | None:
    """(x + t) * s = x * s + t * s, so that both can go on into a convolution before them."""
    producer = m.function.producers.get(m["x"])  # type: ignore[arg-type]
    if producer is None or producer.op.name not in ("conv2d", "conv_transpose2d", "matmul"):
        return None
    if m["x"].type != m.root.output.type:
        return None
    scaled = b.call(Mul(), m["x"], m["s"])
    return b.call(Add(), scaled, b.const(m.data("t") * m.data("s"), "shift"))


@rules.add(call("pow", x, scalar("exponent", 1)))
def first_power(m: Match, b: Builder) -> Value | None:
    return _same_type(m)


@rules.add(call("pow", x, scalar("exponent", 2)))
def square(m: Match, b: Builder) -> Value | None:
    return b.call(Mul(), m["x"], m["x"]) if m["x"].type == m.root.output.type else None


@rules.add(call("pow", x, scalar("exponent", 0.5)))
def square_root(m: Match, b: Builder) -> Value | None:
    return b.call(Sqrt(), m["x"]) if _same_type(m) and _is_float(m) else None


@rules.add(call("pow", x, scalar("exponent", -1)))
def reciprocal(m: Match, b: Builder) -> Value | None:
    return b.call(Reciprocal(), m["x"]) if _same_type(m) and _is_float(m) else None


@rules.add(call("cast", x))
def drop_cast(m: Match, b: Builder) -> Value | None:
    return _same_type(m)


@rules.add(call("expand", x))
def drop_expand(m: Match, b: Builder) -> Value | None:
    return _same_type(m)


@rules.add(call("neg", call("neg", x)))
def drop_double_negation(m: Match, b: Builder) -> Value | None:
    return m["x"]


@rules.add(call("relu", call("relu", x)))
def drop_second_relu(m: Match, b: Builder) -> Value | None:
    return b.call(Relu(), m["x"])


@rules.add(call("clip", x))
def clip_at_zero_is_relu(m: Match, b: Builder) -> Value | None:
    low, high = m.root.op.min, m.root.op.max  # type: ignore[attr-defined]
    if not _is_float(m) or high != np.inf:
        return None
    if low == -np.inf:
        return m["x"]
    return b.call(Relu(), m["x"]) if low == 0 else None


@rules.add(call("reshape", x))
def drop_reshape(m: Match, b: Builder) -> Value | None:
    return _same_type(m)


@rules.add(call("reshape", call("reshape", x)))
def reshape_once(m: Match, b: Builder) -> Value | None:
    return b.call(m.root.op, m["x"])


@rules.add(call("transpose", x))
def drop_transpose(m: Match, b: Builder) -> Value | None:
    perm = m.root.op.perm  # type: ignore[attr-defined]
    return m["x"] if perm == tuple(range(len(perm))) else None


@rules.add(call("transpose", x))
def transpose_of_unit_axes_is_reshape(m: Match, b: Builder) -> Value | None:
    """Only axes of extent 1 move: the bytes stay where they are."""
    perm, shape = m.root.op.perm, m["x"].type.shape  # type: ignore[attr-defined]
    moved = [axis for axis in perm if shape[axis] != 1]
    if moved != sorted(moved) or not m["x"].type.is_static:
        return None
    return b.call(Reshape(m.root.output.type.shape), m["x"])


@rules.add(call("transpose", call("transpose", x, bind="first")))
def transpose_once(m: Match, b: Builder) -> Value | None:
    first, second = m.calls["first"].op.perm, m.root.op.perm  # type: ignore[attr-defined]
    return b.call(Transpose(tuple(first[axis] for axis in second)), m["x"])


@rules.add(call("slice", x))
def drop_slice(m: Match, b: Builder) -> Value | None:
    if any(step != 1 for step in m.root.op.steps):  # type: ignore[attr-defined]
        return None
    return _same_type(m)


@rules.add(call("concat", x))
def drop_concat_of_one(m: Match, b: Builder) -> Value | None:
    return _same_type(m)


@rules.add(call("pad", x))
def drop_pad(m: Match, b: Builder) -> Value | None:
    op = m.root.op
    nothing = not any(op.before) and not any(op.after)  # type: ignore[attr-defined]
    return m["x"] if nothing else None


def run(function: Function) -> Function:
    return rewrite(function, rules)
