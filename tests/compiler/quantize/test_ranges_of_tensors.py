"""What is counted of tensors, and the ranges that are chosen by it."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.quantize.histogram import BINS, Histogram
from armlet.compiler.quantize.observers import METHODS
from armlet.compiler.quantize.recipe import Scaled

RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal(100_000).astype("f")


def counted(*parts: np.ndarray) -> Histogram:
    made = Histogram()
    for part in parts:
        made.add(part)
    return made


@pytest.mark.parametrize("factor", [1.0, 1e-20, 1e20, 3.7])
def test_every_number_is_counted_in_its_bin(factor):
    data = NORMAL * np.float32(factor)
    found = counted(data)
    edges = (np.arange(len(found.counts) + 1) + found.first) * 2.0**found.exponent
    assert found.counts.sum() == data.size and len(found.counts) <= BINS
    np.testing.assert_array_equal(found.counts, np.histogram(data.astype("d"), edges)[0])
    assert (found.low, found.high) == (data.min(), data.max())


def test_the_order_of_data_does_not_matter():
    parts = [NORMAL[:9] * 1e-3, NORMAL * 50, NORMAL[9:99], np.zeros(4, "f"), NORMAL[:5] + 9e3]
    first, second = counted(*parts), counted(*parts[::-1])
    assert (first.low, first.high, first.exponent, first.first) == (
        second.low, second.high, second.exponent, second.first,
    )  # fmt: skip
    np.testing.assert_array_equal(first.counts, second.counts)
    again = Histogram.of_arrays(*first.arrays())
    np.testing.assert_array_equal(again.counts, first.counts)


def test_numbers_that_are_none_do_not_count():
    found = counted(np.array([1, np.nan, np.inf, -np.inf, 2], "f"), np.zeros(0, "f"))
    assert (found.low, found.high, found.counts.sum()) == (0, 2, 2)


def test_shares_are_cut_off_at_either_end():
    low, high = counted(NORMAL).between(0.01)
    assert low == pytest.approx(np.quantile(NORMAL, 0.01), abs=0.01)
    assert high == pytest.approx(np.quantile(NORMAL, 0.99), abs=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_reaches_no_further_than_the_numbers(method):
    for data in (NORMAL, np.abs(NORMAL), -np.abs(NORMAL), np.zeros(3, "f"), np.full(9, 5, "f")):
        low, high = METHODS[method](counted(data))
        assert min(0, data.min()) <= low <= 0 <= high <= max(0, data.max())


def error(method: str, data: np.ndarray) -> float:
    scaled = Scaled.of_range(*METHODS[method](counted(data)))
    return float(np.square(scaled.rounded(data) - data).mean())


def test_the_least_squared_error_is_the_least():
    data = np.concatenate([NORMAL, [80, -60]]).astype("f")
    least = error("mse", data)
    assert all(least <= 1.001 * error(method, data) for method in METHODS)
    tried = [Scaled.of_range(s * data.min(), s * data.max()) for s in np.linspace(0.01, 1, 300)]
    assert least <= 1.1 * min(np.square(s.rounded(data) - data).mean() for s in tried)


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_few_far_numbers_are_cut_off(method):
    data = np.concatenate([NORMAL, [80]]).astype("f")
    assert METHODS[method](counted(data))[1] < 40 and METHODS["minmax"](counted(data))[1] == 80


@pytest.mark.parametrize("span", [(-1, 2), (0, 6), (-3, 0), (1, 2), (0, 0), (-1e-30, 1e-30)])
def test_zero_is_exact_and_the_ends_are_within_half_a_step(span):
    scaled = Scaled.of_range(*span)
    ends = np.array(span, "f")
    assert scaled.rounded(np.zeros(1, "f")) == 0
    assert np.abs(scaled.rounded(ends) - ends).max() <= 0.51 * scaled.scale
