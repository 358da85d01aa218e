"""Matrix products of plain and of packed operands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from armlet.compiler.ir import Dim, Dimension, TensorType

from .helpers import (
    NUMERIC,
    cases,
    check,
    convert,
    dtype_of,
    expect_dtype,
    expect_operands,
    random,
    same_dtype,
    shape_of,
)
from .lazy import te
from .nn import SMALL, centred
from .registry import Fusion, Layout, Op, Sample, op


def _agree(a: Dimension, b: Dimension) -> bool:
    return a == b or isinstance(a, Dim) or isinstance(b, Dim)


def _batch(op: Op, a: Sequence[Dimension], b: Sequence[Dimension]) -> tuple[Dimension, ...]:
    """The batch axes, broadcast by NumPy's rules."""
    rank = max(len(a), len(b))
    pairs = zip([1] * (rank - len(a)) + [*a], [1] * (rank - len(b)) + [*b])
    shape: list[Dimension] = []
    for m, n in pairs:
        check(m == 1 or n == 1 or _agree(m, n), f"{op.name} cannot broadcast {[*a]} and {[*b]}")
        shape.append(n if m == 1 else m if n == 1 or isinstance(m, int) else n)
    return tuple(shape)


@op("matmul", fusion=Fusion.ANCHOR, layout=Layout.ANCHOR)
class MatMul(Op):
    """ONNX MatMul, NumPy's ``@``: y[…,m,n] = sum of a[…,m,k] * b[…,k,n]; batch axes broadcast.

    An operand of one axis is a row (left) or a column (right), and the result lacks that axis.
    """

    #: of float16: whether sums are in float32 from block to block
    wide_sums: bool = False
    #: of 8-bit integers, whose sums are in int32: a stands for a - zero_point
    zero_point: int = 0

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 2)
        a, b = operands
        small = a.dtype in SMALL and b.dtype in (*SMALL, "int16")
        expect_dtype(self, a, NUMERIC)
        dtype = "int32" if small else same_dtype(self, operands)
        check(a.rank and b.rank, f"{self.name} takes no scalars: {a}, {b}")
        depth = b.shape[-2] if b.rank > 1 else b.shape[0]
        check(_agree(a.shape[-1], depth), f"{self.name} cannot multiply {a} and {b}")
        batch = _batch(self, a.shape[:-2], b.shape[:-2])
        rows = a.shape[-2:-1] if a.rank > 1 else ()
        shape = (*batch, *rows, *(b.shape[-1:] if b.rank > 1 else ()))
        return (TensorType(shape, dtype),)

    def compute(self, a: Any, b: Any) -> Any:
        left, right = shape_of(a), shape_of(b)
        (out,) = self.infer([TensorType(left), TensorType(right)])
        a = centred(a, self.zero_point)
        k = te.reduce_axis((0, left[-1]), "k")
        tails = int(len(left) > 1), int(len(right) > 1)

        def element(*i: Any) -> Any:
            batch, (*mn,) = i[: len(i) - sum(tails)], i[len(i) - sum(tails) :]
            row, column = mn[: tails[0]], mn[tails[0] :]
            return te.sum(
                a[(*_spread(batch, left[:-2]), *row, k)]
                * convert(b[(*_spread(batch, right[:-2]), k, *column)], dtype_of(a)),
                axis=k,
            )

        return te.compute(out.static_shape, element, name="anchor")

    def evaluate(self, a: np.ndarray, b: np.ndarray) -> Any:
        if a.dtype.name in SMALL:
            # float64 holds such sums exactly, and NumPy is quick in it
            return np.matmul(a - np.float64(self.zero_point), b.astype("d")).astype(np.int32)
        return np.asarray(np.matmul(a, b), a.dtype)

    def macs(self, operands: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].elements * operands[0].static_shape[-1]

    samples = cases(
        ({}, (5, 17), (17, 3)),
        ({}, (1, 1), (1, 24)),
        ({}, (2, 3, 7, 5), (2, 3, 5, 11)),
        ({}, (3, 1, 4, 5), (2, 5, 1)),
        ({}, (7, 5), (4, 5, 3)),
        ({}, (13,), (13, 3)),
        ({}, (2, 5, 13), (13,)),
        ({}, (13,), (13,)),
        ({}, np.arange(6, dtype="int32").reshape(2, 3), np.arange(6, dtype="int32").reshape(3, 2)),
        ({"zero_point": 7}, random((3, 5, 17), "uint8"), random((17, 4), "int8")),
        ({"zero_point": -3}, random((5, 17), "int8"), random((2, 17, 3), "int8")),
    )


