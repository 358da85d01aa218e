"""Operators whose indices are data (gather, …), and those that look at positions (trilu, …).

An index counts from the end if it is negative. One out of range is the model's error; it
reads the nearest element there is, so that no input makes an artifact read foreign memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from armlet.compiler.ir import Dimension, TensorType

from .helpers import (
    ALL,
    NUMERIC,
    cases,
    check,
    constant,
    dtype_of,
    expect_dtype,
    expect_operands,
    joined,
    normalize_axis,
    random,
    shape_of,
)
from .lazy import te, tirx
from .registry import Fusion, Layout, Op, op

INDICES = ("int32", "int64")


def _position(index: Any, size: int) -> Any:
    """A safe int32 index from one that may be negative or out of range."""
    dtype = dtype_of(index)
    counted = tirx.Select(index < constant(0, dtype), index + constant(size, dtype), index)
    clamped = tirx.max(tirx.min(counted, constant(size - 1, dtype)), constant(0, dtype))
    return clamped.astype("int32")


def _positions(indices: np.ndarray, size: int | np.ndarray) -> np.ndarray:
    return np.clip(np.where(indices < 0, indices + size, indices), 0, size - 1)


def _expect_indices(op: Op, operands: Sequence[TensorType]) -> tuple[TensorType, TensorType]:
    expect_operands(op, operands, 2)
    data, indices = operands
    expect_dtype(op, indices, INDICES)
    return data, indices


def _expect_elements(op: Op, data: TensorType, sizes: Sequence[Dimension]) -> None:
    check(0 not in sizes, f"{op.name} has nothing to read in {data}")


def _ints(*values: Any) -> np.ndarray:
    return np.array(values, "int64")


@op("gather", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class Gather(Op):
    """ONNX Gather: y[…, indices, …] = data[…, index, …], the indices in place of an axis."""

    axis: int = 0

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        data, indices = _expect_indices(self, operands)
        axis = normalize_axis(self, self.axis, data.rank)
        _expect_elements(self, data, data.shape[axis : axis + 1])
        return (data.with_shape((*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])),)

    def compute(self, data: Any, indices: Any) -> Any:
        shape, held = shape_of(data), shape_of(indices)
        axis = self.axis % len(shape)

        def element(*i: Any) -> Any:
            inner = i[axis : axis + len(held)]
            at = _position(indices[inner] if inner else indices[()], shape[axis])
            return data[(*i[:axis], at, *i[axis + len(held) :])]

        return te.compute((*shape[:axis], *held, *shape[axis + 1 :]), element, name="gather")

    def evaluate(self, data: np.ndarray, indices: np.ndarray) -> Any:
        taken = np.take(data, _positions(indices, data.shape[self.axis]), axis=self.axis)
        return np.asarray(taken, data.dtype)

    samples = joined(
        cases(
            ({"axis": 0}, (5, 17), _ints([4, -1, 0], [2, -5, 3])),
            ({"axis": 1}, (2, 3, 5), _ints(1)),
            ({"axis": -1}, (3, 7), np.array([6, 6, -7], "int32")),
            ({"axis": 1}, (2, 5), np.array(3)),
            ({"axis": 0}, (1,), np.array(0)),
        ),
        cases(({}, (13,), _ints(12, -13)), dtype="int64"),
        cases(({}, (4, 3), _ints(1, -1)), dtype="bool"),
    )


@op("gather_elements", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class GatherElements(Op):
    """ONNX GatherElements: y[i, j, k] = data[i, indices[i, j, k], k] for axis 1."""

    axis: int = 0

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        data, indices = _expect_indices(self, operands)
        axis = normalize_axis(self, self.axis, data.rank)
        check(indices.rank == data.rank, f"{self.name} has indices {indices} for {data}")
        _expect_elements(self, data, data.shape[axis : axis + 1])
        for a, (size, held) in enumerate(zip(indices.shape, data.shape)):
            known = isinstance(size, int) and isinstance(held, int)
            fits = a == axis or not known or size <= held  # type: ignore[operator]
            check(fits, f"{self.name} has indices {indices} for {data}")
        return (data.with_shape(indices.shape),)

    def compute(self, data: Any, indices: Any) -> Any:
        shape = shape_of(data)
        axis = self.axis % len(shape)

        def element(*i: Any) -> Any:
            return data[(*i[:axis], _position(indices[i], shape[axis]), *i[axis + 1 :])]

        return te.compute(shape_of(indices), element, name="gather")

    def evaluate(self, data: np.ndarray, indices: np.ndarray) -> Any:
        axis = self.axis % data.ndim
        part = tuple(slice(None if a == axis else n) for a, n in enumerate(indices.shape))
        return np.take_along_axis(data[part], _positions(indices, data.shape[axis]), axis)

    samples = cases(
        ({"axis": 1}, (3, 5), _ints([0, -1, 4], [2, 2, -5])),
        ({"axis": 0}, (3, 5), _ints([0, -1, 2, 1])),
        ({"axis": -1}, (2, 3, 7), random((2, 3, 4), "int32") % 7),
        ({}, (17,), _ints(16, 3, -2)),
    )


@op("gather_nd", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class GatherNd(Op):
    """ONNX GatherND: the last axis of ``indices`` holds places in the axes of data.

    The first ``batch_dims`` axes are common to both.
    """

    batch_dims: int = 0

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        data, indices = _expect_indices(self, operands)
        check(indices.rank > self.batch_dims, f"{self.name} has indices {indices}")
        depth = indices.shape[-1]
        known = isinstance(depth, int) and 1 <= depth <= data.rank - self.batch_dims
        check(known, f"{self.name} has indices {indices} for {data}")
        end = self.batch_dims + int(depth)  # type: ignore[arg-type]
        same = data.shape[: self.batch_dims] == indices.shape[: self.batch_dims]
        check(same, f"{self.name} has no common batch axes in {data} and {indices}")
        _expect_elements(self, data, data.shape[self.batch_dims : end])
        return (data.with_shape((*indices.shape[:-1], *data.shape[end:])),)

    def compute(self, data: Any, indices: Any) -> Any:
        shape, (*outer, depth) = shape_of(data), shape_of(indices)
        batch = self.batch_dims
        rest = shape[batch + depth :]

        def element(*i: Any) -> Any:
            at = i[: len(outer)]
            places = [_position(indices[(*at, d)], shape[batch + d]) for d in range(depth)]
            return data[(*i[:batch], *places, *i[len(outer) :])]

        return te.compute((*outer, *rest), element, name="gather")

    def evaluate(self, data: np.ndarray, indices: np.ndarray) -> Any:
        batch, outer, depth = self.batch_dims, indices.shape[:-1], indices.shape[-1]
        sizes = np.array(data.shape[batch : batch + depth])
        places = _positions(indices.astype("int64"), sizes)
        common = np.indices(outer, sparse=True)[:batch]
        return data[(*common, *np.moveaxis(places, -1, 0))].copy()

    samples = cases(
        ({}, (3, 5), _ints([0, 4], [-1, 2], [2, -5])),
        ({}, (3, 5, 7), _ints([[1], [-1]])),
        ({"batch_dims": 1}, (2, 3, 5), _ints([[1], [2]], [[0], [-1]])),
        ({"batch_dims": 1}, (2, 3, 5), _ints([1], [0])),
    )


@op("trilu", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class Trilu(Op):
    """ONNX Trilu: the upper (or lower) triangle of the last two axes, from diagonal k; else 0."""

    upper: bool = True
    k: int = 0

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        check(operands[0].rank >= 2, f"{self.name} takes matrices, not {operands[0]}")
        return (operands[0],)

    def compute(self, x: Any) -> Any:
        zero = constant(0, dtype_of(x))

        def element(*i: Any) -> Any:
            diagonal = i[-1] - i[-2]
            kept = diagonal >= self.k if self.upper else diagonal <= self.k
            return tirx.Select(kept, x[i], zero)

        return te.compute(shape_of(x), element, name="trilu")

    def evaluate(self, x: np.ndarray) -> Any:
        return np.triu(x, self.k) if self.upper else np.tril(x, self.k)

    samples = joined(
        cases(
            ({}, (5, 5)),
            ({"k": 1}, (2, 3, 7)),
            ({"upper": False, "k": -1}, (7, 3)),
            ({"upper": False, "k": 9}, (3, 4)),
        ),
        cases(({"k": 1}, (5, 5)), dtype="bool"),
        cases(({"upper": False}, (4, 5)), dtype="int64"),
    )


@op("cumsum", fusion=Fusion.REDUCE, layout=Layout.PLAIN)
class CumSum(Op):
    """ONNX CumSum: the sum of all elements up to this one along an axis.

    ``exclusive`` leaves out the element itself, ``reverse`` sums from the end. Every output
    sums for itself, which suits axes of up to a few thousand elements.
    """

    half = False  # sums leave the range

    axis: int = 0
    exclusive: bool = False
    reverse: bool = False

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        expect_dtype(self, operands[0], NUMERIC)
        normalize_axis(self, self.axis, operands[0].rank)
        return (operands[0],)

    def compute(self, x: Any) -> Any:
        shape = shape_of(x)
        axis = self.axis % len(shape)
        k = te.reduce_axis((0, shape[axis]), "k")

        def element(*i: Any) -> Any:
            before, after = (i[axis], k) if self.reverse else (k, i[axis])
            counts = before < after if self.exclusive else before <= after
            value = x[(*i[:axis], k, *i[axis + 1 :])]
            return te.sum(tirx.Select(counts, value, constant(0, dtype_of(x))), axis=k)

        return te.compute(shape, element, name="anchor")

    def evaluate(self, x: np.ndarray) -> Any:
        turned = np.flip(x, self.axis) if self.reverse else x
        total = np.cumsum(turned, self.axis, dtype=x.dtype)
        if self.exclusive:
            total = total - turned
        return np.flip(total, self.axis).copy() if self.reverse else total

    samples = joined(
        cases(
            ({"axis": 1}, (3, 17)),
            ({"axis": 0, "reverse": True}, (5, 3)),
            ({"axis": -1, "exclusive": True}, (2, 3, 5)),
        ),
        cases(({"axis": 1, "exclusive": True, "reverse": True}, (2, 7, 3)), dtype="int64"),
    )


@op("one_hot", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class OneHot(Op):
    """ONNX OneHot: values[1] where the place on the new axis is the index, else values[0].

    Operands indices and values[2]; ``depth`` is the size of the new axis.
    """

    depth: int
    axis: int = -1

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 2)
        indices, values = operands
        expect_dtype(self, indices, NUMERIC)
        expect_dtype(self, values, ALL)
        check(values.shape == (2,), f"{self.name} takes two values, not {values}")
        axis = normalize_axis(self, self.axis, indices.rank + 1)
        return (values.with_shape((*indices.shape[:axis], self.depth, *indices.shape[axis:])),)

    def compute(self, indices: Any, values: Any) -> Any:
        shape, dtype = shape_of(indices), dtype_of(indices)
        axis = self.axis % (len(shape) + 1)
        zero, depth = constant(0, dtype), constant(self.depth, dtype)

        def element(*i: Any) -> Any:
            at = indices[(*i[:axis], *i[axis + 1 :])]
            place = tirx.Select(at < zero, at + depth, at)
            return tirx.Select(place == i[axis].astype(dtype), values[1], values[0])

        return te.compute((*shape[:axis], self.depth, *shape[axis:]), element, name="one_hot")

    def evaluate(self, indices: np.ndarray, values: np.ndarray) -> Any:
        places = np.where(indices < 0, indices + indices.dtype.type(self.depth), indices)
        axis = self.axis % (indices.ndim + 1)
        grid = np.arange(self.depth).reshape(-1, *[1] * (indices.ndim - axis))
        return np.where(np.expand_dims(places, axis) == grid, values[1], values[0])

    samples = cases(
        ({"depth": 5}, _ints([0, 4, -1], [5, 2, -6]), np.array([0, 1], "f")),
        ({"depth": 3, "axis": 0}, _ints(2, 0), _ints(-1, 7)),
        ({"depth": 4, "axis": 1}, _ints([1, 3, 0]), np.array([0.5, 2], "f")),
        ({"depth": 4, "axis": 1}, np.array([[1.0, -3.0]], "f"), np.array([5, 2], "int8")),
    )
