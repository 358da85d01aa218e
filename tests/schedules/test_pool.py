"""Pools of every awkward size, on plain data and in channel blocks."""

from __future__ import annotations

import pytest

from .harness import Case, Net, check

WINDOWS = [
    {"kernel": (2, 2), "strides": (2, 2)},
    {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)},
    {"kernel": (3, 3), "pads": (1, 1, 1, 1)},
    {"kernel": (1, 3), "strides": (3, 2), "pads": (0, 0, 0, 2)},
    {"kernel": (3, 2), "dilations": (2, 3), "pads": (1, 1, 2, 1)},
    {"kernel": (5, 5), "pads": (2, 2, 2, 2)},
]


def pool(name: str, shape: tuple[int, ...], **attributes) -> Case:
    net = Net()
    net.relu(net.__getattr__(name)(net.x(*shape), **attributes))
    return Case(f"{name} {shape} {attributes}", net)


@pytest.mark.parametrize("name", ["max_pool2d", "average_pool2d"])
def test_pool_of_every_window(name):
    shapes = [(2, 3, 9, 12), (1, 2, 9, 33, 16), (1, 2, 30, 7, 4)]
    check([pool(name, s, **w) for s in shapes for w in WINDOWS], "pool")


@pytest.mark.parametrize("name", ["max_pool2d", "average_pool2d"])
def test_pool_of_every_width(name):
    check([pool(name, (1, 1, 4, w, 16), **WINDOWS[1]) for w in range(1, 34)], "pool")


def test_pads_may_count():
    cases = [pool("average_pool2d", (1, 2, 9, 12, 8), **w, count_include_pad=True) for w in WINDOWS]
    check(cases, "pool")
