"""Winograd's convolution at every tail, whole and in parts, on data whose pad lanes are NaN."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from armlet.compiler.lower.build import build
from armlet.compiler.ops import blocked
from armlet.compiler.ops.toom_cook import error_bound
from armlet.compiler.ops.winograd import Conv2dWinograd, pack_winograd_weight
from armlet.compiler.records import Record
from armlet.compiler.select.layouts import block_of
from armlet.schedules.cpu.conv2d_winograd import Conv2dWinograd as Template
from armlet.targets import target

from .harness import Case, Library, Net, assembly, check, close, hot_loops, spills
from .test_conv2d import blocked_input

NAME = "conv2d_winograd"


def winograd(
    tile: int, size=(6, 9), channels=17, out=24, pads=(1, 1, 1, 1), n=1, lanes=16, bias=True,
    residual=False, activation="relu",
) -> Case:  # fmt: skip
    net, out_block = Net(), block_of(out, lanes)
    x = blocked_input(net, n, channels, *size, block_of(channels, lanes))
    weight = net.rng.standard_normal((out, channels, 3, 3)).astype("f")
    operands = [x, net.c(pack_winograd_weight(weight, tile, out_block))]
    if bias:
        operands.append(net.c(blocked.pack_bias(net.rng.standard_normal(out), out_block)))
    op = Conv2dWinograd(tile=tile, pads=pads, in_channels=channels, out_channels=out)
    y = getattr(net, activation)(net.call(op, *operands))
    if residual:
        y = net.add(y, net.x(*y.type.shape))
    label = f"F({tile}) {channels}->{out} {size} {pads} of {n}"
    # images of a few pixels have smaller outputs than the bound takes for granted
    return Case(label, net, out, 4 * error_bound(tile, channels))


@pytest.mark.parametrize("tile", [2, 4, 6])
def test_every_width(tile):
    sizes = [(3 + w % 5, w) for w in (1, *range(tile + 1, 2 * tile + 1))]
    check([winograd(tile, s, residual=s[1] % 2 == 0) for s in sizes], NAME)


@pytest.mark.parametrize("tile", [2, 4, 6])
def test_every_padding(tile):
    rows = [(0, 0, 0, 0), (1, 0, 0, 1), (0, 1, 2, 0), (3, 2, 1, 4)]
    cases = [winograd(tile, (5, 8), 8, 16, p, n=2, bias=False) for p in rows]
    check([*cases, winograd(tile, (tile + 2, 2 * tile + 2), pads=rows[0])], NAME)


def test_every_number_of_channels():
    sizes = (3, 8, 40)
    check([winograd(4, (5, 6), c, o) for c, o in itertools.product(sizes, sizes)], NAME)


@pytest.mark.parametrize("activation", ["hard_swish", "silu", "gelu"])
def test_epilogues(activation):
    check([winograd(t, activation=activation, residual=True) for t in (2, 6)], NAME)


@pytest.mark.parametrize("name", ["linux-x86_64", "linux-x86_64-v3"])
def test_shorter_vectors(name):
    lanes = target(name).lanes
    check(
        [winograd(t, (7, 15), c, 20, lanes=lanes) for t, c in ((2, 12), (4, 3), (6, 12))],
        NAME,
        name,
    )


def test_any_point_of_the_space_is_right():
    case = winograd(4, (9, 13), 24, 48)
    group, host = case.net.group(), target()
    space = list(Template().space(group, host))
    assert len(space) <= 2000
    assert Template().default(group, host) in space
    some = np.random.default_rng(0).choice(space, 6, replace=False)
    records = [Record("", "", NAME, Template.version, c, 1.0) for c in some]
    kernels = [build(group, host, f"{i:016}", r) for i, r in enumerate(records)]
    library, want = Library(kernels), case.net.expected()
    for kernel, config in zip(kernels, some):
        got = library.run(kernel, case.net.inputs(), group.output.type, (1, 3))
        assert close(got, want, case.tolerance), config


@pytest.mark.parametrize("name", ["linux-x86_64-v3", "linux-x86_64-v4"])
@pytest.mark.parametrize("size", [56, 28, 14])
def test_products_accumulate_in_registers(name, size):
    lanes = target(name).lanes
    case = winograd(4, (size, size), 64, 64, lanes=lanes)
    lines = assembly(case.net.group(), name)
    # the products are a function of their own
    loops = hot_loops(lines[lines.index("kernel_0:") :])
    assert max(sum("vfmadd" in line for line in loop) for loop in loops) >= 8
    assert not [line for loop in loops for line in spills(loop)]


def kinds(rng: np.random.Generator, shape: tuple[int, ...]):
    """Inputs of several distributions."""
    yield rng.standard_normal(shape)
    yield rng.random(shape)
    yield np.maximum(rng.standard_normal(shape), 0) * rng.lognormal(0, 2, (1, shape[1], 1, 1))
    yield np.cumsum(rng.standard_normal(shape), axis=3)


@pytest.mark.parametrize("tile", [2, 4, 6])
@pytest.mark.parametrize("channels", [8, 64, 256])
def test_errors_stay_below_the_stated_bound(tile, channels):
    case = winograd(tile, (26, 26), channels, 16, bias=False)
    group = case.net.group()
    kernel = build(group, target(), "0" * 16)
    library, (_, u) = Library([kernel]), case.net.inputs()
    largest = 0.0
    for x in kinds(np.random.default_rng(1), (1, channels, 26, 26)):
        x = blocked.pack_array(x.astype("f"), block_of(channels, 16))
        (anchor, _) = group.calls
        want = anchor.op.evaluate(x.astype("d"), u)
        got = library.run(kernel, [x, u], group.output.type)
        largest = max(largest, np.abs(got - np.maximum(want, 0)).max() / np.abs(want).max())
    bound = error_bound(tile, channels)
    assert bound / 30 < largest < bound
