"""Matrix products of every awkward size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from armlet.compiler.ops.matmul import pack_matrix, pack_row
from armlet.schedules.cpu.matmul import MatMul
from armlet.targets import target

from .harness import Case, Net, assembly, check, check_configs, hot_loops, spills


def packed(shape: tuple[int, ...], columns: int, lanes=16, bias=True, residual=False) -> Case:
    net = Net()
    x = net.x(*shape)
    weight = net.rng.standard_normal((shape[-1], columns)).astype("f")
    operands = [x, net.c(pack_matrix(weight, lanes))]
    if bias:
        operands.append(net.c(pack_row(net.rng.standard_normal(columns).astype("f"), lanes)))
    y = net.relu(net.matmul_packed(*operands, columns=columns))
    if residual:
        net.add(y, net.x(*y.type.shape))
    return Case(f"{shape} x {columns}", net)


def dynamic(left: tuple[int, ...], right: tuple[int, ...]) -> Case:
    net = Net()
    net.mul(net.matmul(net.x(*left), net.x(*right)), net.c(0.25))
    return Case(f"{left} x {right}", net)


def test_packed_product_of_every_number_of_columns():
    check([packed((5, 20), n, residual=n % 3 == 0) for n in range(1, 50)], "matmul")


def test_packed_product_of_every_number_of_rows():
    check([packed((m, 24), 40) for m in range(1, 34)], "matmul")


def test_packed_product_of_odd_shapes():
    cases = [
        packed((1, 1), 1), packed((2, 3, 7, 5), 100), packed((1, 1024), 1000),
        packed((1, 40, 120), 663, bias=False), packed((300, 8), 16), packed((64, 700), 33),
    ]  # fmt: skip
    check(cases, "matmul")


def test_product_of_two_inputs():
    cases = [dynamic((m, 20), (20, n)) for m in (1, 7, 40) for n in (1, 5, 15, 16, 33, 64)]
    cases += [
        dynamic((8, 40, 15), (8, 15, 40)), dynamic((2, 3, 9, 4), (2, 3, 4, 17)),
        dynamic((3, 1, 4, 5), (2, 5, 19)), dynamic((7, 5), (4, 5, 3)), dynamic((1, 1), (1, 1)),
        dynamic((100, 33), (33, 70)),
    ]  # fmt: skip
    check(cases, "matmul")


@pytest.mark.parametrize("name", ["linux-x86_64", "linux-x86_64-v3"])
def test_product_on_shorter_vectors(name):
    lanes = target(name).lanes
    cases = [packed((m, 24), n, lanes) for m in (1, 13) for n in (5, 24, 67)]
    check([*cases, dynamic((9, 12), (12, 21))], "matmul", name)


@pytest.mark.parametrize(
    ("case", "products"),
    [(packed((256, 256), 512), 24), (packed((1, 256), 512), 8), (dynamic((96, 64), (64, 96)), 24)],
    ids=lambda v: getattr(v, "label", None),
)
def test_product_accumulates_in_registers(case, products):
    loops = hot_loops(assembly(case.net.group()))
    assert max(sum("vfmadd" in line for line in loop) for loop in loops) >= products
    assert not [line for loop in loops for line in spills(loop)]


def test_infinity_and_nan_go_where_they_belong():
    net = Net()
    x = net.rng.standard_normal((4, 6)).astype("f")
    x[0, 1], x[2, 3] = np.inf, np.nan
    net.matmul(net.x(data=x), net.x(6, 18))
    check([Case("special", net)], "matmul")


def test_product_by_every_kind_of_config():
    knobs = itertools.product((40, 17), (1, 2, 99), (100, 64, 7), (0, 1))
    configs = [
        {"rows": 7, "vectors": 3, "block": b, "groups": g, "depth": d, "prefetch": p}
        for b, g, d, p in knobs
    ]
    check_configs(packed((2, 20, 100), 150, residual=True), configs)


def test_space_is_small_and_has_the_default():
    for case in (packed((128, 768), 3072), packed((1, 64), 64), dynamic((8, 40, 15), (8, 15, 40))):
        group = case.net.group()
        space = list(MatMul().space(group, target("linux-x86_64-v4")))
        assert MatMul().default(group, target("linux-x86_64-v4")) in space
        assert len(space) <= 2000
