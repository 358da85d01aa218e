"""Operators whose result is known at compile time; none of them reaches the IR as a call."""

from __future__ import annotations

import math

import numpy as np

from armlet.compiler.ir import Const, Dim, Value
from armlet.frontends.emitter import MAX_ELEMENTS, Emitter
from armlet.frontends.operands import FreeDimension, Known, Symbolic, Unsupported, dimensions

from .registry import handles
from .symbolic import known
from .tensors import dtype_of


@handles("Constant")
def constant(
    b: Emitter,
    *,
    value: np.ndarray | None = None,
    value_float: float | None = None,
    value_floats: tuple[float, ...] | None = None,
    value_int: int | None = None,
    value_ints: tuple[int, ...] | None = None,
) -> Const:
    if value is not None:
        return b.const(value)
    for numbers, dtype in (
        (value_float, "float32"),
        (value_floats, "float32"),
        (value_int, "int64"),
        (value_ints, "int64"),
    ):
        if numbers is not None:
            return b.const(numbers, dtype)
    raise Unsupported("it has no value")


def static_sizes(shape: Known, what: str = "its shape depends on") -> tuple[int, ...]:
    """The sizes in a shape, none of which may be free, and which must be sane."""
    if isinstance(shape, Symbolic):
        raise FreeDimension(what, shape.free)
    sizes = tuple(dimensions(shape))
    if any(d < 0 for d in sizes) or math.prod(sizes) > MAX_ELEMENTS:
        raise Unsupported(f"{list(sizes)} is no shape that a tensor can have")
    return sizes


@handles("ConstantOfShape", since=9)
def constant_of_shape(b: Emitter, shape: Known, *, value: np.ndarray | None = None) -> Value:
    filler = np.zeros((), np.float32) if value is None else value.reshape(())
    return b.call("expand", b.const(filler), shape=static_sizes(shape))


@handles("Shape")
def shape(b: Emitter, data: Value, *, start: int = 0, end: int | None = None) -> Known:
    return known(b, np.array(data.type.shape, object)[start:end])


@handles("Size")
def size(b: Emitter, data: Value) -> Known:
    product: int | Dim = 1
    for dimension in data.type.shape:
        product = dimension * product
    return known(b, np.array(product, object))


@handles("Range", since=11)
def range_(b: Emitter, start: Const, limit: Const, delta: Const, *, stash_type: int = 1) -> Const:
    first, end, step = (v.data.reshape(()) for v in (start, limit, delta))
    if step == 0 or not np.isfinite([first, end, step]).all():
        raise Unsupported("the range has no end")
    count = max(0, math.ceil((end - first) / step))
    if count > MAX_ELEMENTS:
        raise Unsupported(f"the range has {count} elements")
    return b.const(first + np.arange(count).astype(first.dtype) * step, start.type.dtype)


@handles("NonZero", since=9)
def non_zero(b: Emitter, x: Const) -> Const:
    return b.const(np.array(np.nonzero(np.atleast_1d(x.data)), np.int64))


@handles("EyeLike", since=9)
def eye_like(b: Emitter, x: Value, *, dtype: int | None = None, k: int = 0) -> Const:
    shape = b.static(x)
    if len(shape) != 2:
        raise Unsupported("the operand is no matrix")
    wanted = x.type.dtype if dtype is None else dtype_of(dtype)
    return b.const(np.eye(*shape, k=k, dtype=wanted))
