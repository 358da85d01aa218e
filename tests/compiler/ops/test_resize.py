"""Index tables of a resize, as integer arithmetic."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from armlet.compiler.ops.resize import COORDINATES, NEAREST, Axis, line_through, simplest_between


@pytest.mark.parametrize(
    ("low", "high", "simplest"),
    [
        (Fraction(1, 3), Fraction(1, 2), Fraction(2, 5)),
        (Fraction(0), Fraction(2, 7), Fraction(1, 4)),
        (Fraction(-1, 2), Fraction(1, 2), Fraction(0)),
        (Fraction(5, 2), Fraction(7, 2), Fraction(3)),
    ],
)
def test_the_simplest_fraction_between_two(low, high, simplest):
    assert simplest_between(low, high) == simplest


def test_twice_as_many_is_half_the_index():
    assert Axis(40, 80, 2.0, "asymmetric", "floor").line == (1, 0, 2)


def test_a_table_that_no_line_passes_has_none():
    assert line_through(np.array([0, 0, 2, 2, 2])) is None


@pytest.mark.parametrize(("coordinate", "rounding"), list(itertools.product(COORDINATES, NEAREST)))
def test_a_line_gives_the_table(coordinate, rounding):
    for size, scale in itertools.product((1, 5, 20, 77), (0.5, 0.6, 1.25, 1.7, 2.0, 3.0)):
        axis = Axis(size, max(1, int(size * scale)), scale, coordinate, rounding)
        if axis.line is not None:
            a, b, d = axis.line
            np.testing.assert_array_equal((a * np.arange(axis.out) + b) // d, axis.wholes)
