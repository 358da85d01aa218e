"""Structural equality and hashing see structure and nothing else."""

import pytest

from armlet.compiler.ir import structural_equal, structural_hash
from armlet.compiler.ops import parse

BASE = """\
const $c : f32[4] = [1.0, 2.0, 3.0, 4.0]
def main(%x: f32[4]) -> f32[4] {
  %y = add(%x, $c) : f32[4]  # "a"
  %z = leaky_relu(%y) {alpha=0.5} : f32[4]  # "b"
  return %z
}
"""


@pytest.mark.parametrize(
    ("old", "new"), [("%y", "%other"), ('"a"', '"elsewhere"'), ("$c", "$renamed"), ("main", "f")]
)
def test_names_and_sources_do_not_count(old, new):
    assert structural_equal(parse(BASE), parse(BASE.replace(old, new)))
    assert structural_hash(parse(BASE)) == structural_hash(parse(BASE.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [("0.5", "0.25"), ("add", "sub"), ("4.0]", "5.0]"), ("(%x, $c)", "($c, %x)")],
)
def test_structure_counts(old, new):
    assert not structural_equal(parse(BASE), parse(BASE.replace(old, new)))


def test_constant_data_may_be_left_out():
    other = parse(BASE.replace("4.0]", "5.0]"))
    assert structural_hash(parse(BASE), False) == structural_hash(other, False)