def _spread(batch: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
    """Indices of the batch axes of an operand that may be broadcast."""
    own = batch[len(batch) - len(sizes) :]
    return [0 if size == 1 else i for i, size in zip(own, sizes)]


def pack_matrix(w: np.ndarray, block: int) -> np.ndarray:
    """[K, N] -> [ceil(N / block), K, block], as ``matmul_packed`` reads it; zeros beyond N."""
    depth, columns = w.shape
    padded = np.pad(w, ((0, 0), (0, -columns % block)))
    return np.ascontiguousarray(padded.reshape(depth, -1, block).transpose(1, 0, 2))


def pack_row(bias: np.ndarray, block: int) -> np.ndarray:
    """[N] -> [ceil(N / block) * block]; zeros beyond N."""
    return np.pad(bias, (0, -len(bias) % block))


@op("matmul_packed", fusion=Fusion.ANCHOR, layout=Layout.PLAIN)
class MatMulPacked(Op):
    """matmul by a constant matrix that is packed in column panels (``pack_matrix``).

    Operands x[…,M,K], w[ceil(N/n),K,n] and, if there is one, bias[ceil(N/n)*n]; the result
    is [...,M,N] with N = ``columns``. The stage "anchor" has whole panels, [..., M, N/n, n].
    """

    columns: int
    #: of float16: whether sums are in float32 from block to block
    wide_sums: bool = False

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 2, 3)
        x, w = operands[:2]
        same_dtype(self, operands)
        check(x.rank >= 2 and w.rank == 3, f"{self.name} cannot multiply {x} and {w}")
        panels, depth, n = w.static_shape
        check(_agree(x.shape[-1], depth), f"{self.name} cannot multiply {x} and {w}")
        check(
            (panels - 1) * n < self.columns <= panels * n,
            f"{self.name} has {self.columns} columns, which do not fill {w}",
        )
        if len(operands) == 3:
            bias = operands[2]
            check(bias.shape == (panels * n,), f"{self.name} has bias {bias} for weights {w}")
        return (x.with_shape((*x.shape[:-1], self.columns)),)

    def compute(self, x: Any, w: Any, bias: Any = None) -> Any:
        panels, depth, n = shape_of(w)
        outer = shape_of(x)[:-1]
        k = te.reduce_axis((0, depth), "k")
        anchor = te.compute(
            (*outer, panels, n),
            lambda *i: te.sum(x[(*i[:-2], k)] * w[i[-2], k, i[-1]], axis=k),
            name="anchor",
        )

        def element(*i: Any) -> Any:
            total = anchor[(*i[:-1], i[-1] // n, i[-1] % n)]
            return total if bias is None else total + bias[i[-1]]

        name = "unpacked" if bias is None else "biased"
        return te.compute((*outer, self.columns), element, name=name)

    def evaluate(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> Any:
        matrix = w.transpose(1, 0, 2).reshape(w.shape[1], -1)[:, : self.columns]
        y = np.matmul(x, matrix)
        return y if bias is None else y + bias[: self.columns]

    def macs(self, operands: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return math.prod(operands[0].static_shape) * self.columns

    @classmethod
    def samples(cls) -> list[Sample]:
        rng = np.random.default_rng(0)
        found = []
        for shape, columns, block, bias in (
            ((5, 17), 3, 4, True),
            ((1, 24), 17, 16, False),
            ((2, 7, 5), 32, 8, True),
            ((1, 3, 1, 13), 1, 1, False),
        ):
            x, w = rng.standard_normal(shape, "f"), rng.standard_normal((shape[-1], columns), "f")
            extra = [pack_row(rng.standard_normal(columns, "f"), block)] if bias else []
            found.append(Sample(cls(columns=columns), (x, pack_matrix(w, block), *extra)))
        return found
