"""Arrange channels from where they are, not from a concatenation of them.

    %1 = concat_blocked(%a, %b) {channels=[58,58], ...}
    %y = arrange_blocked(%1) {channels=[116], order=[0,58,1,...], ...}
    ->
    %y = arrange_blocked(%a, %b) {channels=[58,58], order=[0,58,1,...], ...}

It comes after ``select``, which knows no more than one call at a time.
"""

from __future__ import annotations

from dataclasses import replace

from armlet.compiler.ir import Builder, Call, Function, Value, transform
from armlet.compiler.ops.arrange import ArrangeBlocked
from armlet.compiler.ops.blocked import ConcatBlocked


def run(function: Function) -> Function:
    def visit(call: Call, b: Builder) -> list[Value] | None:
        (x, *more) = call.operands
        if not isinstance(call.op, ArrangeBlocked) or more:
            return None
        concat = next((c for c in b.bindings if c.outputs == (x,)), None)
        if concat is None or not isinstance(concat.op, ConcatBlocked):
            return None
        return [b.call(replace(call.op, channels=concat.op.channels), *concat.operands)]

    return transform(function, visit)
