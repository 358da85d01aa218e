"""``blocked``: what an operator becomes on channel blocks means the same, and reads no pad lane."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.ops import OPERATORS, Layout
from armlet.compiler.ops.reduce import ReduceMean, ReduceSum

from .independent import unblocked


def blocked(x: np.ndarray, block: int) -> np.ndarray:
    """Lanes beyond the channels are NaN."""
    n, channels, h, w = x.shape
    y = np.full((n, -(-channels // block), h, w, block), np.nan, x.dtype)
    for c in range(channels):
        y[:, c // block, :, :, c % block] = x[:, c]
    return y


SPATIAL = sorted(n for n, r in OPERATORS.items() if r.layout is Layout.SPATIAL)


@pytest.mark.parametrize("name", SPATIAL)
def test_blocked_operator_does_the_same(name):
    compared = 0
    for sample in OPERATORS[name].samples():
        (x, *rest) = sample.operands
        if rest or x.ndim != 4 or x.dtype != np.float32:
            continue
        form = sample.op.blocked(4)
        if form is None:
            continue
        with np.errstate(all="ignore"):
            want = sample.op.evaluate(x)
            got = unblocked(form.evaluate(blocked(x, 4)), want.shape[1])
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
        compared += 1
    assert compared


@pytest.mark.parametrize("axes", [(2, 3), (-2, -1), (3,), (-2,)])
def test_spatial_reductions_count_axes_from_the_front(axes):
    form = ReduceMean(axes=axes).blocked(16)
    assert form.axes == tuple(a % 4 for a in axes)


@pytest.mark.parametrize(
    "op", [ReduceSum(axes=(1,)), ReduceSum(axes=(1, 2, 3)), ReduceSum(axes=(2, 3), keepdims=False)]
)
def test_other_reductions_need_plain_data(op):
    assert op.blocked(16) is None
