"""What to measure next: the points that the ranking model likes best, and now and then others.

The search knows points as rows of numbers only. It proposes a batch, is told the times, learns,
and says what gain it still expects: the mean of what the next batch would gain if its times
were as predicted, with errors as large as those of predictions so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .ranker import Ranker, Samples

#: share of a batch that is picked at random
EXPLORE = 0.15
#: error of a predicted log time before any is known
DOUBT = 0.3
#: predictions whose errors tell how much to doubt the next
RECENT = 16
#: measured points below which times are the estimate's, scaled
FEW = 4
#: draws of what the next batch may give
DRAWS = 256


class Search:
    """Over points with these ``features`` and ``estimates`` (cycles); the first are defaults."""

    def __init__(
        self,
        features: np.ndarray,
        estimates: np.ndarray,
        defaults: int = 1,
        others: Sequence[Samples] = (),
        seed: int = 0,
    ) -> None:
        self.features = np.asarray(features, np.float32)
        self.estimates = np.log(np.asarray(estimates, np.float64))
        self.defaults, self.others = defaults, others
        self.seconds: dict[int, float] = {}
        self._random = np.random.default_rng(seed)
        self._ranker = Ranker(seed)
        self._learned = -1
        self._scores = np.zeros(len(estimates))
        self._predicted: dict[int, float] = {}
        self._proposed: set[int] = set()

    @property
    def done(self) -> bool:
        return len(self._proposed) == len(self.features)

    @property
    def best(self) -> int | None:
        """The fastest point so far."""
        good = {i: s for i, s in self.seconds.items() if math.isfinite(s)}
        return min(good, key=good.__getitem__) if good else None

    def tell(self, point: int, seconds: float | None) -> None:
        """The seconds of a point; None: it has no right kernel."""
        self.seconds[point] = math.inf if seconds is None else seconds
        self._proposed.add(point)

    def propose(self, count: int) -> list[int]:
        """The next points, each once."""
        self._learn()
        left = [i for i in range(len(self.features)) if i not in self._proposed]
        chosen = [i for i in left if i < self.defaults][:count]
        left = sorted((i for i in left if i not in chosen), key=lambda i: -self._scores[i])
        while left and len(chosen) < count:
            explores = bool(chosen) and self._random.random() < EXPLORE
            chosen.append(left.pop(int(self._random.integers(len(left))) if explores else 0))
        predicted = self._log_times(chosen)
        self._predicted.update(zip(chosen, predicted))
        self._proposed.update(chosen)
        return chosen

    def expected_gain(self, count: int) -> float:
        """The share of the best time that the next ``count`` points are expected to save."""
        self._learn()
        best = self.best
        left = [i for i in range(len(self.features)) if i not in self._proposed]
        if best is None or not left:
            return 1.0 if left else 0.0
        likely = sorted(left, key=lambda i: -self._scores[i])[:count]
        errors = [
            math.log(s) - self._predicted[i]
            for i, s in self.seconds.items()
            if math.isfinite(s) and math.isfinite(self._predicted.get(i, math.nan))
        ]
        recent = errors[-RECENT:] if len(errors) >= FEW else [*errors, DOUBT]
        doubt = float(np.sqrt(np.mean(np.square(recent))))
        means = self._log_times(likely)
        draws = self._random.normal(means, doubt, (DRAWS, len(likely))).min(1)
        return float(np.mean(np.maximum(0.0, 1 - np.exp(draws - math.log(self.seconds[best])))))

    def _learn(self) -> None:
        if self._learned == len(self.seconds):
            return
        self._learned = len(self.seconds)
        own = list(self.seconds)
        seconds = np.array([self.seconds[i] for i in own])
        usable = len(own) if np.isfinite(seconds).any() else 0
        own = own[:usable]
        mine = Samples(self.features[own], self.estimates[own], seconds[:usable])
        self._ranker.fit(mine, self.others)
        self._scores = self._ranker.scores(self.features, self.estimates)

    def _log_times(self, points: Sequence[int]) -> np.ndarray:
        """Predicted logarithms of seconds: scores, scaled as those that were measured say."""
        known = [i for i, s in self.seconds.items() if math.isfinite(s)]
        if not known:
            return np.full(len(points), math.nan)
        x, y = self._scores[known], np.log([self.seconds[i] for i in known])
        if len(known) < FEW:
            return self.estimates[points] + (y - self.estimates[known]).mean()
        slope, offset = np.polyfit(x, y, 1) if np.ptp(x) > 1e-9 else (0.0, y.mean())
        return np.minimum(0.0, slope) * self._scores[points] + (
            offset if slope < 0 else float(y.mean())
        )
