"""Shuffles of channels are recognised, and taken from where the channels are."""

import numpy as np

from armlet.compiler.ops import parse
from armlet.compiler.passes import compose_arrangements, shuffle_channels

from .harness import check_pass

SHUFFLE = """\
def main(%x: f32[1,6,2,2]) -> (f32[1,6,2,2], f32[1,3,2,2]) {
  %g = reshape(%x) {shape=[1,2,3,2,2]} : f32[1,2,3,2,2]  # "g"
  %t = transpose(%g) {perm=[0,2,1,3,4]} : f32[1,3,2,2,2]  # "t"
  %s = reshape(%t) {shape=[1,6,2,2]} : f32[1,6,2,2]  # "s"
  %h = slice(%s) {starts=[0,3,0,0], sizes=[1,3,2,2], steps=[1,1,1,1]} : f32[1,3,2,2]  # "h"
  %r = relu(%h) : f32[1,3,2,2]  # "r"
  return %s, %r
}
"""


def test_a_shuffle_is_a_gather_and_a_slice_of_it_too():
    check_pass(
        shuffle_channels.run,
        SHUFFLE,
        """\
const $o : i64[6] = random(1)
const $p : i64[3] = random(2)
def main(%x: f32[1,6,2,2]) -> (f32[1,6,2,2], f32[1,3,2,2]) {
  %s = gather(%x, $o) {axis=1} : f32[1,6,2,2]  # "s"
  %h = gather(%x, $p) {axis=1} : f32[1,3,2,2]  # "h"
  %r = relu(%h) : f32[1,3,2,2]  # "r"
  return %s, %r
}
""",
    )
    orders = [c.data.tolist() for c in shuffle_channels.run(parse(SHUFFLE)).constants]
    assert orders == [[0, 3, 1, 4, 2, 5], [4, 2, 5]]
    assert np.arange(6).reshape(2, 3).T.ravel().tolist() == orders[0]


def test_other_transposes_between_reshapes_stay():
    check_pass(
        shuffle_channels.run,
        """\
def main(%x: f32[1,6,2,2]) -> f32[1,6,2,2] {
  %g = reshape(%x) {shape=[1,6,1,2,2]} : f32[1,6,1,2,2]  # "g"
  %t = transpose(%g) {perm=[0,1,2,4,3]} : f32[1,6,1,2,2]  # "t"
  %s = reshape(%t) {shape=[1,6,2,2]} : f32[1,6,2,2]  # "s"
  return %s
}
""",
        unchanged=True,
    )


def test_channels_are_arranged_from_the_parts_of_a_concatenation():
    head = "def main(%a: f32[1,2,1,2,4], %b: f32[1,1,1,2,4]) -> f32[1,1,1,2,4] {\n"
    check_pass(
        compose_arrangements.run,
        head
        + """\
  %c = concat_blocked(%a, %b) {channels=[6,3], block=4} : f32[1,3,1,2,4]  # "c"
  %y = arrange_blocked(%c) {channels=[9], order=[8,0,7,5], block=4} : f32[1,1,1,2,4]  # "y"
  return %y
}
""",
        head
        + """\
  %y = arrange_blocked(%a, %b) {channels=[6,3], order=[8,0,7,5], block=4} : f32[1,1,1,2,4]  # "y"
  return %y
}
""",
    )
