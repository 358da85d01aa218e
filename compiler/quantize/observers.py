"""Ranges for tensors, from the numbers that were counted: what beyond them is cut off.

A wide range is coarse and a narrow one cuts off, and these weigh it differently: ``minmax`` cuts
nothing off; ``percentile`` 0.01 % of the numbers at either end; ``mse`` takes the range with the
least squared error; ``entropy`` that whose integers tell most of how the numbers are distributed
(the Kullback-Leibler divergence of Migacz, GTC'17, for both ends at once).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from .histogram import Histogram
from .recipe import LEAST, MOST

#: of the numbers, at either end
CUT_OFF = 1e-4
#: shares of the whole range that are tried
SHARES = np.linspace(1.0, 0.2, 81)
LEVELS = MOST - LEAST + 1

Range = tuple[float, float]


def minmax(histogram: Histogram) -> Range:
    return histogram.low, histogram.high


def percentile(histogram: Histogram) -> Range:
    low, high = histogram.between(CUT_OFF)
    return min(low, 0.0), max(high, 0.0)


def mse(histogram: Histogram) -> Range:
    centres, counts = histogram.centres, histogram.counts.astype(np.float64)

    def error(low: float, high: float) -> float:
        scale = (high - low) / (LEVELS - 1)
        nearest = np.rint(np.clip(centres, low, high) / scale) * scale
        return float(counts @ ((centres - nearest) ** 2))

    return _best(histogram, error)


def entropy(histogram: Histogram) -> Range:
    """Without the numbers about 0, which any range has, and of which activations make many."""
    centres, counts = histogram.centres, histogram.counts.astype(np.float64)
    counts[np.abs(centres) == np.abs(centres).min(initial=np.inf)] = 0
    total = counts.sum()
    if not total:
        return minmax(histogram)

    def divergence(low: float, high: float) -> float:
        inside = (centres >= low) & (centres <= high)
        kept = counts[inside]
        if not kept.size:
            return np.inf
        reference = kept.copy()
        reference[0] += counts[centres < low].sum()
        reference[-1] += counts[centres > high].sum()
        level = ((centres[inside] - low) * (LEVELS / (high - low))).astype(np.int64)
        level = np.clip(level, 0, LEVELS - 1)
        there = kept > 0
        of_level = np.bincount(level, kept, LEVELS)
        bins = np.maximum(np.bincount(level, there, LEVELS), 1)
        spread = np.where(there, (of_level / bins)[level], 0.0)
        p, q = reference / total, spread / max(spread.sum(), 1.0)
        some = p > 0
        return float((p[some] * np.log(p[some] / np.maximum(q[some], 1e-12))).sum())

    return _best(histogram, divergence)


def _best(histogram: Histogram, loss: Callable[[float, float], float]) -> Range:
    """The least loss over shares of the whole range: of both ends at once, then of each alone."""
    low, high = histogram.low, histogram.high
    if low == high:
        return low, high
    best = min(((low * s, high * s) for s in SHARES), key=lambda r: loss(*r))
    return min((best, *_each_end(low, high, best)), key=lambda r: loss(*r))


def _each_end(low: float, high: float, best: Range) -> Iterator[Range]:
    for share in SHARES[::2]:
        if low:
            yield low * share, best[1]
        if high:
            yield best[0], high * share


METHODS: dict[str, Callable[[Histogram], Range]] = {
    "minmax": minmax, "percentile": percentile, "entropy": entropy, "mse": mse,
}  # fmt: skip
