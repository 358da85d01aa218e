"""A transposed convolution equals its sub-pixel form."""

import numpy as np
import pytest

from armlet.compiler.ops.nn import ConvTranspose2d
from armlet.compiler.ops.subpixel import subpixel


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (4, 4), (5, 2), (7, 6)])
@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 1, 3), (5, 5, 4, 4)])
@pytest.mark.parametrize("output_padding", [(0, 0), (1, 0)])
def test_a_subpixel_form_gives_the_same_answer(kernel, stride, pads, output_padding):
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 3, 6, 7), "f"), rng.standard_normal((3, 5, *kernel), "f")
    bias = rng.standard_normal(5, "f")
    op = ConvTranspose2d((stride, stride), pads, output_padding=output_padding)
    form = subpixel(op, x.shape, w, bias)
    assert form is not None
    y = form.shuffle.evaluate(form.conv.evaluate(x, form.weight, form.bias))
    y = y if form.crop is None else form.crop.evaluate(y)
    np.testing.assert_allclose(y, op.evaluate(x, w, bias), atol=1e-4)


def test_windows_that_fill_their_stride_become_a_pointwise_convolution_alone():
    w = np.ones((3, 5, 2, 2), "f")
    form = subpixel(ConvTranspose2d((2, 2)), (1, 3, 4, 4), w)
    assert form is not None and form.crop is None and form.bias is None
    assert form.weight.shape == (20, 3, 1, 1) and form.conv.pads == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "op",
    [
        ConvTranspose2d(),
        ConvTranspose2d((2, 1)),
        ConvTranspose2d((2, 2), dilations=(2, 2)),
        ConvTranspose2d((2, 2), group=3),
    ],
)
def test_others_have_no_such_form(op):
    assert subpixel(op, (1, 3, 4, 4), np.ones((3, 1, 2, 2), "f")) is None
