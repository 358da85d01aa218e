"""Recognise layer normalisation over the last axis, and its scale and shift.

    %m = reduce_mean(%x) {axes=[-1]}
    %d = sub(%x, %m)
    %v = reduce_mean(mul(%d, %d)) {axes=[-1]}
    %y = div(%d, sqrt(add(%v, e)))
    ->
    %y = layer_norm(%x, 1, 0) {epsilon=e}

Not when the means are over other axes than the last.
"""

from __future__ import annotations

from typing import Any

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
from armlet.compiler.ops.normalize import LayerNorm
from armlet.compiler.passes.broadcasting import along_axis

rules = Rules()
d = any_("d")


def _over_last_axis(m: Match, name: str, rank: int) -> bool:
    op: Any = m.calls[name].op
    return op.keepdims and tuple(a % rank for a in op.axes) == (rank - 1,)


def _centred(m: Match) -> Value | None:
    """x, where d = x - mean(x) over the last axis."""
    producer = m.function.producers.get(m["d"])  # type: ignore[arg-type]
    if producer is None or producer.op.name != "sub":
        return None
    x, mean = producer.operands
    inner = m.function.producers.get(mean)  # type: ignore[arg-type]
    if inner is None or inner.op.name != "reduce_mean" or inner.operands != (x,):
        return None
    m.calls["mean"] = inner
    return x if _over_last_axis(m, "mean", x.type.rank) else None


@rules.add(
    call(
        "div", d,
        call("sqrt", call(
            "add", call("reduce_mean", call("mul", d, d), bind="variance"), scalar("epsilon"),
            commutative=True,
        )),
    )
)  # fmt: skip
def layer_norm(m: Match, b: Builder) -> Value | None:
    x = _centred(m)
    if x is None or not _over_last_axis(m, "variance", x.type.rank):
        return None
    width = x.type.shape[-1]
    if not isinstance(width, int) or x.type.dtype != "float32":
        return None
    epsilon = float(m.data("epsilon").reshape(()))
    ones, zeros = np.ones(width, "f"), np.zeros(width, "f")
    return b.call(LayerNorm(-1, epsilon), x, b.const(ones, "scale"), b.const(zeros, "shift"))


normalised = call(
    "layer_norm", any_("x"), const("scale"), const("shift"), single_reader=True, bind="norm"
)


def _last_axis_only(m: Match) -> bool:
    op: Any = m.calls["norm"].op
    return op.axis in (-1, m["x"].type.rank - 1) and m.root.output.type == m["x"].type


@rules.add(call("mul", normalised, const("s"), commutative=True))
def scale_of_layer_norm(m: Match, b: Builder) -> Value | None:
    s = along_axis(m.data("s"), m["x"].type, -1)
    if s is None or not _last_axis_only(m):
        return None
    scale, shift = b.const(m.data("scale") * s, "scale"), b.const(m.data("shift") * s, "shift")
    return b.call(m.calls["norm"].op, m["x"], scale, shift, source=m.calls["norm"].source)


@rules.add(call("add", normalised, const("t"), commutative=True))
def shift_of_layer_norm(m: Match, b: Builder) -> Value | None:
    t = along_axis(m.data("t"), m["x"].type, -1)
    if t is None or not _last_axis_only(m):
        return None
    shift = b.const(m.data("shift") + t, "shift")
    return b.call(m.calls["norm"].op, m["x"], m["scale"], shift, source=m.calls["norm"].source)


def run(function: Function) -> Function:
    return rewrite(function, rules)
