"""Packing is undone by unpacking, and blocked forms do what the plain operators do."""

import numpy as np
import pytest

from armlet.compiler.ir import TensorType
from armlet.compiler.ops.blocked import (
    Conv2dBlocked,
    blocked_form,
    can_block,
    merge_groups,
    pack_array,
    pack_bias,
    pack_conv_weight,
    unpack_array,
)
from armlet.compiler.ops.gather import Gather
from armlet.compiler.ops.nn import Conv2d
from armlet.compiler.ops.pool import MaxPool2d
from armlet.compiler.ops.resize import Resize
from armlet.compiler.ops.shape import Concat, DepthToSpace, Pad, Slice, SpaceToDepth


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape, "f")


@pytest.mark.parametrize(("channels", "block"), [(1, 1), (3, 4), (16, 16), (17, 16), (24, 8)])
def test_unpacking_undoes_packing(channels, block):
    x = random(2, channels, 3, 5)
    np.testing.assert_array_equal(unpack_array(pack_array(x, block), channels), x)


@pytest.mark.parametrize(
    ("channels", "out", "group", "block", "out_block"),
    [(3, 5, 1, 3, 8), (17, 24, 1, 16, 16), (24, 17, 1, 16, 4), (24, 16, 2, 8, 8), (12, 8, 4, 4, 2)],
)
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(1, 1, 1), (3, 2, 1), (2, 1, 2)])
def test_a_blocked_convolution_equals_the_plain_one(
    channels, out, group, block, out_block, kernel, stride, dilation
):
    assert can_block(out, group, out_block)
    x, w, bias = (
        random(1, channels, 7, 6),
        random(out, channels // group, kernel, kernel),
        random(out),
    )
    window = ((stride, stride), (1, 0, 1, 1), (dilation, dilation))
    blocked = Conv2dBlocked(*window, group, in_channels=channels, out_channels=out)
    weights = pack_conv_weight(w, group, block, out_block)
    y = blocked.evaluate(pack_array(x, block), weights, pack_bias(bias, out_block))
    plain = Conv2d(*window, group).evaluate(x, w, bias)
    np.testing.assert_allclose(unpack_array(y, out), plain, atol=1e-4)


@pytest.mark.parametrize("merged", [1, 2, 4])
def test_merged_groups_do_the_same(merged):
    x, w = random(1, 12, 5, 5), random(8, 3, 3, 3)
    wide = merge_groups(w, 4, merged)
    y = Conv2d(group=4 // merged).evaluate(x, wide)
    np.testing.assert_allclose(y, Conv2d(group=4).evaluate(x, w), atol=1e-5)


@pytest.mark.parametrize(
    ("op", "channels"),
    [
        (Concat(1), (8, 4, 3)),
        (Concat(-3), (4, 4)),
        (Concat(-1), (5, 5)),
        (Slice((0, 4, 1, 0), (1, 7, 2, 2), (1, 1, 2, 3)), (13,)),
        (Slice((0, 0, 3, 0), (1, 5, 2, 4), (1, 1, -1, 1)), (5,)),
        (DepthToSpace(2), (32,)),
        (SpaceToDepth(2), (4,)),
        (Pad((0, 0, 1, 0), (0, 0, 2, 1)), (5,)),
        (MaxPool2d(kernel=(2, 2)), (3,)),
        (Resize((8, 2), (2.0, 0.5), "linear"), (6,)),
    ],
)
def test_a_blocked_form_does_what_its_operator_does(op, channels):
    operands = [random(1, c, 4, 4) for c in channels]
    form = blocked_form(op, 4, [TensorType.of(x) for x in operands])
    assert form is not None
    plain = op.evaluate(*operands)
    y = form.evaluate(*(pack_array(x, 4) for x in operands))
    np.testing.assert_allclose(unpack_array(y, plain.shape[1]), plain, atol=1e-6)


@pytest.mark.parametrize(
    ("op", "channels"),
    [
        (Concat(1), (3, 4)),
        (Slice((0, 2, 0, 0), (1, 4, 4, 4), (1, 1, 1, 1)), (8,)),
        (Slice((0, 0, 0, 0), (1, 4, 4, 4), (1, 2, 1, 1)), (8,)),
        (DepthToSpace(2, "CRD"), (32,)),
        (DepthToSpace(2), (12,)),
        (SpaceToDepth(2), (3,)),
        (Pad((0, 1, 0, 0), (0, 0, 0, 0)), (5,)),
        (Gather(1), (5,)),
    ],
)
def test_what_crosses_blocks_has_no_blocked_form(op, channels):
    assert blocked_form(op, 4, [TensorType((1, c, 4, 4)) for c in channels]) is None
