"""Reductions over axes: sums, means, extremes, norms; their positions.

Floats accumulate in float32 at least. A new reduction is a class with ``before`` (of each
element), ``reducer`` and ``after`` (of the total), and its NumPy meaning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from armlet.compiler.ir import TensorType

from .broadcast import broadcast_map
from .helpers import (
    FLOATS,
    NUMERIC,
    constant,
    convert,
    dtype_of,
    edges,
    expect_dtype,
    expect_operands,
    normalize_axes,
    normalize_axis,
    random,
    shape_of,
    te_map,
)
from .lazy import te, tirx
from .registry import Fusion, Layout, Op, Sample, op


def wide(dtype: str) -> str:
    """The dtype that a reduction of ``dtype`` accumulates in."""
    return "float32" if dtype == "float16" else dtype


def reduced_shape(shape: Sequence[Any], axes: Sequence[int], keepdims: bool) -> tuple[Any, ...]:
    kept = [1 if a in axes else n for a, n in enumerate(shape)]
    return tuple(n for a, n in enumerate(kept) if keepdims or a not in axes)


def extreme(dtype: str, largest: bool) -> Any:
    """The largest or smallest value of ``dtype``; an infinity of floats."""
    if dtype in FLOATS:
        return constant(np.inf if largest else -np.inf, dtype)
    limits = np.iinfo(dtype)
    return constant(int(limits.max if largest else limits.min), dtype)


def _nan_wins(compare: Any, x: Any, y: Any) -> Any:
    wins = compare(x, y)
    if dtype_of(x) in FLOATS:
        wins = tirx.Or(wins, tirx.isnan(x))
    return tirx.Select(wins, x, y)


def reduce_max(expr: Any, axis: Sequence[Any]) -> Any:
    """``te.max`` with NumPy's NaN and infinities."""
    reducer = te.comm_reducer(
        lambda x, y: _nan_wins(tirx.GT, x, y), lambda t: extreme(str(t), False), name="max"
    )
    return reducer(expr, axis=axis)


def reduce_min(expr: Any, axis: Sequence[Any]) -> Any:
    reducer = te.comm_reducer(
        lambda x, y: _nan_wins(tirx.LT, x, y), lambda t: extreme(str(t), True), name="min"
    )
    return reducer(expr, axis=axis)


def reduce_prod(expr: Any, axis: Sequence[Any]) -> Any:
    reducer = te.comm_reducer(lambda x, y: x * y, lambda t: constant(1, str(t)), name="prod")
    return reducer(expr, axis=axis)


def reduce_over(
    reducer: Any, element: Any, x: Any, axes: Sequence[int], keepdims: bool, name: str
) -> Any:
    """Reduces ``element(x[i], i)`` over ``axes`` (at least one) of the tensor x."""
    shape = shape_of(x)
    rs = {a: te.reduce_axis((0, shape[a]), name=f"r{a}") for a in axes}

    def total(*index: Any) -> Any:
        rest = iter(i for a, i in enumerate(index) if not keepdims or a not in axes)
        full = tuple(rs[a] if a in axes else next(rest) for a in range(len(shape)))
        return reducer(element(x[full], full), axis=list(rs.values()))

    return te.compute(reduced_shape(shape, axes, keepdims), total, name=name)


