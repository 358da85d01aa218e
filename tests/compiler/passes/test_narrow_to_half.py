"""narrow_to_half: float16 inside, the model's types outside, and what stays in float32."""

import numpy as np

from armlet.compiler.passes.narrow_to_half import narrow_to_half, rounded

from .harness import check_pass

#: of values in float16, relative to the largest
TOLERANCE = 5e-3
WEIGHTS = "const $w : f32[4,3,1,1] = random(1)\nconst $c : f32[1] = [1.5]\n"
HALVES = "const $w : f16[4,3,1,1] = random(1)\nconst $c : f16[1] = [1.5]\n"
LAYERS = f"""\
{WEIGHTS}\
def main(%x: f32[1,3,5,5], %i: i64[1]) -> (f32[1,4,5,5], i64[1]) {{
  %a = conv2d(%x, $w) : f32[1,4,5,5]  # "first"
  %b = relu(%a) : f32[1,4,5,5]  # "second"
  %y = add(%b, $c) : f32[1,4,5,5]  # "third"
  %j = neg(%i) : i64[1]  # "index"
  return %y, %j
}}
"""


def test_what_lies_between_is_float16():
    check_pass(
        narrow_to_half,
        LAYERS,
        f"""\
{HALVES}\
def main(%x: f32[1,3,5,5], %i: i64[1]) -> (f32[1,4,5,5], i64[1]) {{
  %"x@float16" = cast(%x) {{to="float16"}} : f16[1,3,5,5]  # "x"
  %a = conv2d(%"x@float16", $w) : f16[1,4,5,5]  # "first"
  %b = relu(%a) : f16[1,4,5,5]  # "second"
  %"y@float16" = add(%b, $c) : f16[1,4,5,5]  # "third"
  %j = neg(%i) : i64[1]  # "index"
  %y = cast(%"y@float16") {{to="float32"}} : f32[1,4,5,5]  # "third"
  return %y, %j
}}
""",
        tolerance=TOLERANCE,
    )


def test_a_layer_may_stay_in_float32():
    check_pass(
        lambda f: narrow_to_half(f, [c for c in f if c.source == "second"]),
        LAYERS,
        f"""\
{HALVES}\
def main(%x: f32[1,3,5,5], %i: i64[1]) -> (f32[1,4,5,5], i64[1]) {{
  %"x@float16" = cast(%x) {{to="float16"}} : f16[1,3,5,5]  # "x"
  %a = conv2d(%"x@float16", $w) : f16[1,4,5,5]  # "first"
  %"a@float32" = cast(%a) {{to="float32"}} : f32[1,4,5,5]  # "first"
  %b = relu(%"a@float32") : f32[1,4,5,5]  # "second"
  %"b@float16" = cast(%b) {{to="float16"}} : f16[1,4,5,5]  # "second"
  %"y@float16" = add(%"b@float16", $c) : f16[1,4,5,5]  # "third"
  %j = neg(%i) : i64[1]  # "index"
  %y = cast(%"y@float16") {{to="float32"}} : f32[1,4,5,5]  # "third"
  return %y, %j
}}
""",
        tolerance=TOLERANCE,
    )


def test_operators_that_need_float32_keep_it():
    check_pass(
        narrow_to_half,
        """\
def main(%x: f32[7]) -> f32[7] {
  %a = relu(%x) : f32[7]  # "a"
  %y = cumsum(%a) : f32[7]  # "b"
  return %y
}
""",
        """\
def main(%x: f32[7]) -> f32[7] {
  %"x@float16" = cast(%x) {to="float16"} : f16[7]  # "x"
  %a = relu(%"x@float16") : f16[7]  # "a"
  %"a@float32" = cast(%a) {to="float32"} : f32[7]  # "a"
  %y = cumsum(%"a@float32") : f32[7]  # "b"
  return %y
}
""",
        tolerance=TOLERANCE,
    )


def test_models_without_floats_stay():
    text = 'def main(%x: i64[2]) -> i64[2] {\n  %y = neg(%x) : i64[2]  # "n"\n  return %y\n}\n'
    check_pass(narrow_to_half, text, unchanged=True)


def test_masks_beyond_the_range_are_its_largest():
    with np.errstate(all="raise"):
        found = rounded(np.array([-1e9, 1e9, -np.inf, 2.5], np.float32))
    assert found.tolist() == [-65504.0, 65504.0, -np.inf, 2.5]
