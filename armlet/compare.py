"""How far two tensors are apart, relative to the range of the right one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: what `compile`, `diff` and the self-test accept: relative to the largest right magnitude
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Difference:
    """``relative`` is the largest absolute error over the largest finite magnitude."""

    name: str
    absolute: float
    relative: float
    #: why the two cannot be compared, or ""
    mismatch: str = ""

    def within(self, tolerance: float) -> bool:
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
