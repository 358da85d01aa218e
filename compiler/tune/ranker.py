"""The ranking model: which of some points is faster, learned from pairs that were measured.

Gradient-boosted trees with a pairwise loss (AutoTVM's objective; Chen et al., NeurIPS'18)
start from the analytic estimate: without data the order is the estimate's, and the trees learn
where it errs. Points are compared within their workload only, so records of all workloads of a
target's family teach together.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from armlet.errors import MissingPackageError

#: how sure the estimate is: log-odds of a pair for each e-fold of time between them
TRUST = 4.0
ROUNDS = 60
#: weight of other workloads' pairs beside those of the workload at hand
OTHERS = 0.3
PARAMETERS = {
    "objective": "rank:pairwise",
    "lambdarank_pair_method": "mean",
    "lambdarank_num_pair_per_sample": 8,
    "max_depth": 5,
    "eta": 0.15,
    "subsample": 0.8,
    "colsample_bytree": 0.7,
    "nthread": 1,
}


@dataclass(frozen=True)
class Samples:
    """Measured points of one workload: features, log of the estimate, seconds (inf: failed)."""

    features: np.ndarray
    estimates: np.ndarray
    seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.seconds)


def require_xgboost() -> None:
    if importlib.util.find_spec("xgboost") is None:
        raise MissingPackageError(
            "tuning needs xgboost", way_out="python -m pip install 'armlet[tune]'"
        )


class Ranker:
    """Scores points: a higher score is thought to be faster."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._trees: Any = None

    def fit(self, own: Samples, others: Sequence[Samples] = ()) -> None:
        import xgboost

        sets = [s for s in (own, *others) if len(s) > 1]
        if not sets:
            return
        labels = np.concatenate([s.seconds.min() / s.seconds for s in sets])
        data = xgboost.DMatrix(
            np.concatenate([s.features for s in sets]),
            labels,
            qid=np.repeat(np.arange(len(sets)), [len(s) for s in sets]),
            base_margin=np.concatenate([_margin(s.estimates) for s in sets]),
            weight=np.array([1.0 if s is own else OTHERS for s in sets]),
        )
        parameters = {**PARAMETERS, "seed": self._seed}
        self._trees = xgboost.train(parameters, data, ROUNDS)

    def scores(self, features: np.ndarray, estimates: np.ndarray) -> np.ndarray:
        margin = _margin(estimates)
        if self._trees is None:
            return margin
        import xgboost

        return self._trees.predict(
            xgboost.DMatrix(features, base_margin=margin), output_margin=True
        )


def _margin(estimates: np.ndarray) -> np.ndarray:
    return (-TRUST * (estimates - estimates.min())).astype(np.float32)
