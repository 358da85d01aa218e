"""How passes are tested: text in, text out, and the meaning kept."""

import numpy as np

from armlet.compiler.ir import (
    Function,
    canonical_text,
    print_function,
    structural_equal,
    verify,
)  # fmt: skip
from armlet.compiler.ops import parse
from armlet.compiler.ops.interpreter import evaluate


def feeds_of(function: Function, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        p.name: (
            rng.standard_normal(p.type.static_shape)
            if p.type.dtype.startswith("f")
            else rng.integers(0, 3, p.type.static_shape)
        ).astype(p.type.dtype)
        for p in function.params
    }


def results_of(function: Function, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        return list(evaluate(function, feeds))


def check_meaning_kept(before: Function, after: Function, tolerance: float = 1e-5) -> None:
    feeds = feeds_of(before)
    for a, b in zip(results_of(before, feeds), results_of(after, feeds), strict=True):
        assert a.dtype == b.dtype
        limit = tolerance * max(1.0, float(np.abs(a[np.isfinite(a)]).max(initial=0)))
        np.testing.assert_allclose(b, a, rtol=0, atol=limit)


def check_pass(
    run, before: str, after: str | None = None, unchanged: bool = False, tolerance: float = 1e-5
) -> None:
    """``run`` turns ``before`` into ``after`` (contents of constants aside) and means the same."""
    old = parse(before)
    new = run(old)
    verify(old), verify(new)
    check_meaning_kept(old, new, tolerance)
    if unchanged:
        assert structural_equal(old, new), print_function(new)
        return
    assert after is not None
    expected = parse(after)
    verify(expected)
    if canonical_text(new, False) != canonical_text(expected, False):
        raise AssertionError(f"expected\n{print_function(expected)}\nfound\n{print_function(new)}")
