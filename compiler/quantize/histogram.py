"""A tensor's numbers over all data, counted in bins: small, exact to add to, and to go on from.

Bins are as wide as a power of two and begin at a multiple of it. Where numbers come that the bins
do not reach, pairs of them are joined, so that it does not matter in which order data come.
"""

from __future__ import annotations

import math

import numpy as np

#: at most, between the least and the largest number
BINS = 4096


class Histogram:
    """Of finite numbers; 0 is always within its range."""

    def __init__(self) -> None:
        self.low = self.high = 0.0
        #: bins are 2^exponent wide, and the first one is the ``first``-th from 0
        self.exponent, self.first = -1000, 0
        self.counts = np.zeros(0, np.int64)

    def add(self, data: np.ndarray) -> None:
        finite = data[np.isfinite(data)].astype(np.float64)
        if not finite.size:
            return
        self.low = min(self.low, float(finite.min()))
        self.high = max(self.high, float(finite.max()))
        if self.low == self.high:
            return
        self._reach()
        bins = np.floor(finite * 2.0**-self.exponent).astype(np.int64) - self.first
        self.counts += np.bincount(bins, minlength=len(self.counts))

    def _reach(self) -> None:
        """Makes the bins wide enough for the range."""
        exponent = max(math.ceil(math.log2((self.high - self.low) / (BINS - 2))), self.exponent)
        first, last = (math.floor(v * 2.0**-exponent) for v in (self.low, self.high))
        counts = np.zeros(last - first + 1, np.int64)
        if len(self.counts):
            shift = min(exponent - self.exponent, 62)
            old = (np.arange(len(self.counts)) + self.first) >> shift
            np.add.at(counts, old - first, self.counts)
        self.exponent, self.first, self.counts = exponent, first, counts

    @property
    def centres(self) -> np.ndarray:
        """The number in the middle of each bin."""
        return (np.arange(len(self.counts)) + self.first + 0.5) * 2.0**self.exponent

    def between(self, share: float) -> tuple[float, float]:
        """The range without ``share`` of the numbers at either end."""
        total = self.counts.sum()
        if not total:
            return self.low, self.high
        below = np.cumsum(self.counts)
        first = int(np.searchsorted(below, share * total, side="right"))
        last = int(np.searchsorted(below, (1 - share) * total, side="left"))
        width = 2.0**self.exponent
        low, high = (self.first + first) * width, (self.first + last + 1) * width
        return max(low, self.low), min(high, self.high)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """What to write down of it."""
        return np.array([self.low, self.high, self.exponent, self.first]), self.counts

    @classmethod
    def of_arrays(cls, parts: np.ndarray, counts: np.ndarray) -> Histogram:
        made = cls()
        made.low, made.high = float(parts[0]), float(parts[1])
        made.exponent, made.first, made.counts = int(parts[2]), int(parts[3]), counts
        return made
