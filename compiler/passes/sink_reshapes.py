"""Let elementwise operators see the tensor before a reshape, so that reshapes meet and cancel.

    %1 = reshape(%x) {shape=[1,8,64]}          %1 = relu(%x)
    %2 = relu(%1)                        ->    %2 = reshape(%1) {shape=[1,8,64]}

Convolutions of one axis come as conv2d between two reshapes; with those out of the way a
chain of them stays in one layout. Not when %1 has another reader, nor past a constant that
varies along an axis which the reshape cuts or merges.
"""

from __future__ import annotations

import numpy as np

from armlet.compiler.ir import (
    Builder,
    Function,
    Match,
    Rules,
    Shape,
    Value,
    any_,
    call,
    const,
    rewrite,
)  # fmt: skip
from armlet.compiler.ops import OPERATORS, Fusion
from armlet.compiler.ops.shape import Reshape

_ELEMENTWISE = tuple(sorted(n for n, op in OPERATORS.items() if op.fusion is Fusion.ELEMENTWISE))
reshaped = call("reshape", any_("x"), single_reader=True, bind="reshape")
rules = Rules()


def before_reshape(data: np.ndarray, before: Shape, after: Shape) -> np.ndarray | None:
    """A constant for a tensor of shape ``after``, as one for the same tensor of shape ``before``.

    The two shapes may differ in axes of extent 1 only, unless the constant has one element.
    """
    if data.size == 1:
        return data.reshape(())
    kept = [d for d in after if d != 1]
    if data.ndim > len(after) or kept != [d for d in before if d != 1]:
        return None
    extents = (1,) * (len(after) - data.ndim) + data.shape
    moved = iter(e for e, d in zip(extents, after) if d != 1)
    return data.reshape([1 if d == 1 else next(moved) for d in before])


def _reshape_after(m: Match, b: Builder, result: Value) -> Value:
    return b.call(Reshape(m.root.output.type.shape), result)


@rules.add(call(_ELEMENTWISE, reshaped))
def past_one_operand(m: Match, b: Builder) -> Value | None:
    return _reshape_after(m, b, b.call(m.root.op, m["x"]))


@rules.add(call(_ELEMENTWISE, reshaped, call("reshape", any_("y"), single_reader=True)))
def past_two_operands(m: Match, b: Builder) -> Value | None:
    x, y = m["x"], m["y"]
    same_after = len({v.type.shape for v in (*m.root.operands, m.root.output)}) == 1
    if x.type.shape != y.type.shape or not same_after:
        return None
    return _reshape_after(m, b, b.call(m.root.op, x, y))


def _past_constant(m: Match, b: Builder, constant_first: bool) -> Value | None:
    after = m.calls["reshape"].output.type.shape
    if m.root.output.type.shape != after:
        return None
    table = m.root.op.tables and not constant_first  # type: ignore[attr-defined]
    data = m.data("c") if table else before_reshape(m.data("c"), m["x"].type.shape, after)
    if data is None:
        return None
    c = b.const(data, "c")
    operands = (c, m["x"]) if constant_first else (m["x"], c)
    return _reshape_after(m, b, b.call(m.root.op, *operands))


@rules.add(call(_ELEMENTWISE, reshaped, const("c")))
def past_second_constant(m: Match, b: Builder) -> Value | None:
    return _past_constant(m, b, constant_first=False)


@rules.add(call(_ELEMENTWISE, const("c"), reshaped))
def past_first_constant(m: Match, b: Builder) -> Value | None:
    return _past_constant(m, b, constant_first=True)


def run(function: Function) -> Function:
    return rewrite(function, rules)
