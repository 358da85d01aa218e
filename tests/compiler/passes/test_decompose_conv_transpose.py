"""decompose_conv_transpose fires only where windows do not overlap."""

import pytest

from armlet.compiler.passes import decompose_conv_transpose

from .harness import check_pass

MODEL = """\
const $w : f32[4,3,2,2] = random(1)
const $b : f32[3] = random(2)
def main(%x: f32[2,4,3,5]) -> f32[2,3,{size}] {{
  %y = conv_transpose2d(%x, $w, $b) {{{attributes}}} : f32[2,3,{size}]  # "up"
  return %y
}}
"""


def test_windows_that_do_not_overlap_become_a_product_and_a_shuffle():
    check_pass(
        decompose_conv_transpose.run,
        MODEL.format(size="6,10", attributes="strides=[2,2]"),
        """\
const $w : f32[12,4,1,1] = random(1)
const $b : f32[12] = random(2)
def main(%x: f32[2,4,3,5]) -> f32[2,3,6,10] {
  %1 = conv2d(%x, $w, $b) : f32[2,12,3,5]  # "up"
  %y = depth_to_space(%1) {blocksize=2} : f32[2,3,6,10]  # "up"
  return %y
}
""",
    )


@pytest.mark.parametrize(
    ("size", "attributes"),
    [
        ("4,6", "strides=[1,1]"),
        ("6,6", "strides=[2,1]"),
        ("5,10", "strides=[2,2], pads=[1,0,0,0]"),
        ("7,10", "strides=[2,2], output_padding=[1,0]"),
        ("7,11", "strides=[2,2], dilations=[2,2]"),
    ],
)
def test_others_stay(size, attributes):
    text = MODEL.format(size=size, attributes=attributes)
    check_pass(decompose_conv_transpose.run, text, unchanged=True)
