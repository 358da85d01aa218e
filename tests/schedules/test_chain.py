"""Chains of convolutions of every awkward size, whole and in parts, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.ir import Value
from armlet.compiler.ops import blocked
from armlet.compiler.select.layouts import block_of
from armlet.schedules.cpu.conv2d_chain import Conv2dChain
from armlet.targets import target

from .harness import Case, Net, assembly, check, hot_loops, spills

LANES = 16


def start(net: Net, channels: int, size: tuple[int, int], n: int = 1, lanes: int = LANES) -> Value:
    block = block_of(channels, lanes)
    x = blocked.pack_array(net.rng.standard_normal((n, channels, *size)).astype("f"), block)
    x[:, -1, :, :, (channels - 1) % block + 1 :] = np.nan
    return net.x(data=x)


def conv(net: Net, x: Value, channels: int, out: int, kernel=(1, 1), lanes=LANES, **attributes):
    weight = net.rng.standard_normal((out, channels, *kernel)) / (channels * np.prod(kernel)) ** 0.5
    block, out_block = int(x.type.shape[4]), block_of(out, lanes)
    packed = net.c(blocked.pack_conv_weight(weight.astype("f"), 1, block, out_block))
    bias = net.c(blocked.pack_bias(net.rng.standard_normal(out), out_block))
    op = blocked.Conv2dBlocked(in_channels=channels, out_channels=out, **attributes)
    return net.call(op, x, packed, bias)


def depthwise(net: Net, x: Value, channels: int, kernel=(3, 3), **attributes):
    weight = net.rng.standard_normal((channels, 1, *kernel)).astype("f") / np.prod(kernel) ** 0.5
    attributes.setdefault("pads", (kernel[0] // 2, kernel[1] // 2) * 2)
    packed = net.c(blocked.pack_depthwise_weight(weight, int(x.type.shape[4])))
    op = blocked.DepthwiseConv2dBlocked(channels=channels, **attributes)
    return net.relu(net.call(op, x, packed))


def inverted(channels, middle, out, size=(9, 11), n=1, lanes=LANES, residual=False, **window):
    net = Net()
    x = start(net, channels, size, n, lanes)
    y = net.hard_swish(conv(net, x, channels, middle, lanes=lanes))
    y = conv(net, depthwise(net, y, middle, **window), middle, out, lanes=lanes)
    if residual:
        net.add(y, x)
    return Case(f"{channels}->{middle}->{out} {size} {window}", net, out)


def separable(channels, out, size=(9, 11), lanes=LANES, **window):
    net = Net()
    y = depthwise(net, start(net, channels, size, lanes=lanes), channels, **window)
    net.relu(conv(net, y, channels, out, lanes=lanes))
    return Case(f"{channels} to {out} {size} {window}", net, out)


def stem(size=(24, 21)):
    """The first layers of many networks: two windows, two rings that are alive at once."""
    net = Net()
    y = conv(net, start(net, 3, size), 3, 20, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    y = conv(net, depthwise(net, y, 20), 20, 24)
    depthwise(net, y, 24, strides=(2, 2))
    return Case(f"stem {size}", net, 24)


WINDOWS = [
    {"kernel": (5, 5)},
    {"strides": (2, 2)},
    {"kernel": (5, 5), "strides": (2, 2)},
    {"strides": (3, 1)},
    {"kernel": (1, 3)},
    {"kernel": (2, 2), "pads": (0, 1, 1, 0)},
    {"pads": (0, 0, 0, 0)},
    {"dilations": (2, 2), "pads": (2, 2, 2, 2)},
    {"dilations": (3, 1), "strides": (2, 2)},
]


def test_chains_of_every_window():
    cases = [inverted(17, 40, 24, **w) for w in WINDOWS]
    cases += [separable(24, 20, **w) for w in WINDOWS]
    check(cases, "conv2d_chain")


def test_chains_of_every_height():
    cases = [inverted(8, 16, 8, (h, 5), residual=True) for h in (1, 2, 3, 7, 15, 29)]
    cases += [separable(16, 17, (h, 6), strides=(2, 2)) for h in (1, 2, 3, 8, 15, 30)]
    check(cases, "conv2d_chain")


def test_chains_of_every_number_of_channels():
    counts = (1, 3, 8, 17, 40)
    check([inverted(c, 2 * c, c, residual=True) for c in counts], "conv2d_chain")
    check([inverted(24, 72, 12, n=2), separable(72, 40), stem(), stem((9, 50))], "conv2d_chain")


@pytest.mark.parametrize("name", ["linux-x86_64", "linux-x86_64-v3"])
def test_chains_on_shorter_vectors(name):
    lanes = target(name).lanes
    cases = [inverted(12, 40, 10, lanes=lanes), separable(17, 24, strides=(2, 2), lanes=lanes)]
    check(cases, "conv2d_chain", name)


def test_every_config_of_the_space_computes_the_same():
    case = inverted(17, 33, 24, (7, 9))
    group, machine = case.net.group(), target("linux-x86_64-v4")
    space = list(Conv2dChain().space(group, machine))
    assert 50 < len(space) <= 2000
    assert len({tuple(c.items()) for c in space}) == len(space)
    assert {c["band"] for c in space} == {1, 2, 3, 4, 6}


@pytest.mark.parametrize("lanes", [{}, {"strides": (2, 2)}, {"kernel": (5, 5)}], ids=str)
def test_chains_accumulate_in_registers(lanes):
    case = inverted(32, 96, 32, (28, 56), **lanes)
    loops = hot_loops(assembly(case.net.group()))
    assert max(sum("vfmadd" in line for line in loop) for loop in loops) >= 24
    assert not [line for loop in loops for line in spills(loop)]
