"""Every point of a template's space is a right kernel, and spaces are small."""

from __future__ import annotations

import random

import numpy as np
import pytest

from armlet.compiler.lower.build import Choice, kernel_of
from armlet.schedules.cpu import template_for
from armlet.schedules.space import MOST, cuts, few_cuts, shares_well, thinned
from armlet.targets import cpu_flags, target

from .harness import Library, Net, close

#: points of each space that are built
SAMPLE = 5
#: the widest vectors that this machine has
WIDEST = map(target, ("linux-x86_64-v4", "linux-x86_64-v3", "host"))
HOST = next(t for t in WIDEST if cpu_flags().issuperset(t.features))
LANES = HOST.lanes


def conv(channels: int, size: int, out: int, kernel: int, stride: int = 1, depthwise=False) -> Net:
    net = Net()
    pads = (kernel // 2,) * 4
    x = net.x(1, channels // LANES, size, size, LANES)
    attributes = {"strides": (stride, stride), "pads": pads, "dilations": (1, 1)}
    bias = net.x(1, out // LANES, 1, 1, LANES)
    if depthwise:
        w = net.x(channels // LANES, kernel, kernel, LANES)
        net.depthwise_conv2d_blocked(x, w, bias, channels=channels, **attributes)
    else:
        w = net.x(out // LANES, channels // LANES, kernel, kernel, LANES, LANES)
        net.conv2d_blocked(
            x, w, bias, in_channels=channels, out_channels=out, group=1, **attributes
        )
    return net


def product(rows: int, depth: int, columns: int, packed: bool) -> Net:
    net = Net()
    if packed:
        w = net.x(-(-columns // LANES), depth, LANES)
        net.matmul_packed(net.x(rows, depth), w, columns=columns)
    else:
        net.matmul(net.x(2, rows, depth), net.x(2, depth, columns))
    return net


def one(name: str, *shape: int, **attributes) -> Net:
    net = Net()
    getattr(net, name)(net.x(*shape), **attributes)
    return net


def pooled() -> Net:
    window = {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "dilations": (1, 1)}
    return one("max_pool2d", 1, 2, 15, 13, LANES, **window)


NETS = {
    "conv2d_direct": lambda: conv(32, 13, 48, 3),
    "conv2d_direct, strides": lambda: conv(32, 15, 32, 3, 2),
    "conv2d_direct, pointwise": lambda: conv(64, 14, 96, 1),
    "conv2d_depthwise": lambda: conv(48, 17, 48, 3, depthwise=True),
    "conv2d_depthwise, strides": lambda: conv(32, 16, 32, 5, 2, depthwise=True),
    "matmul": lambda: product(33, 70, 45, packed=False),
    "matmul, packed": lambda: product(37, 130, 100, packed=True),
    "pool": pooled,
    "reduction": lambda: one("softmax", 6, 300, axis=-1),
    "reduction, rows": lambda: one("reduce_mean", 6, 40, 50, axes=(1,), keepdims=True),
}


@pytest.mark.parametrize("label", NETS)
def test_points_compute_what_the_operators_say(label):
    net, host = NETS[label](), HOST
    group = net.group()
    template = template_for(group, host)
    assert template.name == label.split(",")[0]
    points = [dict(c) for c in template.space(group, host)]
    assert 1 <= len(points) <= MOST
    assert len({tuple(p.items()) for p in points}) == len(points)
    assert dict(template.default(group, host)) in points
    some = random.Random(label).sample(points, min(SAMPLE, len(points)))
    kernels = [
        kernel_of(group, host, f"{i:016x}", Choice(template, c), True) for i, c in enumerate(some)
    ]
    library, want = Library(kernels), net.expected()
    for config, kernel in zip(some, kernels):
        got = library.run(kernel, net.inputs(), group.output.type, (kernel.extent // 2,))
        assert close(got, want), config


def test_cuts_that_are_alike_are_one():
    assert cuts(7) == [1, 2, 3, 4, 7]
    assert cuts(56, 8) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert few_cuts(28, 5) == [1, 2, 4, 5, 7, 14, 28]


def test_steps_that_leave_threads_idle_are_not_offered():
    assert shares_well(8, 8) and shares_well(64, 8)
    assert not shares_well(3, 8) and not shares_well(1, 8)
    assert shares_well(1, 1)


def test_a_space_that_is_too_large_is_thinned_evenly():
    points = [{"a": i} for i in range(5000)]
    kept = thinned(points, [{"a": 4999}])
    assert len(kept) == MOST and kept[0] == {"a": 4999}
    assert np.diff([p["a"] for p in kept[1:]]).max() <= 3
