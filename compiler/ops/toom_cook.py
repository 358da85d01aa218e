"""The transforms of Winograd's convolution F(m, 3), and how much they magnify rounding errors.

    y = A^T [(G w G^T) * (B^T d B)] A      of a tile d of (m+2)^2 inputs, m^2 outputs

Toom-Cook over exact rational points (Lavin & Gray, CVPR 2016). The points decide the error
(Barabasz et al., ACM TOMS 2020): ours were searched among fractions of small powers of two,
in pairs +-p that share most of their arithmetic, for the least ``amplification``. All
coefficients of A and B are exact in float32. Another tile needs a row in ``POINTS``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

#: taps of the kernel
TAPS = 3
#: m: one point of each pair +-p; 0 and infinity are always there
POINTS: dict[int, tuple[Fraction, ...]] = {
    2: (Fraction(1),),
    4: (Fraction(5, 8), Fraction(3, 2)),
    6: (Fraction(1, 2), Fraction(1), Fraction(2)),
}

Matrix = tuple[tuple[Fraction, ...], ...]


@dataclass(frozen=True)
class Transforms:
    """A^T [m, m+2], B^T [m+2, m+2], G [m+2, 3]; rows of B^T in order 0, p, -p, …, infinity."""

    a: Matrix
    b: Matrix
    g: Matrix


def _product(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of the polynomial with these roots, the constant first."""
    zero, found = Fraction(0), [Fraction(1)]
    for root in roots:
        found = [low - root * high for low, high in zip([zero, *found], [*found, zero])]
    return found


@lru_cache(maxsize=8)
def transforms(m: int) -> Transforms:
    points = [Fraction(0), *(sign * p for p in POINTS[m] for sign in (1, -1))]
    others = [[q for q in points if q != p] for p in points]
    scale = [math.prod((p - q for q in rest), start=Fraction(1)) for p, rest in zip(points, others)]
    last = [Fraction(0)] * (TAPS - 1) + [Fraction(1)]
    return Transforms(
        tuple((*(p**i for p in points), Fraction(i == m - 1)) for i in range(m)),
        tuple((*_product(rest), Fraction(0)) for rest in others) + (tuple(_product(points)),),
        tuple(tuple(p**j / s for j in range(TAPS)) for p, s in zip(points, scale)) + (tuple(last),),
    )


def array(matrix: Matrix) -> np.ndarray:
    return np.array(matrix, np.float64)


@lru_cache(maxsize=8)
def amplification(m: int) -> float:
    """How many times larger than direct convolution's a rounding error of the products ends up.

    For independent weights and inputs of equal variance: the root of the variance of
    sum A e over that of y, where product e_ij has its own error relative to its own size. One
    dimension's squares multiply to those of two. The worst output counts.
    """
    t = transforms(m)
    a, b, g = (array(x) ** 2 for x in (t.a, t.b, t.g))
    return float((a @ (g.sum(1) * b.sum(1))).max()) / TAPS


#: half a unit in the last place
ROUNDOFF = {"float32": 2.0**-24, "float16": 2.0**-11}
#: largest of a layer's errors over their root mean square, which is 0.4 of the largest roundings'
_EXTREME = 2.0


def error_bound(m: int, channels: int, dtype: str = "float32") -> float:
    """The stated bound of a layer's largest error, relative to its largest output.

    Roundings are taken as independent (Higham & Mary, SISC 2019): a sum over C channels has
    an error that grows with sqrt(C), the transforms add that of a few more terms. Data made
    to line up every rounding can exceed it; a test holds it for several distributions.
    """
    return _EXTREME * ROUNDOFF[dtype] * amplification(m) * math.sqrt(channels / 2 + 2 * (m + 2))
