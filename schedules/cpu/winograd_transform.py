"""Winograd's transforms of one dimension, as straight-line code on vectors.

The points come in pairs +-p, so the rows of B^T for p and -p are ``even +- p * odd`` of the
same two sums, and the rows of A^T use the sum and the difference of a pair's products: about
half the arithmetic of the matrices. Every sum is a chain of fused multiply-adds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from armlet.compiler.ops.lazy import tirx
from armlet.compiler.ops.toom_cook import POINTS, transforms

from ..emit import Code

#: the element of a vector at a lane
Vector = Callable[[Any], Any]


class Lines:
    """Writes vectors into registers, one instruction or a few at a time."""

    def __init__(self, code: Code, lanes: int, dtype: str) -> None:
        self.code, self.lanes, self.dtype = code, lanes, dtype
        #: additions, multiplications and fused ones written so far
        self.operations = 0

    def hold(self, value: Vector) -> Vector:
        register = self.code.registers(1, self.lanes, dtype=self.dtype)
        with self.code.vector(self.lanes) as v:
            self.code.store(register, (0, v), value(v))
        return lambda v: register[0, v]

    def sum(self, terms: Sequence[tuple[Fraction, Vector]]) -> Vector:
        """The sum of coefficient x vector; it starts with a coefficient of one if there is one."""
        (factor, first), *rest = sorted(terms, key=lambda t: t[0] != 1)
        self.operations += len(rest) + (factor != 1)

        def total(v: Any) -> Any:
            found = first(v) if factor == 1 else first(v) * self._const(factor)
            for c, x in rest:
                product = x(v) if abs(c) == 1 else x(v) * self._const(abs(c))
                found = found + product if c > 0 else found - product
            return found

        return self.hold(total)

    def _const(self, value: Fraction) -> Any:
        return tirx.const(float(value), self.dtype)


def transform_input(lines: Lines, m: int, x: Sequence[Vector]) -> list[Vector]:
    """B^T x."""
    rows = transforms(m).b

    def part(row: Sequence[Fraction], parity: int, scale: Fraction) -> Vector:
        chosen = [(c / scale, v) for i, (c, v) in enumerate(zip(row, x)) if c and i % 2 == parity]
        return lines.sum(chosen)

    found = [part(rows[0], 0, Fraction(1))]
    for row, point in zip(rows[1::2], POINTS[m]):
        even, odd = part(row, 0, Fraction(1)), part(row, 1, point)
        found += [lines.sum([(Fraction(1), even), (sign * point, odd)]) for sign in (1, -1)]
    return [*found, part(rows[-1], 1, Fraction(1))]


def transform_output(lines: Lines, m: int, x: Sequence[Vector]) -> list[Vector]:
    """A^T x."""
    one = Fraction(1)
    pairs = list(zip(x[1::2], x[2::2]))
    sums = [lines.sum([(one, p), (one, q)]) for p, q in pairs]
    differences = [lines.sum([(one, p), (-one, q)]) for p, q in pairs]
    found = []
    for i in range(m):
        terms = [(p**i, v) for p, v in zip(POINTS[m], differences if i % 2 else sums)]
        ends = [(one, x[0])] * (i == 0) + [(one, x[-1])] * (i == m - 1)
        found.append(lines.sum(ends + terms))
    return found
