"""Keep weights that are small integers times a scale as those integers.

    %y = conv2d_blocked(%x, $w)    ->    %w@float32 = dequantize($w@int8, $s, 0) : f32[…]
                                         %y = conv2d_blocked(%x, %w@float32)

Weights of a model that was quantised without its activations are floats by now, but still
multiples of a scale for each output channel, the largest of which is 127 times that (32767 times,
of int16). That is found in the packed constant, whose first and last axes hold the output channels.
``fuse`` puts each conversion into the kernel that reads it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from armlet.compiler.ir import Builder, Call, Const, Function, Value
from armlet.compiler.ir.rewriter import names_of
from armlet.compiler.ops import Fusion, Op
from armlet.compiler.ops.quantize import Dequantize

from .store_half import SINGLE, WORTH

#: dtype -> the largest integer, and how far from an integer a float32's rounding leaves one
STORED = {"int8": (127, 1e-3), "int16": (32767, 1e-2)}

Axes = tuple[int, ...]


def integers_of(data: np.ndarray, channels: Axes) -> tuple[np.ndarray, np.ndarray] | None:
    """Weights as (integers, scale), the scale being one for each index of ``channels``.

    None where they are no such multiples, nor many enough to be worth it.
    """
    if data.dtype.name != SINGLE or data.size < WORTH:
        return None
    kept = {a % data.ndim for a in channels}
    others = tuple(a for a in range(data.ndim) if a not in kept)
    largest = np.abs(data).max(axis=others, keepdims=True)
    if not np.isfinite(largest).all() or largest.size * 4 > data.size:
        return None
    for dtype, (most, tolerance) in STORED.items():
        scale = np.where(largest > 0, largest / most, 1).astype(np.float32)
        # most constants are none: one row tells
        if _whole(data[:1] / scale[:1], tolerance) and _whole(units := data / scale, tolerance):
            return np.rint(units).astype(dtype), scale
    return None


def _whole(units: np.ndarray, tolerance: float) -> bool:
    return bool((np.abs(units - np.rint(units)) <= tolerance).all())


def store_bytes(function: Function) -> Function:
    b = Builder(names_of(function))
    known: dict[Const, tuple[Value, ...] | None] = {}

    def stored(value: Const) -> tuple[Value, ...] | None:
        if value.data.ndim < 2:
            return None
        found = integers_of(value.data, (0, -1)) or integers_of(value.data, (-1,))
        if found is None:
            return None
        whole, scale = found
        dtype = whole.dtype.name
        zero = b.const(np.zeros((), dtype), "zero")
        return (
            b.const(whole, f"{value.name}@{dtype}"), b.const(scale, f"{value.name}@scale"), zero
        )  # fmt: skip

    def read(value: Value, source: str) -> Value:
        if not isinstance(value, Const):
            return value
        if value not in known:
            known[value] = stored(value)
        parts = known[value]
        if parts is None:
            return value
        # a conversion for each reader, to be fused with it
        return b.call(Dequantize(), *parts, name=value.name, source=source)

    for call in function:
        if _computes(call):
            operands = tuple(read(v, call.source) for v in call.operands)
            call = replace(call, operands=operands)
        b.bindings.append(call)
    return replace(function, bindings=tuple(b.bindings))


def _computes(call: Call) -> bool:
    assert isinstance(call.op, Op)
    return call.op.fusion is Fusion.ANCHOR
