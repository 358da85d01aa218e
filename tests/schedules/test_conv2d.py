"""Convolutions of every awkward size, whole and in parts, on data whose pad lanes are NaN."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.ops import blocked
from armlet.compiler.select.layouts import block_of
from armlet.targets import target

from .harness import Case, Net, assembly, check, hot_loops, spills


def blocked_input(net: Net, n: int, channels: int, h: int, w: int, block: int):
    x = blocked.pack_array(net.rng.standard_normal((n, channels, h, w)).astype("f"), block)
    x[:, -1, :, :, (channels - 1) % block + 1 :] = np.nan
    return net.x(data=x)


def direct(
    channels: int, out: int, size=(5, 7), kernel=(3, 3), pads=None, n=1, group=1, lanes=16,
    bias=True, residual=False, activation="relu", **attributes,
) -> Case:  # fmt: skip
    net, (h, w) = Net(), size
    block, out_block = block_of(channels, lanes), block_of(out, lanes)
    pads = (kernel[0] // 2, kernel[1] // 2) * 2 if pads is None else pads
    x = blocked_input(net, n, channels, h, w, block)
    weight = net.rng.standard_normal((out, channels // group, *kernel)).astype("f")
    operands = [x, net.c(blocked.pack_conv_weight(weight, group, block, out_block))]
    if bias:
        operands.append(net.c(blocked.pack_bias(net.rng.standard_normal(out), out_block)))
    op = blocked.Conv2dBlocked(
        pads=pads, group=group, in_channels=channels, out_channels=out, **attributes
    )
    y = getattr(net, activation)(net.call(op, *operands))
    if residual:
        y = net.add(y, net.x(*y.type.shape))
    label = f"{channels}->{out} {size} {kernel} {pads} g{group} {activation} {attributes}"
    return Case(label, net, out)


def depthwise(
    channels: int, size=(5, 7), kernel=(3, 3), pads=None, n=1, lanes=16, bias=True, **attributes
) -> Case:
    net, (h, w) = Net(), size
    block = block_of(channels, lanes)
    pads = (kernel[0] // 2, kernel[1] // 2) * 2 if pads is None else pads
    x = blocked_input(net, n, channels, h, w, block)
    weight = net.rng.standard_normal((channels, 1, *kernel)).astype("f")
    operands = [x, net.c(blocked.pack_depthwise_weight(weight, block))]
    if bias:
        operands.append(net.c(blocked.pack_bias(net.rng.standard_normal(channels), block)))
    op = blocked.DepthwiseConv2dBlocked(pads=pads, channels=channels, **attributes)
    net.hard_swish(net.call(op, *operands))
    return Case(f"{channels} {size} {kernel} {pads} {attributes}", net, channels)


def plain(
    channels: int, out: int, size=(5, 7), kernel=(3, 3), pads=None, n=1, group=1, bias=True,
    transposed=False, **attributes,
) -> Case:  # fmt: skip
    net = Net()
    pads = (kernel[0] // 2, kernel[1] // 2) * 2 if pads is None else pads
    weight = (channels, out // group) if transposed else (out, channels // group)
    operands = [net.x(n, channels, *size), net.x(*weight, *kernel)]
    operands += [net.x(out)] * bias
    op = net.conv_transpose2d if transposed else net.conv2d
    net.relu(op(*operands, pads=pads, group=group, **attributes))
    return Case(f"{channels}->{out} {size} {kernel} {pads} g{group} {attributes}", net)


KERNELS = [
    {"kernel": (1, 1), "strides": (2, 2)},
    {"kernel": (1, 1), "strides": (2, 1), "pads": (1, 0, 0, 1)},
    {"kernel": (5, 5), "size": (9, 11)},
    {"kernel": (7, 7), "strides": (2, 2), "size": (15, 17)},
    {"kernel": (1, 3), "size": (1, 40)},
    {"kernel": (3, 1), "size": (40, 1)},
    {"kernel": (1, 9), "size": (3, 5)},
    {"kernel": (2, 2), "pads": (0, 0, 0, 0)},
    {"kernel": (2, 4), "pads": (1, 3, 0, 0)},
    {"kernel": (3, 3), "pads": (0, 0, 0, 0)},
    {"kernel": (3, 3), "pads": (0, 1, 2, 3)},
    {"kernel": (3, 3), "pads": (2, 2, 2, 2)},
    {"kernel": (3, 3), "strides": (2, 2), "size": (14, 28)},
    {"kernel": (3, 3), "strides": (1, 2)},
    {"kernel": (3, 3), "strides": (3, 3), "size": (10, 31)},
    {"kernel": (3, 3), "dilations": (2, 3), "pads": (2, 3, 2, 3), "size": (9, 20)},
    {"kernel": (3, 3), "dilations": (6, 6), "pads": (6, 6, 6, 6), "size": (9, 9)},
    {"kernel": (3, 3), "dilations": (4, 1), "strides": (2, 2), "size": (13, 9)},
    {"kernel": (3, 3), "size": (1, 1)},
    {"kernel": (3, 3), "size": (33, 2), "n": 2},
    {"kernel": (3, 3), "bias": False},
]


def test_direct_convolution_of_every_width():
    check([direct(8, 24, (3, w), residual=w % 2 == 0) for w in range(1, 34)], "conv2d_direct")


def test_pointwise_convolution_of_every_number_of_pixels():
    check([direct(24, 40, (1, w), (1, 1)) for w in range(1, 34)], "conv2d_direct")


def test_direct_convolution_of_every_number_of_channels():
    sizes = (1, 3, 8, 17, 24, 40)
    pairs = [(c, o) for c in sizes for o in sizes if o > 1 or c < 4 or c == 17]
    cases = [direct(c, o, (4, 5), (3, 3) if c != o else (1, 1)) for c, o in pairs]
    check([*cases, direct(40, 176, (1, 5)), direct(16, 100, (5, 20))], "conv2d_direct")


def test_direct_convolution_of_every_kernel():
    check([direct(17, 24, **k) for k in KERNELS], "conv2d_direct")


def test_direct_convolution_in_groups():
    rows = [(32, 32, 2), (48, 96, 3), (24, 32, 2), (20, 64, 4), (6, 32, 2)]
    check(
        [direct(c, o, kernel=k, group=g) for c, o, g in rows for k in ((1, 1), (3, 3))],
        "conv2d_direct",
    )


def test_direct_convolution_with_an_epilogue_of_long_functions():
    sizes = [((5, 7), (3, 3)), ((9, 29), (3, 3)), ((14, 14), (1, 1)), ((1, 31), (1, 1))]
    check(
        [direct(16, 40, s, k, residual=True, activation="silu") for s, k in sizes], "conv2d_direct"
    )


def test_code_of_long_functions_is_written_a_few_times_only():
    lines = assembly(direct(16, 32, (56, 56), activation="silu").net.group())
    in_a_tile = 28
    assert 0 < sum("vdivps" in line for line in lines) < in_a_tile


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_direct_convolution_stores_where_depth_to_space_says(mode):
    cases = []
    for channels, kernel in ((16, (1, 1)), (24, (3, 3))):
        case = direct(channels, 128, (3, 9), kernel)
        shuffled = case.net.depth_to_space(
            case.net.builder.bindings[-1].output, blocksize=2, mode=mode
        )
        case.net.add(case.net.relu(shuffled), case.net.x(*shuffled.type.shape))
        cases.append(Case(f"{case.label} {mode}", case.net, 32))
    check(cases, "conv2d_direct")


def test_depthwise_convolution_of_every_width():
    check([depthwise(17, (3, w)) for w in range(1, 34)], "conv2d_depthwise")


def test_depthwise_convolution_of_every_kernel():
    check([depthwise(24, **k) for k in KERNELS], "conv2d_depthwise")


def test_depthwise_convolution_of_every_number_of_channels():
    cases = [depthwise(c, n=2) for c in (1, 3, 8, 17, 24, 40)]
    check([*cases, depthwise(160, (30, 30), (5, 5))], "conv2d_depthwise")


def test_convolution_to_one_channel():
    cases = [direct(c, 1, (4, w)) for c in (4, 8, 24, 32) for w in (1, 9, 16, 17, 40)]
    cases += [direct(24, 1, n=2, **k) for k in KERNELS if "n" not in k]
    check(cases, "conv2d_dot")


def test_plain_convolution_of_every_width():
    check([plain(3, 5, (3, w)) for w in range(1, 40)], "conv2d_plain")


def test_plain_convolution_of_every_kernel():
    check([plain(4, 7, **k) for k in KERNELS], "conv2d_plain")
    check([plain(12, 21, (6, 9), group=3, strides=(2, 2))], "conv2d_plain")


def test_transposed_convolution():
    rows = [
        {"strides": (2, 2), "kernel": (2, 2), "pads": (0, 0, 0, 0)},
        {"strides": (2, 2), "kernel": (4, 4), "pads": (1, 1, 1, 1), "group": 2},
        {"strides": (2, 3), "pads": (0, 2, 1, 0), "output_padding": (1, 2)},
        {"dilations": (2, 3), "strides": (1, 2), "pads": (1, 1, 1, 1), "size": (6, 20)},
        {"pads": (2, 2, 2, 2)},
    ]
    check([plain(4, 6, transposed=True, **r) for r in rows], "conv2d_plain")


@pytest.mark.parametrize("name", ["linux-x86_64", "linux-x86_64-v2", "linux-x86_64-v3"])
def test_convolution_on_shorter_vectors(name):
    lanes = target(name).lanes
    check([direct(c, 2 * c, (6, 15), lanes=lanes) for c in (3, 8, 17)], "conv2d_direct", name)
    check([depthwise(c, (6, 15), lanes=lanes) for c in (3, 17)], "conv2d_depthwise", name)


@pytest.mark.slow
def test_direct_convolution_of_many_sizes():
    cases = [
        direct(c, o, (h, w), (k, k), strides=(s, s))
        for c, o in ((3, 16), (16, 48), (42, 33))
        for h, w in ((2, 37), (9, 29), (13, 64))
        for k in (1, 2, 3, 5)
        for s in (1, 2)
    ]
    check(cases, "conv2d_direct")


@pytest.mark.parametrize(
    ("case", "products"),
    [
        (direct(64, 64, (28, 56)), 24),
        (direct(64, 64, (28, 56), (1, 1)), 24),
        (direct(64, 128, (28, 28), strides=(2, 2)), 24),
        (direct(64, 64, (20, 20)), 20),
        (direct(3, 16, (64, 64), strides=(2, 2)), 24),
        (direct(480, 60, (1, 40), (1, 3)), 20),
    ],
    ids=lambda v: getattr(v, "label", None),
)
def test_direct_convolution_accumulates_in_registers(case, products):
    loops = hot_loops(assembly(case.net.group()))
    assert max(sum("vfmadd" in line for line in loop) for loop in loops) >= products
    assert not [line for loop in loops for line in spills(loop)]


@pytest.mark.parametrize("kernel", [3, 5])
def test_depthwise_convolution_accumulates_in_registers(kernel):
    case = depthwise(32, (40, 40), (kernel, kernel))
    loops = hot_loops(assembly(case.net.group()))
    assert max(sum("vfmadd" in line for line in loop) for loop in loops) >= 8 * kernel
    assert not [line for loop in loops for line in spills(loop)]
