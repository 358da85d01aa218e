"""Pools, and local response normalisation. Pools work on [N,C,H,W] and [N,C/c,H,W,c] alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from armlet.compiler.ir import TensorType

from .helpers import (
    FLOATS,
    NUMERIC,
    cases,
    check,
    constant,
    dtype_of,
    expect_dtype,
    expect_operands,
    expect_rank,
    joined,
    shape_of,
)
from .lazy import te, tirx
from .registry import Fusion, Layout, Op, op
from .window import Windowed, pad_array


@dataclass(frozen=True)
class Pool(Windowed):
    """A window of ``kernel``. The front end has turned ceil_mode into pads."""

    dtypes: ClassVar[Sequence[str]] = FLOATS
    kernel: tuple[int, int] = field(kw_only=True)

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,) = operands
        expect_rank(self, x, 4, 5)
        expect_dtype(self, x, self.dtypes)
        h, w = self.window_outputs(x, self.kernel)
        return (x.with_shape((*x.shape[:2], h, w, *x.shape[4:])),)

    def reduced(self, x: Any, outside: float, reduction: Any) -> Any:
        """The stage "anchor"."""
        n, c, _, _, *lanes = shape_of(x)
        padded = self.padded(x, outside)
        r, s = (te.reduce_axis((0, size), name) for size, name in zip(self.kernel, "rs"))
        return te.compute(
            (n, c, *self.window_shape(x, self.kernel), *lanes),
            lambda *i: reduction(
                padded[(i[0], i[1], *self.at(i[2], i[3], r, s), *i[4:])], axis=[r, s]
            ),
            name="anchor",
        )

    def taps(self, x: np.ndarray, outside: float) -> list[np.ndarray]:
        padded = pad_array(x, self.pads, outside)
        out = self.window_shape(x, self.kernel)
        return [self.tap(padded, r, s, out) for r, s in np.ndindex(*self.kernel)]


_ROWS: tuple[tuple[dict[str, Any], tuple[int, ...]], ...] = (
    ({"kernel": (2, 2), "strides": (2, 2)}, (1, 3, 6, 9)),
    ({"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}, (2, 17, 7, 5)),
    ({"kernel": (1, 3), "strides": (3, 2), "pads": (0, 0, 0, 2)}, (1, 5, 5, 8)),
    ({"kernel": (3, 2), "dilations": (2, 3), "pads": (1, 1, 2, 1)}, (1, 1, 9, 7)),
    ({"kernel": (5, 5), "pads": (2, 2, 2, 2)}, (1, 2, 4, 3, 8)),
    ({"kernel": (2, 3), "strides": (2, 1), "pads": (0, 1, 1, 1)}, (1, 1, 3, 5, 5)),
)


@op("max_pool2d", fusion=Fusion.ANCHOR, layout=Layout.SPATIAL)
class MaxPool2d(Pool):
    """ONNX MaxPool without indices: the largest element of each window; pads do not count."""

    dtypes = NUMERIC

    def compute(self, x: Any) -> Any:
        return self.reduced(x, _lowest(dtype_of(x)), te.max)

    def evaluate(self, x: np.ndarray) -> Any:
        return np.maximum.reduce(self.taps(x, _lowest(x.dtype.name)))

    samples = joined(cases(*_ROWS), cases(*_ROWS[1:2], dtype="int8"))


def _lowest(dtype: str) -> float:
    return -math.inf if dtype in FLOATS else int(np.iinfo(dtype).min)


@op("average_pool2d", fusion=Fusion.ANCHOR, layout=Layout.SPATIAL)
class AveragePool2d(Pool):
    """ONNX AveragePool: the mean of each window; pads count as zeros only if they are included.

    Pads that stem from ceil_mode never count: with ``count_include_pad`` the front end makes
    the true pads a ``pad`` of its own, and leaves the others to this operator.
    """

    count_include_pad: bool = False

    def _counted(self, index: Any, axis: int, size: int, lowest: Any, highest: Any) -> Any:
        """How many taps of a window lie inside, along one axis."""
        kernel, before, dilation = self.kernel[axis], self.pads[axis], self.dilations[axis]
        if self.count_include_pad or not (before or self.pads[axis + 2]):
            return kernel
        start = index * self.strides[axis] - before
        first = lowest((dilation - 1 - start) // dilation, 0)
        end = highest((size - start + dilation - 1) // dilation, kernel)
        return lowest(end - first, 1)

    def compute(self, x: Any) -> Any:
        total = self.reduced(x, 0.0, te.sum)
        _, _, height, width, *_ = shape_of(x)
        dtype = dtype_of(x)

        def element(*i: Any) -> Any:
            rows = self._counted(i[2], 0, height, tirx.max, tirx.min)
            columns = self._counted(i[3], 1, width, tirx.max, tirx.min)
            if isinstance(rows, int) and isinstance(columns, int):
                return total[i] * constant(1 / (rows * columns), dtype)
            return total[i] / (rows * columns).astype(dtype)

        return te.compute(shape_of(total), element, name="averaged")

    def evaluate(self, x: np.ndarray) -> Any:
        taps = self.taps(x, 0.0)
        total = taps[0].copy()
        for tap in taps[1:]:
            total += tap
        sizes = [np.arange(n) for n in total.shape[2:4]]
        rows, columns = (
            np.broadcast_to(self._counted(i, a, x.shape[2 + a], np.maximum, np.minimum), i.shape)
            for a, i in enumerate(sizes)
        )
        counts = np.multiply.outer(rows, columns).reshape(*total.shape[2:4], *[1] * (x.ndim - 4))
        return total / counts.astype(x.dtype)

    samples = cases(*_ROWS, *(({**a, "count_include_pad": True}, s) for a, s in _ROWS[1:4]))


@op("lrn", fusion=Fusion.OPAQUE, layout=Layout.PLAIN)
class Lrn(Op):
    """ONNX LRN: y = x / (bias + alpha / size * sum of x^2 over ``size`` channels around)^beta."""

    half = False  # squares leave the range

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,) = operands
        expect_dtype(self, x, FLOATS)
        check(x.rank >= 2, f"{self.name} takes a tensor with channels, not {x}")
        check(self.size > 0, f"{self.name} has size {self.size}")
        return (x,)

    def compute(self, x: Any) -> Any:
        shape, dtype = shape_of(x), dtype_of(x)
        before = (self.size - 1) // 2

        def square(*i: Any) -> Any:
            c = i[1] - before
            value = x[(i[0], c, *i[2:])]
            inside = tirx.all(c >= 0, c < shape[1])
            return tirx.if_then_else(inside, value * value, constant(0, dtype))

        padded = te.compute((shape[0], shape[1] + self.size - 1, *shape[2:]), square, name="pad")
        k = te.reduce_axis((0, self.size), "k")
        total = te.compute(
            shape, lambda *i: te.sum(padded[(i[0], i[1] + k, *i[2:])], axis=k), name="anchor"
        )

        def element(*i: Any) -> Any:
            scale = constant(self.alpha / self.size, dtype)
            return x[i] / self._power(constant(self.bias, dtype) + scale * total[i])

        return te.compute(shape, element, name="normalized")

    def _power(self, base: Any) -> Any:
        """base ^ beta; by square roots where beta is a multiple of a quarter, as it mostly is."""
        quarters = self.beta * 4
        if quarters not in (1, 2, 3, 4):
            return tirx.power(base, constant(self.beta, dtype_of(base)))
        half = tirx.sqrt(base)
        return {1: tirx.sqrt(half), 2: half, 3: half * tirx.sqrt(half), 4: base}[int(quarters)]

    def evaluate(self, x: np.ndarray) -> Any:
        before = (self.size - 1) // 2
        edges = [(0, 0)] * x.ndim
        edges[1] = (before, self.size - 1 - before)
        squares = np.pad(x * x, edges)
        total = sum(squares[:, k : k + x.shape[1]] for k in range(self.size))
        scale = np.asarray(self.alpha / self.size, x.dtype)
        power = np.asarray(self.beta, x.dtype)
        return x / (np.asarray(self.bias, x.dtype) + scale * total) ** power

    samples = cases(
        ({"size": 5}, (1, 17, 3, 5)),
        ({"size": 3, "alpha": 0.5, "beta": 0.5, "bias": 2.0}, (2, 5, 7)),
        ({"size": 4, "alpha": 0.3}, (1, 3, 2, 2)),
        ({"size": 1, "alpha": 0.3, "beta": 0.6}, (3, 1)),
    )
