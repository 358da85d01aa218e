"""Give quantised tensors the sign of bytes that a target's products want.

    %y = requantize(%x, $s, 131) : u8[…]       %y@int8 = requantize(%x, $s, 3) : i8[…]
    %z = conv2d(%y, $w) {zero_point=131}  ->   %z = conv2d(%y@int8, $w) {zero_point=3}

An integer and its zero point move by 128 together, so that every number stays the same.
Parameters and results keep their types, and so does what other operators read: there, and only
there, ``flip_sign`` turns one form into the other. Names say the dtype, as the integers differ.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from armlet.compiler.ir import Builder, Call, Const, Function, Value
from armlet.compiler.ir.rewriter import names_of, remove_dead
from armlet.compiler.ops.quantize import FlipSign, flipped
from armlet.compiler.passes.integer_arithmetic import MOVES

#: calls whose last operand is the zero point of their result
_MAKERS = ("quantize", "requantize", "requantize_fixed")


def sign_bytes(function: Function, dtype: str) -> Function:
    return _Writer(function, dtype).write()


class _Writer:
    def __init__(self, function: Function, dtype: str) -> None:
        self.old, self.dtype, self.other = function, dtype, flipped(dtype)
        #: how far integers move
        self.shift = -128 if dtype == "int8" else 128
        self.b = Builder(names_of(function))
        #: by the old value and the dtype
        self.made: dict[tuple[Value, str], Value] = {(p, p.type.dtype): p for p in function.params}

    def write(self) -> Function:
        for call in self.old.bindings:
            self.b.source = call.source
            self._call(call)
        results = [self._in(v, v.type.dtype) for v in self.old.results]
        return remove_dead(self.b.function(self.old.params, results, self.old.name))

    def _call(self, call: Call) -> None:
        moved = self._moved(call)
        if moved is not None:
            self.made[call.output, self.dtype] = moved
            return
        op, operands = self._reading(call)
        types = op.infer([v.type for v in operands])
        assert types == tuple(v.type for v in call.outputs)
        self.b.bindings.append(Call(op, tuple(operands), call.outputs, call.source))
        for output in call.outputs:
            self.made[output, output.type.dtype] = output

    def _moved(self, call: Call) -> Value | None:
        """The result in the other form, of a call that can make it."""
        op: Any = call.op
        if len(call.outputs) != 1 or call.output.type.dtype != self.other:
            return None
        name = f"{call.output.name}@{self.dtype}"
        if op.name in _MAKERS and isinstance(call.operands[-1], Const):
            *operands, zero = call.operands
            held = [self._in(v, v.type.dtype) for v in operands]
            op = replace(op, low=op.low + self.shift, high=op.high + self.shift)
            return self.b.call(op, *held, self._zero(zero), name=name)
        if op.name in (*MOVES, "concat"):
            return self.b.call(op, *(self._in(v, self.dtype) for v in call.operands), name=name)
        return None

    def _reading(self, call: Call) -> tuple[Any, list[Value]]:
        """The call, reading the other form where it can."""
        op, (x, *rest) = call.op, call.operands or (None,)
        operands = [self._in(v, v.type.dtype) for v in rest]
        if x is None:
            return op, []
        if x.type.dtype != self.other:
            return op, [self._in(x, x.type.dtype), *operands]
        if op.name == "dequantize" and isinstance(rest[1], Const):
            return op, [self._in(x, self.dtype), operands[0], self._zero(rest[1])]
        if op.name in ("conv2d", "matmul"):
            point = op.zero_point + self.shift  # type: ignore[attr-defined]
            return replace(op, zero_point=point), [self._in(x, self.dtype), *operands]  # type: ignore[type-var]
        return op, [self._in(x, x.type.dtype), *operands]

    def _zero(self, zero: Value) -> Const:
        assert isinstance(zero, Const)
        data = zero.data.astype(np.int32) + self.shift
        return self.b.const(data.astype(self.dtype), f"{zero.name}@{self.dtype}")

    def _in(self, value: Value, dtype: str) -> Value:
        """The value in a dtype; its other form at first need."""
        if (value, dtype) in self.made:
            return self.made[value, dtype]
        if isinstance(value, Const):
            if dtype == value.type.dtype:
                return value
            data = FlipSign().evaluate(value.data)
            made: Value = self.b.const(data, f"{value.name}@{dtype}")
        else:
            have = flipped(dtype)
            name = value.name if dtype == value.type.dtype else f"{value.name}@{dtype}"
            made = self.b.call(FlipSign(), self.made[value, have], name=name)
        self.made[value, dtype] = made
        return made
