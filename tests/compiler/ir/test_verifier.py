"""Each rule of the verifier finds what it is there for."""

from dataclasses import replace

import pytest

from armlet.compiler.ir import Const, TensorType, Var, VerifyError, verify
from armlet.compiler.ops import parse

GOOD = parse("""\
const $c : f32[2] = [1.0, 2.0]
def main(%x: f32[2]) -> f32[2] {
  %y = add(%x, $c) : f32[2]  # "a"
  %z = relu(%y) : f32[2]  # "b"
  return %z
}
""")
FIRST, SECOND = GOOD.bindings


def with_bindings(*bindings, **changes):
    return replace(GOOD, bindings=bindings, **changes)


def test_a_good_function_passes():
    verify(GOOD)


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        ("defined_before_use", with_bindings(SECOND, FIRST)),
        ("defined_before_use", replace(GOOD, results=(Var("q", TensorType((2,))),))),
        ("bound_once", with_bindings(FIRST, FIRST, SECOND)),
        (
            "names_differ",
            with_bindings(FIRST, replace(SECOND, outputs=(Var("y", TensorType((2,))),))),
        ),
        (
            "names_differ",
            with_bindings(
                FIRST, replace(FIRST, operands=(FIRST.output, Const("c", FIRST.operands[1].data)),
                               outputs=(Var("w", TensorType((2,))),)), SECOND,
            ),
        ),
        (
            "types_are_inferred",
            with_bindings(FIRST, replace(SECOND, outputs=(Var("z", TensorType((3,))),))),
        ),
        ("types_are_inferred", with_bindings(FIRST, replace(SECOND, operands=()))),
        ("every_call_has_a_source", with_bindings(FIRST, replace(SECOND, source=""))),
    ],
)  # fmt: skip
def test_a_broken_rule_is_named(rule, bad):
    with pytest.raises(VerifyError, match=rule):
        verify(bad, "after some_pass")
