"""Convolutions of bytes of every awkward size, whole and in parts, by every order of weights."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.ops import blocked, quads
from armlet.compiler.select.layouts import block_of
from armlet.schedules.cpu import template_for
from armlet.targets import target

from .harness import Case, Net, check, check_configs

TEMPLATE = "conv2d_quads"
ORDERS = [("pairs", "uint8"), ("pairs", "int8"), ("singles", "uint8"), ("singles", "int8")]


def _bytes(net: Net, shape, dtype: str, block: int):
    """All values of a byte, and garbage in the lanes beyond the channels."""
    info = np.iinfo(dtype)
    data = net.rng.integers(info.min, info.max + 1, shape).astype(dtype)
    x = blocked.pack_array(data, block)
    x[:, -1, :, :, (shape[1] - 1) % block + 1 :] = 77
    return net.x(data=x)


def _requantised(net: Net, sums, channels: int, block: int, dtype: str) -> None:
    scale = 1e-4 * (1 + net.rng.random((1, channels, 1, 1)))
    scale = net.builder.const(blocked.pack_array(scale.astype("f"), block), "s")
    net.requantize(sums, scale, net.builder.const(np.array(3, dtype), "z"), low=1, high=101)


def direct(
    channels: int, out: int, size=(5, 7), kernel=(3, 3), pads=None, n=1, lanes=8, order="pairs",
    dtype="uint8", **attributes,
) -> Case:  # fmt: skip
    net = Net()
    block, out_block = max(4, block_of(channels, lanes)), block_of(out, lanes)
    pads = (kernel[0] // 2, kernel[1] // 2) * 2 if pads is None else pads
    group = attributes.get("group", 1)
    weight = net.rng.integers(-128, 128, (out, channels // group, *kernel)).astype("int8")
    packed = net.builder.const(quads.pack_quads(weight, block, out_block, order), "w")
    bias = net.rng.integers(-9999, 9999, out).astype("int32")
    op = quads.Conv2dQuads(
        pads=pads, in_channels=channels, out_channels=out, pad_value=100, **attributes
    )
    x = _bytes(net, (n, channels, *size), dtype, block)
    sums = net.call(op, x, packed, net.builder.const(blocked.pack_bias(bias, out_block), "b"))
    _requantised(net, sums, out, out_block, dtype)
    return Case(f"{channels}->{out} {size} {kernel} {pads} {order} {dtype} {attributes}", net, out)


def depthwise(channels: int, size=(5, 7), kernel=(3, 3), dtype="uint8", **attributes) -> Case:
    net, block = Net(), block_of(channels, 8)
    pads = attributes.pop("pads", (kernel[0] // 2, kernel[1] // 2) * 2)
    weight = net.rng.integers(-128, 128, (channels, 1, *kernel)).astype("int8")
    packed = net.builder.const(blocked.pack_depthwise_weight(weight, block), "w")
    bias = net.rng.integers(-9999, 9999, channels).astype("int32")
    op = blocked.DepthwiseConv2dBlocked(pads=pads, channels=channels, zero_point=100, **attributes)
    x = _bytes(net, (1, channels, *size), dtype, block)
    sums = net.call(op, x, packed, net.builder.const(blocked.pack_bias(bias, block), "b"))
    _requantised(net, sums, channels, block, dtype)
    return Case(f"{channels} {size} {kernel} {pads} {dtype} {attributes}", net, channels)


@pytest.mark.parametrize(("order", "dtype"), ORDERS)
def test_every_width(order, dtype):
    widths = range(1, 12) if (order, dtype) == ORDERS[0] else (1, 9)
    cases = [direct(8, 16, (3, w), order=order, dtype=dtype) for w in widths]
    cases += [direct(8, 16, (1, w), (1, 1), order=order, dtype=dtype) for w in widths]
    check(cases, TEMPLATE)


@pytest.mark.parametrize(("order", "dtype"), [ORDERS[0], ORDERS[3]])
def test_every_number_of_channels(order, dtype):
    pairs = [(1, 5), (3, 24), (4, 8), (8, 17), (17, 5)]
    check([direct(c, o, (4, 5), order=order, dtype=dtype) for c, o in pairs], TEMPLATE)


def test_few_output_channels():
    check([direct(c, o, order="singles") for c in (3, 12) for o in (2, 3)], TEMPLATE)


KERNELS = [
    {"kernel": (1, 1), "strides": (2, 2)},
    {"kernel": (5, 5), "size": (9, 11)},
    {"kernel": (2, 4), "pads": (1, 3, 0, 0)},
    {"kernel": (3, 3), "pads": (2, 2, 2, 2)},
    {"kernel": (3, 3), "strides": (2, 2), "size": (9, 10)},
    {"kernel": (3, 3), "dilations": (2, 3), "pads": (2, 3, 2, 3), "size": (9, 10)},
    {"kernel": (3, 3), "size": (1, 1)},
    {"kernel": (3, 3), "n": 2},
]


def test_every_kernel():
    check([direct(16, 24, **k) for k in KERNELS], TEMPLATE)


def test_groups():
    check([direct(16, 32, group=2), direct(24, 24, group=3, kernel=(1, 1))], TEMPLATE)


def test_images_of_one_pixel_are_rows_of_a_product():
    check([direct(24, 40, (1, 1), (1, 1), n=n) for n in (1, 2, 5, 19)], TEMPLATE)


def test_every_config():
    case = direct(16, 40, (6, 9))
    machine = target()
    group = case.net.group()
    configs = list(template_for(group, machine).space(group, machine))
    check_configs(case, configs[:: max(1, len(configs) // 6)])


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_depthwise(dtype):
    cases = [depthwise(17, (4, w), dtype=dtype) for w in (1, 2, 3, 5, 8)]
    cases += [
        depthwise(8, (9, 9), (5, 5), dtype, strides=(2, 2)),
        depthwise(3, (7, 7), dtype=dtype),
        depthwise(16, (6, 6), (3, 3), dtype, pads=(0, 2, 1, 0), dilations=(1, 2)),
    ]
    check(cases, "conv2d_depthwise")
