"""The search against random search, on workloads whose every point was measured once.

``tests/data/search.npz`` is made by ``benchmarks/search_table.py``, on a Sapphire Rapids core.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from armlet.compiler.tune.ranker import Ranker, Samples
from armlet.compiler.tune.search import Search

TABLE = Path(__file__).parents[2] / "data" / "search.npz"
BATCH = 8


class Measured:
    """A workload of the table."""

    def __init__(self, table, name: str) -> None:
        self.features = table[f"{name}|features"].astype(np.float32)
        estimate = list(table[f"{name}|names"]).index("estimate")
        self.estimates = np.exp2(self.features[:, estimate].astype(np.float64))
        self.seconds = table[f"{name}|microseconds"].astype(np.float64)

    def guided(self, seed: int, trials: int) -> list[float]:
        """The seconds of the points in the order in which they are tried."""
        search, tried = Search(self.features, self.estimates, seed=seed), []
        while len(tried) < trials and not search.done:
            for point in search.propose(min(BATCH, trials - len(tried))):
                search.tell(point, self.seconds[point])
                tried.append(self.seconds[point])
        return tried

    def random(self, seed: int, trials: int) -> list[float]:
        """The default, then any."""
        order = np.random.default_rng(seed).permutation(len(self.seconds) - 1)
        return [self.seconds[0], *self.seconds[1 + order][: trials - 1]]

    def reached(self, tried: list[float], trials: int) -> float:
        return self.seconds.min() / min(tried[:trials])


@pytest.fixture(scope="module")
def workloads():
    table = np.load(TABLE)
    names = sorted({key.partition("|")[0] for key in table})
    return {name: Measured(table, name) for name in names}


def medians(workloads, how: str, seeds: int, marks: Sequence[int]) -> dict[str, list[float]]:
    """The share of the best that the median seed reaches after so many trials."""
    found = {}
    for name, measured in workloads.items():
        runs = [getattr(measured, how)(seed, marks[-1]) for seed in range(seeds)]
        found[name] = [float(np.median([measured.reached(r, n) for r in runs])) for n in marks]
    return found


@pytest.mark.parametrize(
    ("seeds", "marks"), [(3, (16, 32)), pytest.param(20, (16, 32, 128), marks=pytest.mark.slow)]
)
def test_few_trials_find_nearly_the_best(workloads, seeds, marks):
    guided, random = (medians(workloads, how, seeds, marks) for how in ("guided", "random"))
    assert len(workloads) == 12
    assert min(g[1] for g in guided.values()) >= 0.97, guided
    if 128 in marks:
        assert min(g[2] for g in guided.values()) >= 0.97, guided
    ours, theirs = (np.mean(list(found.values()), 0) for found in (guided, random))
    assert (ours >= theirs).all(), (ours, theirs)


def test_other_workloads_teach_where_the_estimate_errs():
    """The estimate knows nothing; the trees learn from a neighbour what matters."""
    rng = np.random.default_rng(0)

    def points(scale: float) -> Samples:
        features = rng.uniform(0, 1, (80, 4)).astype(np.float32)
        return Samples(features, np.zeros(80), scale * (1 + features[:, 2] ** 2))

    neighbour, own = points(5.0), points(1.0)
    ranker = Ranker()
    ranker.fit(Samples(own.features[:0], own.estimates[:0], own.seconds[:0]), [neighbour])
    order = np.argsort(-ranker.scores(own.features, own.estimates))
    assert own.seconds[order[:8]].max() < np.median(own.seconds)


def test_failures_rank_last_and_do_not_stop_the_search():
    features = np.linspace(0, 1, 60, dtype=np.float32)[:, None]
    search = Search(features, np.ones(60))
    for _ in range(4):
        for point in search.propose(8):
            search.tell(point, None if features[point, 0] > 0.5 else 1 - features[point, 0])
    assert search.best is not None and features[search.best, 0] > 0.4


def test_everything_fails():
    search = Search(np.ones((12, 1)), np.ones(12))
    while not search.done:
        for point in search.propose(5):
            search.tell(point, None)
    assert search.best is None and search.expected_gain(8) == 0.0
