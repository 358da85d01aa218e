"""Compute in float16 what a model says in float32; parameters and results keep their type.

    %y = relu(%x) : f32[4]         ->    %x@float16 = cast(%x) {to="float16"} : f16[4]
                                         %y@float16 = relu(%x@float16) : f16[4]
                                         %y = cast(%y@float16) {to="float32"} : f32[4]

A call stays in float32 where its record says so (``Op.half``), or where it is one of ``single``:
what ``compiler/ranges.py`` found to leave float16's range; it also says which sums are to be in
float32 (``wide_sums``). Constants are rounded here. Values
inside keep their names, as they are the same tensors, if rounded more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np

from armlet.compiler.ir import Builder, Call, Const, Function, Value
from armlet.compiler.ops import Op
from armlet.compiler.ops.elementwise import Cast

HALF, SINGLE = "float16", "float32"
#: the largest magnitude that float16 holds
LARGEST = float(np.finfo(np.float16).max)


def narrow_to_half(
    function: Function, single: Collection[Call] = (), wide: Collection[Call] = ()
) -> Function:
    """``single`` calls stay as they are; ``wide`` ones add up in float32."""
    return _Writer(function, single, wide).write()


def can_narrow(call: Call) -> bool:
    """Whether a call has float32 operands or results, and may have them in float16."""
    assert isinstance(call.op, Op)
    types = [v.type.dtype for v in (*call.operands, *call.outputs)]
    return SINGLE in types and call.op.half


def rounded(data: np.ndarray) -> np.ndarray:
    """In float16; finite numbers beyond its range are its largest (such as masks of -1e9)."""
    limited = np.where(np.isfinite(data), np.clip(data, -LARGEST, LARGEST), data)
    return limited.astype(np.float16)


class _Writer:
    def __init__(
        self, function: Function, single: Collection[Call], wide: Collection[Call]
    ) -> None:
        self.old, self.single, self.wide = function, single, wide
        self.b = Builder(p.name for p in function.params)
        #: by the old value and the dtype
        self.made: dict[tuple[Value, str], Value] = {(p, p.type.dtype): p for p in function.params}

    def write(self) -> Function:
        for call in self.old.bindings:
            self._call(call)
        results = [self._in(v, v.type.dtype) for v in self.old.results]
        return self.b.function(self.old.params, results, self.old.name)

    def _call(self, call: Call) -> None:
        dtype = HALF if can_narrow(call) and call not in self.single else SINGLE
        op: Any = replace(call.op, wide_sums=True) if call in self.wide else call.op  # type: ignore[type-var]
        operands = [self._in(v, _as(v, dtype)) for v in call.operands]
        names = [self._name(v, _as(v, dtype)) for v in call.outputs]
        outputs = self.b.multi(op, *operands, names=names, source=call.source)
        for old, new in zip(call.outputs, outputs):
            self.made[old, new.type.dtype] = new

    def _in(self, value: Value, dtype: str) -> Value:
        """The value in a dtype, converted at first need."""
        if (value, dtype) not in self.made:
            if isinstance(value, Const):
                data = value.data if dtype == value.type.dtype else rounded(value.data)
                made: Value = self.b.const(data, self._name(value, dtype))
            else:
                have = HALF if dtype == SINGLE else SINGLE
                source = self._source(value)
                name = self._name(value, dtype)
                made = self.b.call(Cast(dtype), self.made[value, have], name=name, source=source)
            self.made[value, dtype] = made
        return self.made[value, dtype]

    def _name(self, value: Value, dtype: str) -> str:
        """A value's own name, but of what is there in two dtypes: parameters and results."""
        known = value in self.old.params or value in self.old.results
        taken = dtype != value.type.dtype if known else (value, _other(dtype)) in self.made
        return f"{value.name}@{dtype}" if taken else value.name

    def _source(self, value: Value) -> str:
        producer = self.old.producers.get(value)  # type: ignore[arg-type]
        return producer.source if producer else value.name


def _as(value: Value, dtype: str) -> str:
    """What a value of a call that computes in ``dtype`` is."""
    return dtype if value.type.dtype == SINGLE else value.type.dtype


def _other(dtype: str) -> str:
    return HALF if dtype == SINGLE else SINGLE
