"""widen_half: single precision inside, the model's types outside."""

import numpy as np

from armlet.compiler.ir import print_function, verify
from armlet.compiler.ops import parse
from armlet.compiler.passes import widen_half

from .harness import check_pass, feeds_of, results_of


def test_the_interface_keeps_its_types():
    old = parse("""\
const $c : f16[3] = [1.0, 2.0, 3.0]
def main(%x: f16[2,3], %z: f32[2,3]) -> (f16[2,3], f32[2,3]) {
  %y = add(%x, $c) : f16[2,3]  # "a"
  %h = cast(%z) {to="float16"} : f16[2,3]  # "h"
  %m = mul(%y, %h) : f16[2,3]  # "m"
  %w = cast(%m) {to="float32"} : f32[2,3]  # "w"
  return %m, %w
}
""")
    new = widen_half.run(old)
    verify(new)
    assert [v.type for v in new.results] == [v.type for v in old.results]
    assert "f16" not in "".join(
        line for line in print_function(new).splitlines() if " mul(" in line or " add(" in line
    )
    feeds = feeds_of(old)
    for a, b in zip(results_of(old, feeds), results_of(new, feeds)):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(b, a, rtol=4e-3, atol=4e-3)


def test_other_functions_stay():
    check_pass(
        widen_half.run,
        'def main(%x: f32[2]) -> f32[2] {\n  %y = relu(%x) : f32[2]  # "r"\n  return %y\n}\n',
        unchanged=True,
    )
