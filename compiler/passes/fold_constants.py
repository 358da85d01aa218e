"""Evaluate what is known at compile time.

    const $a, $b                         const $y = a * b
    %y = mul($a, $b)               ->

Not when the result would be much larger than what it is made of (an expanded scalar):
the artifact would carry it. ``run_early`` leaves what later passes look for: a ``dequantize`` of
weights, which integer arithmetic reads as they are; what it did not take is floats after all.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from armlet.compiler.ir import Builder, Call, Const, Function, Value, transform
from armlet.compiler.ops import Op

#: a folded constant may be so much larger than its operands
MAX_GROWTH_BYTES = 64 * 1024


def _visit(call: Call, b: Builder) -> Iterable[Value] | None:
    if not all(isinstance(v, Const) for v in call.operands) or not isinstance(call.op, Op):
        return None
    before = sum(v.type.bytes for v in call.operands)
    if not call.op.late and sum(v.type.bytes for v in call.outputs) > before + MAX_GROWTH_BYTES:
        return None
    with np.errstate(all="ignore"):
        results = call.op.evaluate(*(v.data for v in call.operands if isinstance(v, Const)))
    results = results if isinstance(results, tuple) else (results,)
    return [
        b.const(np.asarray(data, var.type.dtype), name=var.name)
        for var, data in zip(call.outputs, results, strict=True)
    ]


def _visit_early(call: Call, b: Builder) -> Iterable[Value] | None:
    return None if isinstance(call.op, Op) and call.op.late else _visit(call, b)


def run_early(function: Function) -> Function:
    return transform(function, _visit_early)


def run(function: Function) -> Function:
    return transform(function, _visit)
