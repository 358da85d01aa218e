"""Scaled dot-product attention (Vaswani et al., NeurIPS'17) of heads that lie interleaved."""

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
    dtype_of,
    expect_dtype,
    expect_operands,
    expect_rank,
    joined,
    random,
    same_dtype,
    shape_of,
)
from .lazy import te, tirx
from .registry import Fusion, Layout, Op, op


@op("attention", fusion=Fusion.OPAQUE, layout=Layout.PLAIN)
class Attention(Op):
    """y = softmax(scale * q k^T + mask) v for each head.

    Operands q[B,S,H,D], k[B,T,H,D], v[B,T,H,E] and, if there is one, a mask that broadcasts
    to [B,H,S,T]; the result is [B,S,H,E].
    """

    half = False  # its kernel is for float32

    scale: float = 1.0

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 3, 4)
        q, k, v = operands[:3]
        same_dtype(self, operands)
        expect_dtype(self, q, FLOATS)
        for type in (q, k, v):
            expect_rank(self, type, 4)
        b, s, h, d = q.shape
        t, e = v.shape[1], v.shape[3]
        fits = k.shape == (b, t, h, d) and v.shape == (b, t, h, e)
        check(fits, f"{self.name} cannot attend to {k} and {v} from {q}")
        for mask in operands[3:]:
            fits = broadcast_shapes(mask.shape, (b, h, s, t)) == (b, h, s, t)
            check(fits, f"{self.name}'s mask {mask} does not broadcast to {[b, h, s, t]}")
        return (q.with_shape((b, s, h, e)),)

    def compute(self, q: Any, k: Any, v: Any, *mask: Any) -> Any:
        (b, s, h, d), (_, t, _, e) = shape_of(q), shape_of(v)
        depth, key = te.reduce_axis((0, d), "d"), te.reduce_axis((0, t), "t")
        rows, scores = (b, h, s), (b, h, s, t)
        product = te.compute(
            scores, lambda n, m, i, j: te.sum(q[n, i, m, depth] * k[n, j, m, depth], axis=depth),
            name="product",
        )  # fmt: skip

        def scored(*i: Any) -> Any:
            value = product[i] * constant(self.scale, dtype_of(q))
            return value + mask[0][broadcast_index(shape_of(mask[0]), i)] if mask else value

        score = te.compute(scores, scored, name="score")
        largest = te.compute(rows, lambda *i: te.max(score[(*i, key)], axis=key), name="max")
        weight = te.compute(scores, lambda *i: tirx.exp(score[i] - largest[i[:3]]), name="exp")
        key2, key3 = te.reduce_axis((0, t), "t"), te.reduce_axis((0, t), "t")
        total = te.compute(rows, lambda *i: te.sum(weight[(*i, key2)], axis=key2), name="sum")
        mixed = te.compute(
            (b, s, h, e),
            lambda n, i, m, c: te.sum(weight[n, m, i, key3] * v[n, key3, m, c], axis=key3),
            name="anchor",
        )
        return te.compute(
            (b, s, h, e), lambda n, i, m, c: mixed[n, i, m, c] / total[n, m, i], name=self.name
        )

    def evaluate(self, q: np.ndarray, k: np.ndarray, v: np.ndarray, *mask: np.ndarray) -> Any:
        heads = [x.astype(np.float64).transpose(0, 2, 1, 3) for x in (q, k, v)]
        scores = heads[0] @ heads[1].transpose(0, 1, 3, 2) * self.scale
        scores = scores + mask[0] if mask else scores
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        y = weights / weights.sum(-1, keepdims=True) @ heads[2]
        return np.ascontiguousarray(y.transpose(0, 2, 1, 3)).astype(q.dtype)

    def macs(self, operands: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        (b, s, h, d), (_, t, _, e) = operands[0].static_shape, operands[2].static_shape
        return b * s * h * t * (d + e)

    samples = joined(
        cases(
            ({"scale": 0.5}, (1, 5, 2, 8), (1, 7, 2, 8), (1, 7, 2, 3)),
            ({}, (2, 3, 1, 4), (2, 3, 1, 4), (2, 3, 1, 4), (2, 1, 1, 3)),
            ({}, (1, 4, 2, 4), (1, 5, 2, 4), (1, 5, 2, 4), (4, 5)),
            ({"scale": 30.0}, random((1, 3, 1, 4)), random((1, 6, 1, 4)), random((1, 6, 1, 4))),
        ),
        cases(({}, (1, 4, 2, 3), (1, 4, 2, 3), (1, 4, 2, 3)), dtype="float64"),
    )
