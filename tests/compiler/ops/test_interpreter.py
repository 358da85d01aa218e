from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.ir import Var
from armlet.compiler.ops import parse
from armlet.compiler.ops.interpreter import evaluate

TEXT = """
const $one : f32[] = [1.0]
def main(%x: f32[2,3], %n: i64[]) -> (f32[2,3], f32[2,3], f32[]) {
  %a = add(%x, $one) : f32[2,3]  # "add"
  %b = mul(%a, %a) : f32[2,3]  # "mul"
  return %b, %x, $one
}
"""
X = np.arange(6, dtype="float32").reshape(2, 3)
FEEDS = {"x": X, "n": np.array(3)}


def test_results_come_in_order() -> None:
    b, x, one = evaluate(parse(TEXT), FEEDS)
    np.testing.assert_array_equal(b, (X + 1) ** 2)
    np.testing.assert_array_equal(x, X)
    assert one == 1


def test_every_variable_is_observed() -> None:
    seen: dict[str, np.ndarray] = {}

    def observe(var: Var, data: np.ndarray) -> None:
        seen[var.name] = data

    evaluate(parse(TEXT), FEEDS, observe)
    assert list(seen) == ["a", "b"]
    np.testing.assert_array_equal(seen["a"], X + 1)


def test_a_result_may_be_returned_twice() -> None:
    function = parse("def main(%x: f32[2]) -> (f32[2], f32[2]) {\n  return %x, %x\n}\n")
    assert len(evaluate(function, {"x": X[0, :2]})) == 2


@pytest.mark.parametrize(
    "feeds, message",
    [
        ({"x": X}, r"n is i64\[\], but nothing is given"),
        ({"x": X.astype("float64"), "n": np.array(3)}, r"x is f32\[2,3\], but f64\[2,3\]"),
        ({"x": X.T, "n": np.array(3)}, r"x is f32\[2,3\], but f32\[3,2\]"),
    ],
)
def test_feeds_that_do_not_fit_are_named(feeds: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(parse(TEXT), feeds)


def test_a_symbolic_dimension_takes_any_size() -> None:
    function = parse(
        'def main(%x: f32[N]) -> f32[N] {\n  %y = neg(%x) : f32[N]  # "y"\n  return %y\n}\n'
    )
    for size in (1, 5):
        (y,) = evaluate(function, {"x": np.ones(size, "float32")})
        assert y.shape == (size,)
