"""Every quantised operator against LiteRT's reference kernel: the same integers."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.ir import verify
from armlet.compiler.ops.interpreter import evaluate
from armlet.compiler.passes import pipeline
from armlet.frontends.tflite.integer.convert import MOVES
from armlet.frontends.tflite.registry import HANDLERS, INTEGERS

from .harness import by_litert, load, one
from .integer_cases import CASES, Case, x


def check_same_integers(data: bytes, feeds: list[np.ndarray]) -> None:
    """The imported model and what the passes make of it give LiteRT's integers."""
    module = load(data)
    named = {p.name: feed for p, feed in zip(module.main.params, feeds, strict=True)}
    want = by_litert(data, feeds, "reference")
    for function in (module.main, pipeline.run(module.main)):
        verify(function)
        for got, right in zip(evaluate(function, named), want, strict=True):
            assert (got.shape, got.dtype) == (right.shape, right.dtype)
            np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize(
    ("dtype", "case"), CASES, ids=[f"{d}-{case[0]}-{i}" for i, (d, case) in enumerate(CASES)]
)
def test_the_integers_are_those_of_litert(dtype: str, case: Case) -> None:
    kind, operands, more = case
    check_same_integers(*one(kind, operands, **more))


def test_every_handler_of_integers_has_a_case() -> None:
    tried = {case[0] for _, case in CASES}
    assert set(INTEGERS) - tried <= {"ELU", "GREATER", "LESS_EQUAL", "SUM"}
    assert MOVES - {"IF"} <= set(HANDLERS)
    assert not MOVES & set(INTEGERS)


def test_a_sum_is_within_a_step_of_litert() -> None:
    """Its reference kernel reads other types as uint8; its own one computes in float."""
    data, feeds = one("SUM", [x("int8", 1, 7, 6, 8), np.array([1, 2], "int32")],
                      dtypes=("int8",), scales=[([0.3], [5], 0)])  # fmt: skip
    module = load(data)
    (got,) = evaluate(module.main, {module.main.params[0].name: feeds[0]})
    (want,) = by_litert(data, feeds)
    assert np.abs(got.astype(int) - want.astype(int)).max() <= 1
