"""fuse_activations, fuse_normalizations, eliminate_common, separate_results."""

import pytest

from armlet.compiler.passes import (
    eliminate_common,
    fuse_activations,
    fuse_normalizations,
    separate_results,
    simplify,
)  # fmt: skip

from .harness import check_pass

CONSTANTS = """\
const $three : f32[] = [3.0]
const $sixth : f32[] = [0.16666667]
const $half : f32[1] = [0.5]
const $one : f32[] = [1.0]
const $root : f32[] = [0.70710677]
const $tenth : f32[] = [0.1]
"""


def spelt(*lines):
    body = "\n".join(f'  {line} : f32[2,3]  # "l"' for line in lines)
    return f"{CONSTANTS}def main(%x: f32[2,3]) -> f32[2,3] {{\n{body}\n  return %y\n}}\n"


@pytest.mark.parametrize(
    ("lines", "one"),
    [
        (["%s = sigmoid(%x)", "%y = mul(%s, %x)"], "%y = silu(%x)"),
        (["%a = add($three, %x)", "%c = clip(%a) {min=0.0, max=6.0}", "%y = mul(%c, $sixth)"],
         "%y = hard_sigmoid(%x) {alpha=0.16666666666666666, beta=0.5}"),
        (["%a = add(%x, $three)", "%c = clip(%a) {min=0.0, max=6.0}", "%m = mul(%x, %c)",
          "%y = mul(%m, $sixth)"], "%y = hard_swish(%x)"),
        (["%a = add(%x, $three)", "%c = clip(%a) {min=0.0, max=6.0}", "%m = mul(%c, $sixth)",
          "%y = mul(%x, %m)"], "%y = hard_swish(%x)"),
        (["%h = hard_sigmoid(%x) {alpha=0.16666667, beta=0.5}", "%y = mul(%x, %h)"],
         "%y = hard_swish(%x)"),
        (["%m = mul(%x, $root)", "%e = erf(%m)", "%a = add(%e, $one)", "%p = mul(%x, %a)",
          "%y = mul(%p, $half)"], "%y = gelu(%x)"),
        (["%m = mul(%x, $root)", "%e = erf(%m)", "%a = add(%e, $one)", "%p = mul(%x, $half)",
          "%y = mul(%p, %a)"], "%y = gelu(%x)"),
        (["%m = mul(%x, $root)", "%e = erf(%m)", "%a = add(%e, $one)", "%p = mul(%a, $half)",
          "%y = mul(%x, %p)"], "%y = gelu(%x)"),
        (["%m = mul(%x, $tenth)", "%y = maximum(%m, %x)"],
         "%y = leaky_relu(%x) {alpha=0.10000000149011612}"),
    ],
)  # fmt: skip
def test_activations_that_are_spelt_out_become_one(lines, one):
    def run(function):
        return fuse_activations.run(function)

    check_pass(run, spelt(*lines), spelt(one))


def test_a_clip_to_another_range_is_no_hard_sigmoid():
    lines = ["%a = add($three, %x)", "%c = clip(%a) {min=0.0, max=5.0}", "%y = mul(%c, $sixth)"]
    check_pass(fuse_activations.run, spelt(*lines), unchanged=True)


NORM = """\
const $two : f32[] = [2.0]
const $e : f32[] = [1e-05]
const $g : f32[8] = random(1)
const $h : f32[8] = random(2)
def main(%x: f32[2,5,8]) -> f32[2,5,8] {{
  %m = reduce_mean(%x) {{axes=[{axis}]}} : f32[{mean}]  # "m"
  %d = sub(%x, %m) : f32[2,5,8]  # "d"
  %p = pow(%d, $two) : f32[2,5,8]  # "p"
  %v = reduce_mean(%p) {{axes=[{axis}]}} : f32[{mean}]  # "v"
  %a = add(%v, $e) : f32[{mean}]  # "a"
  %s = sqrt(%a) : f32[{mean}]  # "s"
  %n = div(%d, %s) : f32[2,5,8]  # "n"
  %k = mul(%n, $g) : f32[2,5,8]  # "k"
  %y = add(%k, $h) : f32[2,5,8]  # "y"
  return %y
}}
"""


def test_layer_norm_is_recognised_with_its_scale_and_shift():
    def run(function):
        return fuse_normalizations.run(simplify.run(function))

    check_pass(
        run,
        NORM.format(axis=2, mean="2,5,1"),
        """\
const $g : f32[8] = random(1)
const $h : f32[8] = random(2)
def main(%x: f32[2,5,8]) -> f32[2,5,8] {
  %y = layer_norm(%x, $g, $h) {epsilon=9.999999747378752e-06} : f32[2,5,8]  # "n"
  return %y
}
""",
    )


def test_a_mean_over_another_axis_is_no_layer_norm():
    check_pass(fuse_normalizations.run, NORM.format(axis=1, mean="2,1,8"), unchanged=True)


def test_equal_calls_and_equal_constants_become_one():
    check_pass(
        eliminate_common.run,
        """\
const $a : f32[2] = [1.0, 2.0]
const $b : f32[2] = [1.0, 2.0]
def main(%x: f32[2]) -> f32[2] {
  %1 = add(%x, $a) : f32[2]  # "one"
  %2 = add(%x, $b) : f32[2]  # "two"
  %3 = mul(%1, %2) : f32[2]  # "three"
  return %3
}
""",
        """\
const $a : f32[2] = [1.0, 2.0]
def main(%x: f32[2]) -> f32[2] {
  %1 = add(%x, $a) : f32[2]  # "one"
  %3 = mul(%1, %1) : f32[2]  # "three"
  return %3
}
""",
    )


def test_equal_calls_with_other_attributes_stay():
    check_pass(
        eliminate_common.run,
        """\
def main(%x: f32[2]) -> f32[2] {
  %1 = leaky_relu(%x) {alpha=0.1} : f32[2]  # "one"
  %2 = leaky_relu(%x) {alpha=0.2} : f32[2]  # "two"
  %3 = mul(%1, %2) : f32[2]  # "three"
  return %3
}
""",
        unchanged=True,
    )


def test_results_that_share_storage_are_copied():
    check_pass(
        separate_results.run,
        """\
const $c : f32[2] = [1.0, 2.0]
def main(%x: f32[2]) -> (f32[2], f32[2], f32[2], f32[2], f32[1,2]) {
  %y = relu(%x) : f32[2]  # "y"
  %v = reshape(%y) {shape=[1,2]} : f32[1,2]  # "v"
  return %x, $c, %y, %y, %v
}
""",
        """\
const $c : f32[2] = [1.0, 2.0]
def main(%x: f32[2]) -> (f32[2], f32[2], f32[2], f32[2], f32[1,2]) {
  %y = relu(%x) : f32[2]  # "y"
  %v = reshape(%y) {shape=[1,2]} : f32[1,2]  # "v"
  %1 = copy(%x) : f32[2]  # "x"
  %2 = copy($c) : f32[2]  # "c"
  %3 = copy(%y) : f32[2]  # "y"
  %4 = copy(%v) : f32[1,2]  # "v"
  return %1, %2, %y, %3, %4
}
""",
    )
