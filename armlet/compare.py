"""How far two tensors are apart, relative to the range of the right one; and how far they may be.

An output is right if it is the exact output for inputs that differ in their last bit, or
nearly so: a model that turns such a difference into a large one cannot be held to less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from armlet.reference import Arrays, Reference

#: what `compile`, `diff` and the self-test accept: relative to the largest right magnitude
TOLERANCE = 1e-4
#: as ``TOLERANCE``, of what computes in float16
HALF_TOLERANCE = 3e-2


@dataclass(frozen=True)
class Difference:
    """``relative`` is the largest absolute error over the largest finite magnitude."""

    name: str
    absolute: float
    relative: float
    #: why the two cannot be compared, or ""
    mismatch: str = ""

    def within(self, tolerance: float) -> bool:
        """Whether the error is at most ``tolerance`` of the range."""
        return not self.mismatch and self.relative <= tolerance

    def __str__(self) -> str:
        if self.mismatch:
            return f"{self.name}: {self.mismatch}"
        return f"{self.name}: largest error {self.absolute:.3g}, {self.relative:.2g} of the range"


def difference(name: str, right: np.ndarray, found: np.ndarray) -> Difference:
    """NaN equals NaN and an infinity itself; elsewhere they are differences without measure."""
    if right.shape != found.shape:
        return Difference(name, np.inf, np.inf, f"shape {found.shape} instead of {right.shape}")
    if right.size == 0:
        return Difference(name, 0.0, 0.0)
    a, b = np.asarray(right, np.float64), np.asarray(found, np.float64)
    finite = np.isfinite(a)
    same = np.array_equal(a[~finite], b[~finite], equal_nan=True)
    if not same or not np.isfinite(b[finite]).all():
        return Difference(name, np.inf, np.inf, "NaN or infinities differ")
    if not finite.any():
        return Difference(name, 0.0, 0.0)
    absolute = float(np.abs(a[finite] - b[finite]).max())
    scale = float(np.abs(a[finite]).max())
    return Difference(name, absolute, absolute / scale if scale else absolute)


def _scale(data: np.ndarray) -> float:
    finite = np.abs(np.asarray(data, np.float64)[np.isfinite(data)])
    return float(finite.max(initial=0.0))


def _nudged(feeds: Mapping[str, np.ndarray]) -> Arrays:
    """Floating inputs, each element moved to a neighbour."""
    rng = np.random.default_rng(0)

    def nudge(data: np.ndarray) -> np.ndarray:
        if data.dtype.kind != "f":
            return data
        up = rng.random(data.shape) < 0.5
        return np.where(up, np.nextafter(data, np.inf), np.nextafter(data, -np.inf)).astype(
            data.dtype
        )

    return {name: nudge(np.asarray(data)) for name, data in feeds.items()}


#: how many times the model's own answer to a nudge counts as right
NUDGES = 4


def allowances(
    reference: Reference, feeds: Mapping[str, np.ndarray], right: Arrays, tolerance: float
) -> dict[str, float]:
    """The error that each output may have, relative to its range.

    ``tolerance``; or one unit in the last place of the output's type; or ``NUDGES`` times
    what the source model changes by when every input moves to a neighbouring number.
    """
    nudged = reference.run(_nudged(feeds))
    allowed = {}
    for name, data in right.items():
        if data.dtype.kind != "f":
            allowed[name] = 0.0
            continue
        own = difference(name, data, nudged[name])
        sensitivity = 0.0 if own.mismatch else NUDGES * own.relative
        allowed[name] = max(tolerance, float(np.finfo(data.dtype).eps), sensitivity)
    return allowed


def absolute(allowed: Mapping[str, float], right: Arrays) -> list[float]:
    """Allowances as absolute errors, in the order of the outputs."""
    return [allowed[name] * _scale(data) for name, data in right.items()]
