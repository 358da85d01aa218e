"""Compute in float32 what the model says in float16; parameters and results keep their type.

    %y = relu(%x) : f16[4]         ->    %1 = cast(%x) {to="float32"} : f32[4]
                                         %2 = relu(%1) : f32[4]
                                         %y = cast(%2) {to="float16"} : f16[4]

No target that armlet compiles for calculates faster in half precision than in single, and the
weights, converted at compile time, save conversions in every loop. Inner values are rounded
less than the model says.
"""

from __future__ import annotations

import numpy as np

from armlet.compiler.ir import Builder, Function, Operator, Value
from armlet.compiler.ops.elementwise import Cast

HALF, SINGLE = "float16", "float32"


def _wide(op: Operator) -> Operator:
    return Cast(SINGLE) if op == Cast(HALF) else op


def run(function: Function) -> Function:
    every = [v.type.dtype for c in function for v in (*c.operands, *c.outputs)]
    if HALF not in every:
        return function
    others = [c for c in function.constants if c.type.dtype != HALF]
    kept: list[Value] = [*function.params, *others]
    b = Builder(v.name for v in kept)
    new: dict[Value, Value] = {v: v for v in kept}
    for const in function.constants:
        if const.type.dtype == HALF:
            new[const] = b.const(const.data.astype(np.float32), const.name)
    for param in function.params:
        if param.type.dtype == HALF:
            name = f"{param.name}@{SINGLE}"
            new[param] = b.call(Cast(SINGLE), param, name=name, source=param.name)
    narrow = {v: f"{v.name}@{SINGLE}" for v in function.results if v.type.dtype == HALF}
    for call in function:
        names = [narrow.get(v, v.name) for v in call.outputs]
        operands = [new[v] for v in call.operands]
        outputs = b.multi(_wide(call.op), *operands, names=names, source=call.source)
        new.update(zip(call.outputs, outputs))
    results = [
        b.call(Cast(HALF), new[v], name=v.name, source=v.name) if v in narrow else new[v]
        for v in function.results
    ]
    return b.function(function.params, results, function.name)
