"""Bytes of the sign that a target multiplies."""

from __future__ import annotations

import re

from armlet.compiler.passes.sign_bytes import sign_bytes

from .harness import check_pass


def to_signed(function):
    return sign_bytes(function, "int8")


def check(before: str, after: str) -> None:
    """The two texts, each call of one layer."""
    sourced = (re.sub(r"(?m)^(  %.*)$", r'\1  # "layer"', text) for text in (before, after))
    check_pass(to_signed, *sourced)


def test_integers_and_their_zero_points_move_together():
    check(
        """
const $s : f32[] = [0.5]
const $z : u8[] = [131]
const $w : i8[2,1,1,1] = [4, -5]
def main(%x: f32[1,1,2,2]) -> i32[1,2,1,1] {
  %1 = quantize(%x, $s, $z) {low=131.0} : u8[1,1,2,2]
  %2 = max_pool2d(%1) {kernel=[2,2]} : u8[1,1,1,1]
  %3 = conv2d(%2, $w) {zero_point=131} : i32[1,2,1,1]
  return %3
}""",
        """
const $s : f32[] = [0.5]
const $z : i8[] = [3]
const $w : i8[2,1,1,1] = [4, -5]
def main(%x: f32[1,1,2,2]) -> i32[1,2,1,1] {
  %1 = quantize(%x, $s, $z) {low=3.0} : i8[1,1,2,2]
  %2 = max_pool2d(%1) {kernel=[2,2]} : i8[1,1,1,1]
  %3 = conv2d(%2, $w) {zero_point=3} : i32[1,2,1,1]
  return %3
}""",
    )


def test_parameters_and_results_keep_their_types():
    check(
        """
const $s : f32[] = [0.5]
const $z : u8[] = [131]
def main(%x: u8[4]) -> (u8[4], u8[4]) {
  %1 = dequantize(%x, $s, $z) : f32[4]
  %2 = relu(%1) : f32[4]
  %3 = quantize(%2, $s, $z) : u8[4]
  %4 = add(%x, %3) : u8[4]
  return %3, %4
}""",
        """
const $s : f32[] = [0.5]
const $z : i8[] = [3]
const $z2 : i8[] = [3]
def main(%x: u8[4]) -> (u8[4], u8[4]) {
  %0 = flip_sign(%x) : i8[4]
  %1 = dequantize(%0, $s, $z) : f32[4]
  %2 = relu(%1) : f32[4]
  %3s = quantize(%2, $s, $z2) : i8[4]
  %3 = flip_sign(%3s) : u8[4]
  %4 = add(%x, %3) : u8[4]
  return %3, %4
}""",
    )
