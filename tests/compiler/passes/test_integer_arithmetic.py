"""Quantised groups as integers: text in, text out."""

from __future__ import annotations

import re

from armlet.compiler.passes import integer_arithmetic

from .harness import check_pass

HEAD = """
const $s : f32[] = [0.5]
const $z : u8[] = [3]
const $t : f32[] = [0.25]
const $y : u8[] = [9]
const $w : i8[2,1,1,1] = [4, -5]
const $ws : f32[2,1,1,1] = [0.5, 2]
const $wz : i8[] = [0]
"""


def check(body: str, after: str = "", *, unchanged: bool = False) -> None:
    """The two texts, each call of one layer; unchanged if it is only one."""
    body, after = (re.sub(r"(?m)^(  %.*)$", r'\1  # "layer"', text) for text in (body, after))
    check_pass(integer_arithmetic.run, HEAD + body, after, unchanged=unchanged)


def test_convolution_between_integers():
    check(
        """
const $b : f32[2] = [0.5, -3]
def main(%x: u8[1,1,2,2]) -> u8[1,2,2,2] {
  %1 = dequantize(%x, $s, $z) : f32[1,1,2,2]
  %2 = dequantize($w, $ws, $wz) : f32[2,1,1,1]
  %3 = conv2d(%1, %2, $b) : f32[1,2,2,2]
  %4 = quantize(%3, $t, $y) : u8[1,2,2,2]
  return %4
}""",
        """
const $w : i8[2,1,1,1] = [4, -5]
const $b : i32[2] = [2, -3]
const $m : f32[2,1,1] = [1, 4]
const $y : u8[] = [9]
def main(%x: u8[1,1,2,2]) -> u8[1,2,2,2] {
  %3 = conv2d(%x, $w, $b) {zero_point=3} : i32[1,2,2,2]
  %4 = requantize(%3, $m, $y) : u8[1,2,2,2]
  return %4
}""",
    )


def test_activation_that_clamps_becomes_bounds():
    check(
        """
def main(%x: u8[1,1,2,2]) -> u8[1,2,2,2] {
  %1 = dequantize(%x, $s, $z) : f32[1,1,2,2]
  %2 = dequantize($w, $ws, $wz) : f32[2,1,1,1]
  %3 = conv2d(%1, %2) : f32[1,2,2,2]
  %4 = clip(%3) {min=0.0, max=6.0} : f32[1,2,2,2]
  %5 = quantize(%4, $t, $y) : u8[1,2,2,2]
  return %5
}""",
        """
const $w : i8[2,1,1,1] = [4, -5]
const $m : f32[2,1,1] = [1, 4]
const $y : u8[] = [9]
def main(%x: u8[1,1,2,2]) -> u8[1,2,2,2] {
  %3 = conv2d(%x, $w) {zero_point=3} : i32[1,2,2,2]
  %5 = requantize(%3, $m, $y) {low=9.0, high=33.0} : u8[1,2,2,2]
  return %5
}""",
    )


def test_bias_that_is_no_integers_is_added_in_floats():
    check(
        """
const $b : f32[2] = [0.3, -3]
def main(%x: u8[1,1,2,2]) -> f32[1,2,2,2] {
  %1 = dequantize(%x, $s, $z) : f32[1,1,2,2]
  %2 = dequantize($w, $ws, $wz) : f32[2,1,1,1]
  %3 = conv2d(%1, %2, $b) : f32[1,2,2,2]
  return %3
}""",
        """
const $w : i8[2,1,1,1] = [4, -5]
const $m : f32[2,1,1] = [0.25, 1]
const $zero : i32[] = [0]
const $b : f32[2,1,1] = [0.3, -3]
def main(%x: u8[1,1,2,2]) -> f32[1,2,2,2] {
  %1 = conv2d(%x, $w) {zero_point=3} : i32[1,2,2,2]
  %2 = dequantize(%1, $m, $zero) : f32[1,2,2,2]
  %3 = add(%2, $b) : f32[1,2,2,2]
  return %3
}""",
    )


def test_largest_and_moves_are_of_integers():
    check(
        """
def main(%x: u8[1,1,4,4]) -> u8[4,1] {
  %1 = dequantize(%x, $s, $z) : f32[1,1,4,4]
  %2 = max_pool2d(%1) {strides=[2,2], kernel=[2,2]} : f32[1,1,2,2]
  %3 = quantize(%2, $s, $z) : u8[1,1,2,2]
  %4 = dequantize(%3, $s, $z) : f32[1,1,2,2]
  %5 = reshape(%4) {shape=[4,1]} : f32[4,1]
  %6 = quantize(%5, $s, $z) : u8[4,1]
  return %6
}""",
        """
def main(%x: u8[1,1,4,4]) -> u8[4,1] {
  %3 = max_pool2d(%x) {strides=[2,2], kernel=[2,2]} : u8[1,1,2,2]
  %6 = reshape(%3) {shape=[4,1]} : u8[4,1]
  return %6
}""",
    )


def test_product_by_a_matrix_is_a_convolution_of_pixels():
    check(
        """
const $m : i8[2,3] = [1, 2, 3, 4, 5, 6]
const $ms : f32[3] = [0.5, 1, 2]
def main(%x: u8[4,2]) -> f32[4,3] {
  %1 = dequantize(%x, $s, $z) : f32[4,2]
  %2 = dequantize($m, $ms, $wz) : f32[2,3]
  %3 = matmul(%1, %2) : f32[4,3]
  return %3
}""",
        """
const $m : i8[3,2,1,1] = [1, 4, 2, 5, 3, 6]
const $s : f32[3] = [0.25, 0.5, 1]
const $zero : i32[] = [0]
def main(%x: u8[4,2]) -> f32[4,3] {
  %1 = reshape(%x) {shape=[4,2,1,1]} : u8[4,2,1,1]
  %2 = conv2d(%1, $m) {zero_point=3} : i32[4,3,1,1]
  %3 = reshape(%2) {shape=[4,3]} : i32[4,3]
  %4 = dequantize(%3, $s, $zero) : f32[4,3]
  return %4
}""",
    )


def test_what_has_no_integer_form_stays():
    check(
        """
def main(%x: u8[1,1,2,2]) -> u8[1,1,2,2] {
  %1 = dequantize(%x, $s, $z) : f32[1,1,2,2]
  %2 = sigmoid(%1) : f32[1,1,2,2]
  %3 = quantize(%2, $t, $y) : u8[1,1,2,2]
  return %3
}""",
        unchanged=True,
    )


def test_input_with_a_scale_for_each_channel_stays():
    check(
        """
const $cs : f32[2,1,1] = [0.5, 2]
const $v : i8[1,2,1,1] = [4, -5]
def main(%x: u8[1,2,2,2]) -> f32[1,1,2,2] {
  %1 = dequantize(%x, $cs, $z) : f32[1,2,2,2]
  %2 = dequantize($v, $s, $wz) : f32[1,2,1,1]
  %3 = conv2d(%1, %2) : f32[1,1,2,2]
  return %3
}""",
        unchanged=True,
    )
