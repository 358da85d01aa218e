"""sink_reshapes: reshapes pass elementwise operators, and only where constants allow."""

from armlet.compiler.passes import simplify, sink_reshapes

from .harness import check_pass

W = """\
const $w : f32[4,4,1,3] = random(1)
const $t : f32[4,1] = random(2)
"""


def test_convolutions_of_one_axis_meet():
    def run(function):
        return simplify.run(sink_reshapes.run(function))

    check_pass(
        run,
        W
        + """\
def main(%x: f32[1,4,1,9]) -> f32[1,4,5] {
  %a = conv2d(%x, $w) : f32[1,4,1,7]  # "a"
  %b = reshape(%a) {shape=[1,4,7]} : f32[1,4,7]  # "b"
  %c = add(%b, $t) : f32[1,4,7]  # "c"
  %d = relu(%c) : f32[1,4,7]  # "d"
  %e = reshape(%d) {shape=[1,4,1,7]} : f32[1,4,1,7]  # "e"
  %f = conv2d(%e, $w) : f32[1,4,1,5]  # "f"
  %g = reshape(%f) {shape=[1,4,5]} : f32[1,4,5]  # "g"
  return %g
}
""",
        W.replace("[4,1]", "[1,4,1,1]")
        + """\
def main(%x: f32[1,4,1,9]) -> f32[1,4,5] {
  %a = conv2d(%x, $w) : f32[1,4,1,7]  # "a"
  %c = add(%a, $t) : f32[1,4,1,7]  # "c"
  %d = relu(%c) : f32[1,4,1,7]  # "d"
  %f = conv2d(%d, $w) : f32[1,4,1,5]  # "f"
  %g = reshape(%f) {shape=[1,4,5]} : f32[1,4,5]  # "g"
  return %g
}
""",
    )


def test_two_reshapes_of_equal_shapes_pass_together():
    check_pass(
        sink_reshapes.run,
        """\
def main(%x: f32[6], %y: f32[6]) -> f32[2,3] {
  %a = reshape(%x) {shape=[2,3]} : f32[2,3]  # "a"
  %b = reshape(%y) {shape=[2,3]} : f32[2,3]  # "b"
  %c = mul(%a, %b) : f32[2,3]  # "c"
  return %c
}
""",
        """\
def main(%x: f32[6], %y: f32[6]) -> f32[2,3] {
  %1 = mul(%x, %y) : f32[6]  # "c"
  %c = reshape(%1) {shape=[2,3]} : f32[2,3]  # "c"
  return %c
}
""",
    )


def test_a_constant_along_a_merged_axis_stops_it():
    check_pass(
        sink_reshapes.run,
        """\
const $t : f32[1,6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
def main(%x: f32[2,3]) -> f32[1,6] {
  %a = reshape(%x) {shape=[1,6]} : f32[1,6]  # "a"
  %c = add(%a, $t) : f32[1,6]  # "c"
  return %c
}
""",
        unchanged=True,
    )


def test_a_result_of_higher_rank_stops_it():
    check_pass(
        sink_reshapes.run,
        """\
const $t : f32[2,1,1] = [1.0, 2.0]
def main(%x: f32[6]) -> f32[2,2,3] {
  %a = reshape(%x) {shape=[2,3]} : f32[2,3]  # "a"
  %c = add(%a, $t) : f32[2,2,3]  # "c"
  return %c
}
""",
        unchanged=True,
    )
