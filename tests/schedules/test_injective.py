"""What moves or maps elements: every tail, every cut, and no scalar code where vectors can be."""

from __future__ import annotations

import numpy as np
import pytest

from .harness import Case, Net, assembly, check, hot_loops


def case(label: str, write) -> Case:
    net = Net()
    write(net)
    return Case(label, net)


def one(name: str, *shapes: tuple[int, ...], **attributes) -> Case:
    net = Net()
    net.__getattr__(name)(*(net.x(*s) for s in shapes), **attributes)
    return Case(f"{name} {shapes} {attributes}", net)


def test_elementwise_chain_of_every_length():
    def chain(n: int):
        return lambda net: net.hard_swish(net.mul(net.x(n), net.add(net.x(n), net.c(1.5))))

    check([case(f"{n}", chain(n)) for n in [*range(1, 34), 5000, 70001]], "injective")


def test_truth_values_that_two_calls_read():
    def choice(n: int):
        def write(net: Net):
            x = net.x(n)
            less = net.less(x, net.c(0.25))
            twice = net.mul(net.cast(less, to="int32"), net.cast(less, to="int32"))
            net.add(net.cast(net.logical_not(less), to="int32"), twice)

        return write

    check([case(f"{n}", choice(n)) for n in (1, 7, 16, 64, 67)], "injective")


def test_broadcasting():
    shapes = [
        ((2, 3, 5, 7), (3, 1, 1)), ((2, 3, 5, 7), (5, 7)), ((2, 3, 5, 7), (2, 1, 5, 1)),
        ((1, 3, 9, 9, 16), (1, 3, 1, 1, 16)), ((1, 2, 1, 5, 4), (1, 2, 3, 5, 4)), ((6, 1), (1, 19)),
        ((1, 96, 40, 40), (1, 96, 1, 1)), ((4, 33), ()), ((1, 1), (3, 1, 1)), ((1, 17), (17,)),
    ]  # fmt: skip
    check([one("mul", *pair) for pair in shapes], "injective")


def test_transposes():
    rows = [
        ((5, 7), (1, 0)), ((64, 48), (1, 0)), ((1, 512, 96), (0, 2, 1)),
        ((2, 3, 5, 7), (0, 2, 3, 1)), ((1, 64, 14, 14), (0, 2, 3, 1)),
        ((1, 14, 14, 33), (0, 3, 1, 2)), ((2, 8, 40, 15), (0, 2, 1, 3)),
        ((3, 16, 20, 5), (3, 2, 1, 0)), ((1, 1, 40), (2, 1, 0)),
    ]  # fmt: skip
    check([one("transpose", s, perm=p) for s, p in rows], "injective")


def test_joins_of_every_kind():
    check(
        [
            case("rows", lambda n: n.concat(n.x(3, 5), n.x(1, 5), n.x(40, 5), axis=0)),
            case("last", lambda n: n.concat(n.x(3, 5), n.x(3, 33), n.x(3, 1), axis=-1)),
            case("middle", lambda n: n.concat(n.x(2, 24, 9, 9), n.x(2, 7, 9, 9), axis=1)),
            case("then", lambda n: n.relu(n.add(n.concat(n.x(2, 9), n.x(2, 8), axis=1), n.x(17)))),
            case("large", lambda n: n.concat(n.x(1, 30, 90, 90), n.x(1, 2, 90, 90), axis=1)),
            case(
                "blocks",
                lambda n: n.concat_blocked(
                    n.x(1, 2, 3, 5, 16), n.x(1, 2, 3, 5, 16), n.x(1, 1, 3, 5, 8),
                    channels=(24, 20, 7), block=16,
                ),
            ),
        ],
        "injective",
    )  # fmt: skip


def test_pads_and_packs():
    channels = ((1, 1), (3, 3), (3, 4), (16, 16), (17, 16), (40, 16), (24, 8))
    cases = [one("pack_channels", (2, c, 5, 7), block=b) for c, b in channels]
    cases += [one("unpack_channels", (2, 3, 5, 7, 16), channels=c) for c in (33, 40, 48)]
    around: dict = {"before": (0, 1, 2, 3), "after": (0, 0, 1, 5)}
    for mode in ("constant", "edge", "reflect"):
        cases.append(one("pad", (2, 3, 9, 17), mode=mode, **around))
    check(cases, "injective")


def test_resizes():
    rows = [
        ((1, 2, 5, 7, 16), (2.0, 2.0)), ((1, 3, 9, 10), (2.0, 2.0)), ((1, 3, 9, 10), (0.5, 1.7)),
    ]  # fmt: skip
    cases = []
    for shape, scale in rows:
        size = tuple(int(n * s) for n, s in zip(shape[2:4], scale))
        for mode in ("nearest", "linear"):
            cases.append(one("resize", shape, size=size, scale=scale, mode=mode))
    check(cases, "injective")


def test_bools_are_bytes():
    check(
        [
            case("compare", lambda n: n.less(n.x(5, 21), n.x(21))),
            case("not", lambda n: n.logical_not(n.less(n.x(40), n.c(0.0)))),
            case("where", lambda n: n.where(n.less(n.x(33), n.c(0.0)), n.x(33), n.c(2.0))),
            case("input", lambda n: n.logical_not(n.x(data=np.arange(19) % 3 == 0))),
        ],
        "injective",
    )


def test_a_long_chain_does_not_double_at_every_link():
    def chain(net: Net) -> None:
        y = net.x(1000)
        for _ in range(24):
            y = net.mul(y, net.sigmoid(y))

    long = case("silu 24 times", chain)
    check([Case(long.label, long.net, tolerance=1e-4)], "injective")


@pytest.mark.parametrize(
    "write",
    [
        lambda n: n.hard_swish(n.add(n.x(64, 100), n.x(64, 100))),
        lambda n: n.gelu(n.x(64, 100)),
        lambda n: n.silu(n.x(64, 100)),
        lambda n: n.leaky_relu(n.x(64, 100)),
        lambda n: n.maximum(n.x(64, 100), n.x(64, 100)),
        lambda n: n.mul(n.x(1, 4, 8, 8, 16), n.x(1, 4, 1, 1, 16)),
        lambda n: n.relu(n.concat(n.x(50, 300), n.x(50, 212), axis=1)),
        lambda n: n.relu(n.pad(n.x(50, 3000), before=(0, 3), after=(0, 5))),
        lambda n: n.exp(n.pack_channels(n.x(1, 40, 9, 9), block=16)),
    ],
)  # fmt: skip
def test_loops_are_of_vectors(write):
    loops = hot_loops(assembly(case("", write).net.group()), "vmov")
    assert any("zmm" in line for loop in loops for line in loop)
