"""sink_transposes: what lies between transpositions is done before them, so that they cancel."""

from __future__ import annotations

import re

import pytest

from armlet.compiler.ir.names import split_transposed, transposed_name
from armlet.compiler.ops import parse
from armlet.compiler.passes import sink_transposes

from .harness import check_pass

W = """\
const $w : f32[4,4,1,1] = random(1)
const $t : f32[4] = random(2)
"""
CONV = "%a = conv2d(%x, $w) : f32[1,4,3,5]"
LAST = "{perm=[0,2,3,1]}"
FIRST = "{perm=[0,3,1,2]}"


def sourced(text: str) -> str:
    """Every call in the text is of one layer."""
    return re.sub(r"(?m)^(  %.*)$", r'\1  # "layer"', text)


def check(before: str, after: str = "", unchanged: bool = False) -> None:
    check_pass(sink_transposes.run, sourced(before), sourced(after), unchanged)


def test_an_activation_and_a_shift_between_convolutions():
    check(
        W
        + f"""\
def main(%x: f32[1,4,3,5]) -> f32[1,4,3,5] {{
  {CONV}
  %b = transpose(%a) {LAST} : f32[1,3,5,4]
  %c = add(%b, $t) : f32[1,3,5,4]
  %d = relu(%c) : f32[1,3,5,4]
  %e = transpose(%d) {FIRST} : f32[1,4,3,5]
  %f = conv2d(%e, $w) : f32[1,4,3,5]
  return %f
}}
""",
        W.replace("f32[4] =", "f32[1,4,1,1] =")
        + f"""\
def main(%x: f32[1,4,3,5]) -> f32[1,4,3,5] {{
  {CONV}
  %c = add(%a, $t) : f32[1,4,3,5]
  %d = relu(%c) : f32[1,4,3,5]
  %f = conv2d(%d, $w) : f32[1,4,3,5]
  return %f
}}
""",
    )


def test_names_tell_of_which_value_and_how_it_is_transposed():
    text = f"""\
def main(%x: f32[1,4,3,5]) -> f32[1,4,3,5] {{
  %a = transpose(%x) {LAST} : f32[1,3,5,4]
  %y = exp(%a) : f32[1,3,5,4]
  %b = transpose(%y) {FIRST} : f32[1,4,3,5]
  return %b
}}
"""
    (call,) = sink_transposes.run(parse(sourced(text)))
    assert call.output.name == "y@t0_3_1_2"
    assert split_transposed(call.output.name) == ("y", (0, 3, 1, 2))
    assert transposed_name(call.output.name, (0, 2, 3, 1)) == "y"


def test_a_residual_whose_operands_have_other_readers():
    check(
        W
        + f"""\
def main(%x: f32[1,4,3,5]) -> f32[1,4,3,5] {{
  {CONV}
  %b = transpose(%a) {LAST} : f32[1,3,5,4]
  %c = transpose(%b) {FIRST} : f32[1,4,3,5]
  %d = conv2d(%c, $w) : f32[1,4,3,5]
  %e = transpose(%d) {LAST} : f32[1,3,5,4]
  %f = add(%b, %e) : f32[1,3,5,4]
  %g = transpose(%f) {FIRST} : f32[1,4,3,5]
  %h = conv2d(%g, $w) : f32[1,4,3,5]
  return %h
}}
""",
        W
        + f"""\
def main(%x: f32[1,4,3,5]) -> f32[1,4,3,5] {{
  {CONV}
  %d = conv2d(%a, $w) : f32[1,4,3,5]
  %f = add(%a, %d) : f32[1,4,3,5]
  %h = conv2d(%f, $w) : f32[1,4,3,5]
  return %h
}}
""",
    )


def test_an_operand_that_was_not_transposed_is_where_another_transposition_follows():
    check(
        f"""\
def main(%x: f32[1,4,3,5], %s: f32[1,1,1,4]) -> f32[1,4,3,5] {{
  %a = transpose(%x) {LAST} : f32[1,3,5,4]
  %b = mul(%a, %s) : f32[1,3,5,4]
  %c = transpose(%b) {FIRST} : f32[1,4,3,5]
  return %c
}}
""",
        f"""\
def main(%x: f32[1,4,3,5], %s: f32[1,1,1,4]) -> f32[1,4,3,5] {{
  %1 = transpose(%s) {FIRST} : f32[1,4,1,1]
  %c = mul(%x, %1) : f32[1,4,3,5]
  return %c
}}
""",
    )


