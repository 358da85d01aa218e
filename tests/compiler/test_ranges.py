"""Which layers leave the range of float16, and what becomes of them."""

import numpy as np
import pytest

from armlet.compiler.build import prepare
from armlet.compiler.ir import Module
from armlet.compiler.ops import parse
from armlet.compiler.ranges import Half, findings
from armlet.errors import RangeError
from armlet.targets import target

#: sums of 64 products; the gate is from 0 to 1
MODEL = """\
const $w : f32[8,64,1,1] = random(1)
const $c : f32[1] = [30000.0]
def main(%x: f32[1,64,3,3]) -> f32[1,8,3,3] {
  %a = conv2d(%x, $w) : f32[1,8,3,3]  # "conv"
  %g = sigmoid(%a) : f32[1,8,3,3]  # "gate"
  %b = mul(%g, $c) : f32[1,8,3,3]  # "scale"
  %y = softmax(%b) {axis=1} : f32[1,8,3,3]  # "answer"
  return %y
}
"""
X = np.random.default_rng(0).standard_normal((1, 64, 3, 3)).astype(np.float32)


def layers(text: str) -> list[str]:
    return [f.call.source for f in findings(parse(text), {"x": X}).out]


def test_small_numbers_are_in_range():
    assert layers(MODEL.replace("30000", "300")) == []


def test_a_layer_that_overflows_is_named_and_who_reads_it():
    assert layers(MODEL) == ["scale", "answer"]
    found = findings(parse(MODEL), {"x": X}).out[0]
    assert str(found).startswith("layer 'scale' (mul) reaches 3e+04") and found.reaches == 30000


def test_sums_on_the_way_count():
    """Eight products of 3000 that cancel: the result is zero, and partial sums are not."""
    text = """\
const $w : f32[1,8,1,1] = [1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0]
def main(%x: f32[1,8,1,1]) -> f32[1,1,1,1] {
  %y = conv2d(%x, $w) : f32[1,1,1,1]  # "conv"
  return %y
}
"""
    (found,) = findings(parse(text), {"x": np.full((1, 8, 1, 1), 3000, np.float32)}).out
    assert found.reaches == pytest.approx(24000)


LONG = """\
const $w : f32[1,4608,1,1] = random(1)
def main(%x: f32[1,4608,2,2]) -> f32[1,1,2,2] {
  %y = conv2d(%x, $w) : f32[1,1,2,2]  # "conv"
  return %y
}
"""


def test_long_sums_that_cancel_are_in_float32():
    """Random products: the result is as small as the root of their number."""
    x = np.random.default_rng(1).standard_normal((1, 4608, 2, 2)).astype(np.float32)
    found = findings(parse(LONG), {"x": x})
    assert not found.out and [c.source for c in found.wide] == ["conv"]
    found = findings(parse(LONG.replace("4608", "256")), {"x": x[:, :256]})
    assert not found.out and not found.wide


def test_infinities_of_the_model_are_no_finding():
    x = X.copy()
    x[0, 0, 0, 0] = np.inf
    text = MODEL.replace("30000", "300")
    assert findings(parse(text), {"x": x}).out == ()


def test_such_a_layer_is_in_float32_or_an_error():
    module, machine = Module(parse(MODEL), ("y",)), target("linux-arm64-cortex-a76")
    stages = dict(prepare(module, machine, half=Half({"x": X})))
    types = {c.source: c.output.type.dtype for c in stages["narrow_to_half"] if c.op.name != "cast"}
    half, single = "float16", "float32"
    assert types == {"conv": half, "gate": half, "scale": single, "answer": single}
    with pytest.raises(RangeError, match=r"65504.*'scale'") as caught:
        prepare(module, machine, half=Half({"x": X}, strict=True))
    assert "--check-range" in caught.value.way_out
