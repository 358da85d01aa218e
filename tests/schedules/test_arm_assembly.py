"""What LLVM makes of the hot loops on Arm: products by lane, in registers alone."""

from __future__ import annotations

import dataclasses

import pytest

from armlet.compiler.ops import blocked
from armlet.targets import target

from .harness import Case, Net, assembly, check, hot_loops, spills
from .test_conv2d import KERNELS, direct

A76 = "linux-arm64-cortex-a76"
#: an Arm in all but its instructions
LANES = dataclasses.replace(target("linux-x86_64-v2"), lane_fma=True, vector_registers=32)


def loops_of(case) -> list[list[str]]:
    return hot_loops(assembly(case.net.group(), A76), "fmla")


def products(loop: list[str], kind: str = "fmla") -> int:
    return sum(kind in line for line in loop)


@pytest.mark.parametrize(
    "case",
    [
        direct(64, 64, (28, 56), lanes=4),
        direct(64, 64, (28, 56), (1, 1), lanes=4),
        direct(64, 128, (28, 28), strides=(2, 2), lanes=4),
        direct(128, 128, (14, 14), lanes=4),
        direct(64, 64, (7, 7), lanes=4),
        direct(16, 24, (8, 28), (5, 5), lanes=4),
        direct(3, 32, (64, 64), strides=(2, 2), lanes=4),
        direct(3, 64, (64, 64), strides=(2, 2), pads=(0, 0, 0, 0), lanes=4),
    ],
    ids=lambda case: case.label,
)
def test_convolution_multiplies_by_lane_in_registers(case):
    loops = loops_of(case)
    hot = max(loops, key=products)
    assert products(hot) >= 48
    # all but a few of the first channel of a picture, which LLVM broadcasts
    assert sum(".s[" in line for line in hot) >= 0.8 * products(hot)
    assert not [line for loop in loops for line in spills(loop)]
    # the FMA units are what limits the loop: few instructions beside the products
    assert len(hot) < 2.3 * products(hot)


def picture(out: int, size, kernel=(3, 3), strides=(2, 2), pads=None, **attributes) -> Case:
    """Three planes as they lie, not in a block."""
    net, pads = Net(), (kernel[0] // 2, kernel[1] // 2) * 2 if pads is None else pads
    weight = net.rng.standard_normal((out, 3, *kernel)).astype("f")
    op = blocked.Conv2dBlocked(
        pads=pads, strides=strides, in_channels=3, out_channels=out, **attributes
    )
    packed = net.c(blocked.pack_conv_weight(weight, 1, 1, 4))
    net.relu(net.call(op, net.x(1, 3, *size, 1), packed))
    return Case(f"{out} {size} {kernel} {strides} {pads} {attributes}", net, out)


def test_planes_are_read_as_vectors_of_pixels():
    loops = loops_of(picture(16, (64, 64)))
    by_lane = [sum(".s[" in line for line in loop) for loop in loops]
    # tiles at the border put some vectors together, the others load all
    assert any(products(loop) == lanes == 48 for loop, lanes in zip(loops, by_lane))
    assert not [line for loop in loops for line in spills(loop)]


def test_planes_of_every_width_and_kernel():
    narrow = [picture(8, (4, w), strides=(2, s)) for w in range(1, 40, 3) for s in (1, 2)]
    kernels = [
        picture(12, (9, 30), (7, 7)), picture(8, (5, 33), (3, 5), (1, 3)),
        picture(8, (8, 25), (3, 3), dilations=(2, 2)), picture(8, (6, 21), pads=(0, 0, 1, 1)),
    ]  # fmt: skip
    check([*narrow, *kernels], "conv2d_direct", LANES)


def test_convolution_by_lanes_of_every_width():
    check([direct(8, 12, (3, w), lanes=4) for w in range(1, 34)], "conv2d_direct", LANES)


def test_convolution_by_lanes_of_every_kernel():
    cases = [direct(c, 20, lanes=4, **k) for c in (3, 4, 10, 16) for k in KERNELS]
    rows = [(8, 16, 2), (12, 24, 3), (6, 8, 1), (4, 8, 2)]
    groups = [
        direct(c, o, kernel=k, group=g, lanes=4) for c, o, g in rows for k in ((1, 1), (3, 3))
    ]
    check([*cases, *groups], "conv2d_direct", LANES)
