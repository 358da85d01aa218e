"""Operators that scale by what they find along whole axes: softmax and normalisations.

Each is several stages, all of them ``te.compute`` over rows, so that a schedule can keep one
row of each stage in cache. Sums are in float32 at least.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from armlet.compiler.ir import TensorType

from .broadcast import broadcast_index, broadcast_shapes
from .helpers import (
    FLOATS,
    cases,
    check,
    constant,
    convert,
    dtype_of,
    expect_dtype,
    expect_operands,
    joined,
    normalize_axis,
    random,
    same_dtype,
    shape_of,
)
from .lazy import te, tirx
from .reduce import reduce_over, wide
from .registry import Fusion, Layout, Op, op


def _sum(expr: Any, axis: Any) -> Any:
    return te.sum(expr, axis=axis)


def _max(expr: Any, axis: Any) -> Any:
    return te.max(expr, axis=axis)


class _AlongAxis(Op):
    """An operator of one float operand that keeps its type and works along ``axis``."""

    axis: int = -1

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        expect_dtype(self, operands[0], FLOATS)
        normalize_axis(self, self.axis, operands[0].rank)
        return (operands[0],)

    samples = joined(
        cases(
            ({}, (3, 17)),
            ({}, (1,)),
            ({"axis": 1}, (2, 5, 3, 4)),
            ({"axis": 0}, (7, 2)),
            ({}, np.array([[1e4, -1e4, 0], [-np.inf, 0, 1], [100, 100, 100]], np.float32)),
            ({}, np.array([[np.nan, 1, 2], [0, 0, 0], [3e38, -3e38, 3e38]], np.float32)),
        ),
        cases(({}, (5, 33)), dtype="float16", tolerance=2e-3),
    )


def _shifted(x: Any, axis: int) -> tuple[Any, Any]:
    """(element of x less the largest in its row, by index; index of the row's one element)."""
    acc = wide(dtype_of(x))
    largest = reduce_over(_max, lambda v, i: convert(v, acc), x, (axis,), True, "max")

    def at_row(index: Sequence[Any]) -> tuple[Any, ...]:
        return (*index[:axis], 0, *index[axis + 1 :])

    def shift(*index: Any) -> Any:
        return convert(x[index], acc) - largest[at_row(index)]

    return shift, at_row


@op("softmax", Fusion.OPAQUE, Layout.PLAIN)
class Softmax(_AlongAxis):
    """y = e^(x - max x) / sum of e^(x - max x) along ``axis``."""

    def compute(self, x: Any) -> Any:
        shape, dtype = shape_of(x), dtype_of(x)
        axis = normalize_axis(self, self.axis, len(shape))
        shift, at_row = _shifted(x, axis)
        exp = te.compute(shape, lambda *i: tirx.exp(shift(*i)), name="exp")
        total = reduce_over(_sum, lambda v, i: v, exp, (axis,), True, "anchor")
        scale = te.compute(shape_of(total), lambda *i: 1 / total[i], name="scale")
        return te.compute(
            shape, lambda *i: convert(exp[i] * scale[at_row(i)], dtype), name="softmax"
        )

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        e = np.exp(x.astype(np.float64) - np.max(x, self.axis, keepdims=True))
        return (e / np.sum(e, self.axis, keepdims=True)).astype(x.dtype)


@op("log_softmax", Fusion.OPAQUE, Layout.PLAIN)
class LogSoftmax(_AlongAxis):
    """y = x - max x - ln of the sum of e^(x - max x) along ``axis``."""

    def compute(self, x: Any) -> Any:
        shape, dtype = shape_of(x), dtype_of(x)
        axis = normalize_axis(self, self.axis, len(shape))
        shift, at_row = _shifted(x, axis)
        total = reduce_over(_sum, lambda v, i: tirx.exp(shift(*i)), x, (axis,), True, "anchor")
        logarithm = te.compute(shape_of(total), lambda *i: tirx.log(total[i]), name="log")
        return te.compute(
            shape, lambda *i: convert(shift(*i) - logarithm[at_row(i)], dtype), name="log_softmax"
        )

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        shifted = x.astype(np.float64) - np.max(x, self.axis, keepdims=True)
        total = np.sum(np.exp(shifted), self.axis, keepdims=True)
        return (shifted - np.log(total)).astype(x.dtype)


def standardize(x: Any, axes: Sequence[int], epsilon: float) -> Any:
    """Expression of (x - mean) / sqrt(variance + epsilon) over ``axes``, in two passes.

    The one-pass form cancels where the mean is large beside the deviation.
    """
    shape, acc = shape_of(x), wide(dtype_of(x))
    count = constant(1 / int(np.prod([shape[a] for a in axes])), acc)

    def at_row(index: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(0 if a in axes else i for a, i in enumerate(index))

    total = reduce_over(_sum, lambda v, i: convert(v, acc), x, axes, True, "sum")
    mean = te.compute(shape_of(total), lambda *i: total[i] * count, name="mean")

    def centred(v: Any, index: Sequence[Any]) -> Any:
        return convert(v, acc) - mean[at_row(index)]

    def square(v: Any, index: Sequence[Any]) -> Any:
        return centred(v, index) * centred(v, index)

    squares = reduce_over(_sum, square, x, axes, True, "anchor")
    one, small = constant(1, acc), constant(epsilon, acc)
    inverse = te.compute(
        shape_of(total), lambda *i: one / tirx.sqrt(squares[i] * count + small), name="inverse"
    )
    return lambda *i: centred(x[i], i) * inverse[at_row(i)]


def _standardized(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    x = x.astype(np.float64)
    deviation = x - x.mean(axes, keepdims=True)
    return deviation / np.sqrt((deviation**2).mean(axes, keepdims=True) + epsilon)


@op("layer_norm", Fusion.OPAQUE, Layout.PLAIN)
class LayerNorm(Op):
    """y = (x - mean) / sqrt(variance + epsilon) * scale + bias over the axes from ``axis`` on.

    Scale and bias broadcast to x; the bias may be left out.
    """

    axis: int = -1
    epsilon: float = 1e-5

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 2, 3)
        x = operands[0]
        same_dtype(self, operands)
        expect_dtype(self, x, FLOATS)
        normalize_axis(self, self.axis, x.rank)
        for other in operands[1:]:
            fits = broadcast_shapes(x.shape, other.shape) == x.shape
            check(fits, f"layer_norm's scale or bias {other} does not broadcast to {x}")
        return (x,)

    def compute(self, x: Any, *affine: Any) -> Any:
        shape, dtype = shape_of(x), dtype_of(x)
        axes = range(normalize_axis(self, self.axis, len(shape)), len(shape))
        value = standardize(x, axes, self.epsilon)

        def element(*i: Any) -> Any:
            parts = [t[broadcast_index(shape_of(t), i)] for t in affine]
            return _affine(value(*i), parts, dtype)

        return te.compute(shape, element, name=self.name)

    def evaluate(self, x: np.ndarray, scale: np.ndarray, *bias: np.ndarray) -> np.ndarray:
        axes = tuple(range(self.axis % x.ndim, x.ndim))
        y = _standardized(x, axes, self.epsilon) * scale
        return (y + bias[0] if bias else y).astype(x.dtype)

    samples = joined(
        cases(
            ({}, (3, 17), (17,), (17,)),
            ({"axis": 1, "epsilon": 1e-3}, (2, 3, 5), (3, 5), (3, 5)),
            ({}, (2, 1, 33), (33,)),
            ({}, random((2, 64)) + 100, (64,), (64,)),
        ),
        cases(({}, (2, 31), (31,), (31,)), dtype="float16", tolerance=2e-3),
    )


@op("instance_norm", Fusion.OPAQUE, Layout.PLAIN)
class InstanceNorm(Op):
    """y = (x - mean) / sqrt(variance + epsilon) * scale + bias over all axes but N and C.

    Scale and bias are [C].
    """

    epsilon: float = 1e-5

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 3)
        x = operands[0]
        same_dtype(self, operands)
        expect_dtype(self, x, FLOATS)
        check(x.rank >= 3, f"instance_norm takes a tensor [N, C, …], not {x}")
        for other in operands[1:]:
            fits = other.shape == x.shape[1:2]
            check(fits, f"instance_norm's scale or bias {other} is not [C] of {x}")
        return (x,)

    def compute(self, x: Any, scale: Any, bias: Any) -> Any:
        shape, dtype = shape_of(x), dtype_of(x)
        value = standardize(x, range(2, len(shape)), self.epsilon)
        return te.compute(
            shape,
            lambda *i: _affine(value(*i), (scale[i[1]], bias[i[1]]), dtype),
            name=self.name,
        )

    def evaluate(self, x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
        channels = (-1,) + (1,) * (x.ndim - 2)
        y = _standardized(x, tuple(range(2, x.ndim)), self.epsilon)
        return (y * scale.reshape(channels) + bias.reshape(channels)).astype(x.dtype)

    samples = cases(
        ({}, (2, 3, 5, 7), (3,), (3,)),
        ({"epsilon": 1e-2}, (1, 5, 17), (5,), (5,)),
        ({}, random((1, 2, 8, 8)) + 50, (2,), (2,)),
    )


def _affine(value: Any, scale_bias: Sequence[Any], dtype: str) -> Any:
    scale, *bias = (convert(v, wide(dtype)) for v in scale_bias)
    result = value * scale
    return convert(result + bias[0] if bias else result, dtype)
