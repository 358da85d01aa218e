"""Keep weights in float16 on processors that calculate in float32 only.

    %y = conv2d_blocked(%x, $w)    ->    %w@float32 = cast($w) {to="float32"} : f32[…]
                                         %y = conv2d_blocked(%x, %w@float32)

The constant becomes half as large; ``fuse`` puts each conversion into the kernel that reads it.
Small constants stay, as there is nothing to gain, and those that leave float16's range.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from armlet.compiler.ir import Builder, Call, Const, Function, Value
from armlet.compiler.ir.rewriter import names_of
from armlet.compiler.ops import Fusion, Op
from armlet.compiler.ops.elementwise import Cast

from .narrow_to_half import LARGEST, SINGLE, rounded

#: elements of a constant that is worth a conversion
WORTH = 256


def store_half(function: Function) -> Function:
    b = Builder(names_of(function))
    halves: dict[Const, Const] = {}

    def stored(value: Value, source: str) -> Value:
        if not isinstance(value, Const) or not _may_be_stored(value):
            return value
        if value not in halves:
            halves[value] = b.const(rounded(value.data), f"{value.name}@float16")
        # a conversion for each reader, to be fused with it
        return b.call(Cast(SINGLE), halves[value], name=value.name, source=source)

    for call in function:
        if _computes(call):
            operands = tuple(stored(v, call.source) for v in call.operands)
            call = replace(call, operands=operands)
        b.bindings.append(call)
    return replace(function, bindings=tuple(b.bindings))


def _may_be_stored(value: Const) -> bool:
    worth = value.type.dtype == SINGLE and value.data.size >= WORTH
    return worth and float(np.abs(value.data).max()) <= LARGEST


def _computes(call: Call) -> bool:
    assert isinstance(call.op, Op)
    return call.op.fusion is Fusion.ANCHOR
