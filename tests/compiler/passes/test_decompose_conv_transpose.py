"""decompose_conv_transpose: no multiplications by inserted zeros."""

import pytest

from armlet.compiler.passes import decompose_conv_transpose

from .harness import check_pass

MODEL = """\
const $w : f32[4,3,{kernel}] = random(1)
const $b : f32[3] = random(2)
def main(%x: f32[2,4,3,5]) -> f32[2,3,{size}] {{
  %y = conv_transpose2d(%x, $w, $b) {{{attributes}}} : f32[2,3,{size}]  # "up"
  return %y
}}
"""


def test_windows_that_do_not_overlap_become_a_product_and_a_shuffle():
    check_pass(
        decompose_conv_transpose.run,
        MODEL.format(kernel="2,2", size="6,10", attributes="strides=[2,2]"),
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


def test_padding_is_cropped():
    check_pass(
        decompose_conv_transpose.run,
        MODEL.format(kernel="3,3", size="6,10", attributes=(
            "strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]")),
        """\
const $w : f32[12,4,2,2] = random(1)
const $b : f32[12] = random(2)
def main(%x: f32[2,4,3,5]) -> f32[2,3,6,10] {
  %1 = conv2d(%x, $w, $b) {pads=[1,1,1,1]} : f32[2,12,4,6]  # "up"
  %2 = depth_to_space(%1) {blocksize=2} : f32[2,3,8,12]  # "up"
  %y = slice(%2) {starts=[0,0,1,1], sizes=[2,3,6,10], steps=[1,1,1,1]} : f32[2,3,6,10]  # "up"
  return %y
}
""",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size", "attributes"),
    [
        ("4,6", "strides=[1,1]"),
        ("6,6", "strides=[2,1]"),
        ("7,11", "strides=[2,2], dilations=[2,2]"),
    ],
)
def test_others_stay(size, attributes):
    text = MODEL.format(kernel="2,2", size=size, attributes=attributes)
    check_pass(decompose_conv_transpose.run, text, unchanged=True)