AXES = {
    "concat": (
        "concat(%a, %a) {axis=3} : f32[1,3,5,8]", "concat(%x, %x) {axis=1} : f32[1,8,3,5]",
        "[1,8,3,5]",
    ),
    "pad": (
        "pad(%a) {before=[0,1,0,2], after=[0,0,3,0]} : f32[1,4,8,6]",
        "pad(%x) {before=[0,2,1,0], after=[0,0,0,3]} : f32[1,6,4,8]", "[1,6,4,8]",
    ),
    "slice": (
        "slice(%a) {starts=[0,1,0,3], sizes=[1,2,5,2], steps=[1,1,1,-1]} : f32[1,2,5,2]",
        "slice(%x) {starts=[0,3,1,0], sizes=[1,2,2,5], steps=[1,-1,1,1]} : f32[1,2,2,5]",
        "[1,2,2,5]",
    ),
    "softmax": ("softmax(%a) {axis=3} : f32[1,3,5,4]", "softmax(%x) {axis=1} : f32[1,4,3,5]",
                "[1,4,3,5]"),
    "mean": ("reduce_mean(%a) {axes=[1,2], keepdims=true} : f32[1,1,1,4]",
             "reduce_mean(%x) {axes=[2,3], keepdims=true} : f32[1,4,1,1]", "[1,4,1,1]"),
}  # fmt: skip


@pytest.mark.parametrize("before, after, shape", AXES.values(), ids=AXES)
def test_axes_are_those_before(before, after, shape):
    check(
        f"""\
def main(%x: f32[1,4,3,5]) -> f32{shape} {{
  %a = transpose(%x) {LAST} : f32[1,3,5,4]
  %b = {before}
  %c = transpose(%b) {FIRST} : f32{shape}
  return %c
}}
""",
        f"""\
def main(%x: f32[1,4,3,5]) -> f32{shape} {{
  %c = {after}
  return %c
}}
""",
    )


def test_a_reduction_leaves_less_to_transpose():
    check(
        f"""\
def main(%x: f32[2,4,3,5]) -> f32[2,4] {{
  %a = transpose(%x) {LAST} : f32[2,3,5,4]
  %b = reduce_mean(%a) {{axes=[1,2], keepdims=false}} : f32[2,4]
  return %b
}}
""",
        """\
def main(%x: f32[2,4,3,5]) -> f32[2,4] {
  %b = reduce_mean(%x) {axes=[2,3], keepdims=false} : f32[2,4]
  return %b
}
""",
    )


def test_the_place_of_the_largest_channel():
    check(
        f"""\
def main(%x: f32[2,4,3,5]) -> i64[2,3,5] {{
  %a = transpose(%x) {LAST} : f32[2,3,5,4]
  %b = argmax(%a) {{axis=3, keepdims=false}} : i64[2,3,5]
  return %b
}}
""",
        """\
def main(%x: f32[2,4,3,5]) -> i64[2,3,5] {
  %b = argmax(%x) {axis=1, keepdims=false} : i64[2,3,5]
  return %b
}
""",
    )


def test_an_activation_comes_before_a_transpose():
    check(
        """def main(%x: f32[2,3,4]) -> f32[4,2,3] {
  %t = transpose(%x) {perm=[2,0,1]} : f32[4,2,3]
  %y = sigmoid(%t) : f32[4,2,3]
  return %y
}
""",
        """def main(%x: f32[2,3,4]) -> f32[4,2,3] {
  %1 = sigmoid(%x) : f32[2,3,4]
  %y = transpose(%1) {perm=[2,0,1]} : f32[4,2,3]
  return %y
}
""",
    )


@pytest.mark.parametrize(
    "last",
    ["%c = mul(%b, %z)", "%c = mul(%b, %b)"],
    ids=["an operand would be transposed", "it is read twice"],
)
def test_nothing_is_gained_where_none_follows(last):
    check(
        f"""def main(%x: f32[2,3,4], %z: f32[4,2,3]) -> f32[4,2,3] {{
  %b = transpose(%x) {{perm=[2,0,1]}} : f32[4,2,3]
  {last} : f32[4,2,3]
  return %c
}}
""",
        unchanged=True,
    )


def test_a_result_of_more_axes_stops_it():
    check(
        """const $t : f32[2,1,1,1] = random(2)
def main(%x: f32[2,3,4]) -> f32[2,2,3,4] {
  %a = transpose(%x) {perm=[2,0,1]} : f32[4,2,3]
  %b = add(%a, $t) : f32[2,4,2,3]
  %c = transpose(%b) {perm=[0,2,3,1]} : f32[2,2,3,4]
  return %c
}
""",
        unchanged=True,
    )
