"""simplify: algebra drops and cheapens, and keeps what it must."""

import pytest

from armlet.compiler.passes import simplify

from .harness import check_pass

HEAD = "def main(%x: f32[2,3]) -> f32[2,3] {\n"
BARE = HEAD + "  return %x\n}\n"


def one(constants, line, result="%y"):
    return f"{constants}\n{HEAD}  {line}\n  return {result}\n}}\n"


@pytest.mark.parametrize(
    ("constants", "line"),
    [
        ("const $c : f32[] = [1.0]", '%y = mul(%x, $c) : f32[2,3]  # "l"'),
        ("const $c : f32[1,3] = [1.0, 1.0, 1.0]", '%y = mul($c, %x) : f32[2,3]  # "l"'),
        ("const $c : f32[] = [1.0]", '%y = div(%x, $c) : f32[2,3]  # "l"'),
        ("const $c : f32[] = [0.0]", '%y = add(%x, $c) : f32[2,3]  # "l"'),
        ("const $c : f32[] = [0.0]", '%y = sub(%x, $c) : f32[2,3]  # "l"'),
        ("const $c : f32[] = [1.0]", '%y = pow(%x, $c) : f32[2,3]  # "l"'),
        ("", '%y = cast(%x) {to="float32"} : f32[2,3]  # "l"'),
        ("", '%y = expand(%x) {shape=[2,3]} : f32[2,3]  # "l"'),
        ("", '%y = reshape(%x) {shape=[2,3]} : f32[2,3]  # "l"'),
        ("", '%y = transpose(%x) {perm=[0,1]} : f32[2,3]  # "l"'),
        ("", '%y = concat(%x) {axis=0} : f32[2,3]  # "l"'),
        ("", '%y = clip(%x) : f32[2,3]  # "l"'),
        ("", '%y = pad(%x) {before=[0,0], after=[0,0]} : f32[2,3]  # "l"'),
        ("", '%y = slice(%x) {starts=[0,0], sizes=[2,3], steps=[1,1]} : f32[2,3]  # "l"'),
    ],
)
def test_what_does_nothing_is_dropped(constants, line):
    check_pass(simplify.run, one(constants, line), BARE)


@pytest.mark.parametrize(
    ("constants", "line", "expected_constants", "expected"),
    [
        ("const $c : f32[] = [2.0]", '%y = pow(%x, $c) : f32[2,3]  # "l"',
         "", '%y = mul(%x, %x) : f32[2,3]  # "l"'),
        ("const $c : f32[] = [0.5]", '%y = pow(%x, $c) : f32[2,3]  # "l"',
         "", '%y = sqrt(%x) : f32[2,3]  # "l"'),
        ("const $c : f32[] = [-1.0]", '%y = pow(%x, $c) : f32[2,3]  # "l"',
         "", '%y = reciprocal(%x) : f32[2,3]  # "l"'),
        ("const $c : f32[] = [4.0]", '%y = div(%x, $c) : f32[2,3]  # "l"',
         "const $c : f32[] = [0.25]", '%y = mul(%x, $c) : f32[2,3]  # "l"'),
        ("const $c : f32[] = [4.0]", '%y = sub(%x, $c) : f32[2,3]  # "l"',
         "const $c : f32[] = [-4.0]", '%y = add(%x, $c) : f32[2,3]  # "l"'),
        ("", '%y = clip(%x) {min=0.0} : f32[2,3]  # "l"', "", '%y = relu(%x) : f32[2,3]  # "l"'),
    ],
)  # fmt: skip
def test_what_costs_is_replaced(constants, line, expected_constants, expected):
    check_pass(simplify.run, one(constants, line), one(expected_constants, expected))


@pytest.mark.parametrize(
    ("constants", "line"),
    [
        ("const $c : f32[] = [0.0]", '%y = div(%x, $c) : f32[2,3]  # "l"'),
        ("const $c : f32[] = [3.0]", '%y = pow(%x, $c) : f32[2,3]  # "l"'),
        ("", '%y = clip(%x) {min=-1.0, max=1.0} : f32[2,3]  # "l"'),
        ("", '%y = slice(%x) {starts=[1,0], sizes=[2,3], steps=[-1,1]} : f32[2,3]  # "l"'),
    ],
)
def test_what_matters_stays(constants, line):
    check_pass(simplify.run, one(constants, line), unchanged=True)


def test_a_multiplication_that_broadcasts_stays():
    check_pass(
        simplify.run,
        """\
const $c : f32[2,1] = [1.0, 1.0]
def main(%x: f32[3]) -> f32[2,3] {
  %y = mul(%x, $c) : f32[2,3]  # "l"
  return %y
}
""",
        unchanged=True,
    )


def test_two_reshapes_become_one_and_two_transposes_compose():
    check_pass(
        simplify.run,
        """\
def main(%x: f32[2,3,4]) -> f32[4,2,3] {
  %a = reshape(%x) {shape=[6,4]} : f32[6,4]  # "a"
  %b = reshape(%a) {shape=[3,2,4]} : f32[3,2,4]  # "b"
  %c = transpose(%b) {perm=[1,2,0]} : f32[2,4,3]  # "c"
  %d = transpose(%c) {perm=[1,0,2]} : f32[4,2,3]  # "d"
  return %d
}
""",
        """\
def main(%x: f32[2,3,4]) -> f32[4,2,3] {
  %b = reshape(%x) {shape=[3,2,4]} : f32[3,2,4]  # "b"
  %d = transpose(%b) {perm=[2,1,0]} : f32[4,2,3]  # "d"
  return %d
}
""",
    )


def test_a_transpose_that_moves_unit_axes_only_is_a_reshape():
    check_pass(
        simplify.run,
        """\
def main(%x: f32[1,5,1,7]) -> f32[5,1,1,7] {
  %y = transpose(%x) {perm=[1,0,2,3]} : f32[5,1,1,7]  # "t"
  return %y
}
""",
        """\
def main(%x: f32[1,5,1,7]) -> f32[5,1,1,7] {
  %y = reshape(%x) {shape=[5,1,1,7]} : f32[5,1,1,7]  # "t"
  return %y
}
""",
    )