@dataclass(frozen=True)
class Reduction(Op):
    """Reduces over ``axes``, which stay as ones with ``keepdims``."""

    axes: tuple[int, ...]
    keepdims: bool = True

    dtypes: ClassVar[Sequence[str]] = NUMERIC
    reducer: ClassVar[Any] = staticmethod(lambda expr, axis: te.sum(expr, axis=axis))

    def before(self, x: Any) -> Any:
        """What is reduced, of each element."""
        return x

    def after(self, total: Any, count: int) -> Any:
        """The result, of what ``count`` elements were reduced to."""
        return total

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,) = operands
        expect_dtype(self, x, self.dtypes)
        axes = normalize_axes(self, self.axes, x.rank)
        return (x.with_shape(reduced_shape(x.shape, axes, self.keepdims)),)

    def compute(self, x: Any) -> Any:
        shape, dtype = shape_of(x), dtype_of(x)
        axes = normalize_axes(self, self.axes, len(shape))
        count = int(np.prod([shape[a] for a in axes]))

        def element(v: Any, index: Any = None) -> Any:
            return self.before(convert(v, wide(dtype)))

        if axes:
            total = reduce_over(self.reducer, element, x, axes, self.keepdims, "anchor")
        else:
            total = te_map(element, x, name="anchor")
        if wide(dtype) == dtype and type(self).after is Reduction.after:
            return total
        return te_map(lambda v: convert(self.after(v, count), dtype), total, name=self.name)

    def blocked(self, block: int) -> Op | None:
        """Itself where it reduces height and width only and keeps them as axes."""
        axes = {a % 4 for a in self.axes}
        if not self.keepdims or not axes <= {2, 3}:
            return None
        return dataclasses.replace(self, axes=tuple(sorted(axes)))

    def wide_input(self, x: np.ndarray) -> np.ndarray:
        """The operand in the dtype that the NumPy meaning computes in."""
        return x.astype(np.float64) if x.dtype.name in FLOATS else x

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.total(self.wide_input(x), self.axes, self.keepdims)).astype(x.dtype)

    def total(self, x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> Any:
        raise NotImplementedError

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for shape, axes, keepdims in (
            ((7,), (0,), False),
            ((2, 3, 5, 4), (2, 3), True),
            ((1, 2, 7, 5, 16), (2, 3), True),
            ((2, 17), (-1,), True),
            ((3, 1, 5), (0, 2), False),
            ((2, 3, 5), (0, 1, 2), True),
            ((2, 3, 5), (1,), False),
            ((2, 3), (), True),
        ):
            yield Sample(cls(axes=axes, keepdims=keepdims), (random(shape),))
        for dtype in {"int32", "int64", "float16"} & set(cls.dtypes):
            tolerance = 2e-3 if dtype == "float16" else 0
            yield Sample(cls(axes=(1,)), (random((3, 4), dtype),), tolerance)
        finite = np.array([1e-40, -3.0, 0.0, -0.0, 5.5, 1e10], np.float32)
        special = np.stack([finite, finite, finite, -np.abs(finite)])
        special[0, 2], special[1, 3], special[2, 1] = np.nan, np.inf, -np.inf
        yield Sample(cls(axes=(1,)), (special,))
        yield Sample(cls(axes=(1,)), (np.full((2, 3), -np.inf, np.float32),))


def reduction(name: str) -> Any:
    """Declares a reduction: spatial where ``blocked`` says so."""
    return op(name, Fusion.REDUCE, Layout.SPATIAL)


@reduction("reduce_sum")
class ReduceSum(Reduction):
    """y = sum of x."""

    def total(self, x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> Any:
        return np.sum(x, axis=axis, keepdims=keepdims)


@reduction("reduce_mean")
class ReduceMean(Reduction):
    """y = mean of x; of integers, truncated towards zero."""

    def after(self, total: Any, count: int) -> Any:
        dtype = dtype_of(total)
        if dtype in FLOATS:
            return total * constant(1 / count, dtype)
        return tirx.truncdiv(total, constant(count, dtype))

    def total(self, x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> Any:
        if x.dtype.name in FLOATS:
            return np.mean(x, axis=axis, keepdims=keepdims)
        total = np.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype)
        return np.trunc(total / (x.size // np.size(total)))


@reduction("reduce_max")
class ReduceMax(Reduction):
    """y = largest x; NaN if any is."""

    reducer = staticmethod(reduce_max)

    def total(self, x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> Any:
        return np.max(x, axis=axis, keepdims=keepdims)


@reduction("reduce_min")
class ReduceMin(Reduction):
    """y = smallest x; NaN if any is."""

    reducer = staticmethod(reduce_min)

    def total(self, x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> Any:
        return np.min(x, axis=axis, keepdims=keepdims)


@reduction("reduce_prod")
class ReduceProd(Reduction):
    """y = product of x."""

    half = False  # products leave the range

    reducer = staticmethod(reduce_prod)

    def total(self, x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> Any:
        return np.prod(x, axis=axis, keepdims=keepdims)


@reduction("reduce_l1")
class ReduceL1(Reduction):
    """y = sum of |x|."""

    def before(self, x: Any) -> Any:
        return x if dtype_of(x).startswith("uint") else tirx.abs(x)

    def total(self, x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> Any:
        return np.sum(np.abs(x), axis=axis, keepdims=keepdims)


@reduction("reduce_sum_square")
class ReduceSumSquare(Reduction):
    """y = sum of x^2."""

    half = False  # squares leave the range

    def before(self, x: Any) -> Any:
        return x * x

    def total(self, x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> Any:
        return np.sum(x * x, axis=axis, keepdims=keepdims)


@reduction("reduce_l2")
class ReduceL2(Reduction):
    """y = square root of the sum of x^2."""

    dtypes = FLOATS

    def before(self, x: Any) -> Any:
        return x * x

    def after(self, total: Any, count: int) -> Any:
        return tirx.sqrt(total)

    def total(self, x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> Any:
        return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


@reduction("reduce_log_sum_exp")
class ReduceLogSumExp(Reduction):
    """y = ln of the sum of e^x, as m + ln of the sum of e^(x - m) with m the largest x."""

    dtypes = FLOATS

    def compute(self, x: Any) -> Any:
        shape, dtype = shape_of(x), dtype_of(x)
        axes = normalize_axes(self, self.axes, len(shape))
        if not axes:
            return te_map(lambda v: v, x, name="anchor")
        acc = wide(dtype)
        largest = reduce_over(reduce_max, lambda v, i: convert(v, acc), x, axes, True, "max")

        def element(v: Any, index: Sequence[Any]) -> Any:
            m = largest[tuple(0 if a in axes else i for a, i in enumerate(index))]
            return tirx.exp(convert(v, acc) - _finite(m))

        sums = ReduceSum.reducer
        total = reduce_over(sums, element, x, axes, self.keepdims, "anchor")
        flat = largest if self.keepdims else drop_axes(largest, axes)
        return broadcast_map(
            lambda s, m: convert(tirx.log(s) + _finite(m), dtype), total, flat, name=self.name
        )

    def total(self, x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> Any:
        for a in axis:
            x = np.logaddexp.reduce(x, axis=a, keepdims=True)
        return x if keepdims else np.squeeze(x, axis)


def _finite(m: Any) -> Any:
    """m, or 0 where it is infinite: inf - inf would be NaN."""
    infinite = tirx.EQ(tirx.abs(m), constant(np.inf, dtype_of(m)))
    return tirx.Select(infinite, constant(0, dtype_of(m)), m)


def drop_axes(x: Any, axes: Sequence[int]) -> Any:
    """x without ``axes``, each of which has one element."""
    shape = shape_of(x)

    def element(*index: Any) -> Any:
        rest = iter(index)
        return x[tuple(0 if a in axes else next(rest) for a in range(len(shape)))]

    return te.compute(reduced_shape(shape, axes, False), element, name="flat")


@dataclass(frozen=True)
class Position(Op):
    """The index of an extreme element along ``axis``."""

    axis: int = 0
    keepdims: bool = True
    select_last_index: bool = False

    extreme: ClassVar[Any]
    position: ClassVar[Any]

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,) = operands
        expect_dtype(self, x, NUMERIC)
        axis = normalize_axis(self, self.axis, x.rank)
        return (TensorType(reduced_shape(x.shape, (axis,), self.keepdims), "int64"),)

    def compute(self, x: Any) -> Any:
        # Two passes, each a plain reduction that vectorises, instead of one over pairs.
        shape = shape_of(x)
        axis = normalize_axis(self, self.axis, len(shape))
        best = reduce_over(self.extreme, lambda v, i: v, x, (axis,), True, "best")
        beyond = constant(-1 if self.select_last_index else shape[axis], "int32")

        def candidate(v: Any, index: Sequence[Any]) -> Any:
            found = tirx.EQ(v, best[(*index[:axis], 0, *index[axis + 1 :])])
            if dtype_of(v) in FLOATS:
                found = tirx.Or(found, tirx.isnan(v))
            return tirx.Select(found, convert(index[axis].var, "int32"), beyond)

        choose = reduce_max if self.select_last_index else reduce_min
        index = reduce_over(choose, candidate, x, (axis,), self.keepdims, "anchor")
        return te_map(lambda v: convert(v, "int64"), index, name=self.name)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        search = type(self).position
        if self.select_last_index:
            found = x.shape[self.axis] - 1 - search(np.flip(x, self.axis), axis=self.axis)
        else:
            found = search(x, axis=self.axis)
        found = np.asarray(found, np.int64)
        return np.expand_dims(found, self.axis % x.ndim) if self.keepdims else found

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        ties = random((2, 33, 3), "int32")
        special = np.array([[0.0, -0.0, 1.0], [np.nan, 1, np.nan], [np.inf, -np.inf, np.inf]])
        for last in (False, True):
            yield Sample(cls(axis=1, keepdims=False, select_last_index=last), (ties,))
            yield Sample(cls(axis=-1, select_last_index=last), (special.astype(np.float32),))
        yield Sample(cls(axis=0), (random((7,)),))
        yield Sample(cls(axis=-3, keepdims=True), (random((2, 3, 1, 5)),))
        yield Sample(cls(axis=2, keepdims=False), (random((1, 2, 17), "uint8"),))
        yield Sample(cls(axis=1), (edges("float32").reshape(5, 5)[:, :4].copy(),))


@op("argmax", Fusion.REDUCE, Layout.PLAIN)
class Argmax(Position):
    """y = index of the largest x: the first of equal ones, or the last; NaN is the largest."""

    extreme = staticmethod(reduce_max)
    position = staticmethod(np.argmax)


@op("argmin", Fusion.REDUCE, Layout.PLAIN)
class Argmin(Position):
    """y = index of the smallest x: the first of equal ones, or the last; NaN is the smallest."""

    extreme = staticmethod(reduce_min)
    position = staticmethod(np.argmin)
