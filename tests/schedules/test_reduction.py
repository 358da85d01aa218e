"""Reductions, softmax and norms over every kind of axes."""

from __future__ import annotations

import numpy as np
import pytest

from .harness import Case, Net, assembly, check, hot_loops

SHAPES = [
    ((5, 33), (1,)), ((33, 5), (0,)), ((7, 100), (0,)), ((2000, 3), (0,)), ((2, 3, 5, 7), (2, 3)),
    ((2, 3, 5, 7), (1,)), ((2, 3, 5, 7), (0, 2)), ((2, 3, 5, 7), (1, 3)),
    ((1, 3, 9, 11, 16), (2, 3)), ((2, 2, 8, 8, 4), (2, 3)), ((300,), (0,)), ((3, 4, 1), (1,)),
    ((1, 1, 1), (2,)), ((4, 1), (1,)),
    ((40, 663), (1,)), ((2, 3, 64), (0, 1, 2)), ((1, 5, 2100), (1,)),
]  # fmt: skip


def one(name: str, shape: tuple[int, ...], *others: tuple[int, ...], **attributes) -> Case:
    net = Net()
    net.__getattr__(name)(net.x(*shape), *(net.x(*o) for o in others), **attributes)
    return Case(f"{name} {shape} {attributes}", net)


@pytest.mark.parametrize("name", ["reduce_sum", "reduce_max", "reduce_l2", "reduce_log_sum_exp"])
def test_reduction_over_all_axes(name):
    cases = [one(name, s, axes=a, keepdims=k) for s, a in SHAPES for k in (True, False)]
    check(cases, "reduction")


def test_softmax_over_all_axes():
    cases = [one(n, s, axis=a[0]) for n in ("softmax", "log_softmax") for s, a in SHAPES]
    check(cases, "reduction")


def test_position_of_the_largest():
    check([one("argmax", s, axis=a[0], keepdims=False) for s, a in SHAPES], "reduction")


def test_norms():
    cases = [one("layer_norm", (*s, n), (n,), (n,)) for s in ((3,), (2, 40)) for n in (1, 15, 120)]
    cases += [one("layer_norm", (2, 3, 5), (3, 5), axis=1)]
    cases += [one("instance_norm", (2, 3, h, 7), (3,), (3,)) for h in (1, 5, 64)]
    check(cases, "reduction")


def test_neighbours_are_fused_in():
    net = Net()
    x = net.mul(net.x(3, 5, 40), net.x(3, 5, 40))
    net.sqrt(net.reduce_sum(net.exp(x), axes=(2,)))
    after = Net()
    after.relu(after.softmax(after.x(4, 21)))
    check([Case("before and after", net), Case("after", after)], "reduction")


def test_integers_are_exact():
    net = Net()
    data = net.rng.integers(-1000, 1000, (5, 77)).astype("int64")
    net.reduce_sum(net.x(data=data), axes=(1,))
    check([Case("int64", net)], "reduction")


def test_nan_is_the_largest():
    net = Net()
    data = net.rng.standard_normal((3, 50)).astype("f")
    data[1, 17] = np.nan
    net.reduce_max(net.x(data=data), axes=(1,))
    check([Case("nan", net)], "reduction")


@pytest.mark.parametrize("axes", [(1,), (0,)])
def test_sums_are_vectors(axes):
    case = one("reduce_sum", (256, 512), axes=axes)
    loops = hot_loops(assembly(case.net.group()), "vaddps")
    assert any("zmm" in line for loop in loops for line in loop)
