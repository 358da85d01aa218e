"""Make batch normalisation of inference a scale and a shift (``fold_scale`` takes them on).

    %y = batch_norm(%x, $scale, $b, $mean, $var) {epsilon=e}
    ->
    %1 = mul(%x, $s)                     s = scale / sqrt(var + e)
    %y = add(%1, $t)                     t = b - mean * s

Computed in float64: the division loses most where the variance is small.
"""

from __future__ import annotations

import numpy as np

from armlet.compiler.ir import Builder, Function, Match, Rules, Value, any_, call, const, rewrite
from armlet.compiler.ops.binary import Add, Mul

rules = Rules()


@rules.add(call("batch_norm", any_("x"), const("scale"), const("b"), const("mean"), const("var")))
def scale_and_shift(m: Match, b: Builder) -> Value | None:
    scale, shift, mean, var = (m.data(n).astype("d") for n in ("scale", "b", "mean", "var"))
    s = scale / np.sqrt(var + m.root.op.epsilon)  # type: ignore[attr-defined]
    t = shift - mean * s
    x = m["x"]
    shape = (1, -1) + (1,) * (x.type.rank - 2)
    dtype = x.type.dtype
    scaled = b.call(Mul(), x, b.const(s.reshape(shape).astype(dtype), "scale"))
    return b.call(Add(), scaled, b.const(t.reshape(shape).astype(dtype), "shift"))


def run(function: Function) -> Function:
    return rewrite(function, rules)
