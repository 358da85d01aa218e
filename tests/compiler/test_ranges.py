"""Which layers leave the range of float16, and what becomes of them."""

import numpy as np
import pytest

from armlet.compiler.build import prepare
from armlet.compiler.ir import Module
from armlet.compiler.ops import parse
from armlet.compiler.ranges import Half, out_of_range
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
    return [f.call.source for f in out_of_range(parse(text), {"x": X})]


def test_small_numbers_are_in_range():
    assert layers(MODEL.replace("30000", "300")) == []


def test_a_layer_that_overflows_is_named_and_who_reads_it():
    assert layers(MODEL) == ["scale", "answer"]
    found = out_of_range(parse(MODEL), {"x": X})[0]
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
    (found,) = out_of_range(parse(text), {"x": np.full((1, 8, 1, 1), 3000, np.float32)})
    assert found.reaches == pytest.approx(24000)


def test_infinities_of_the_model_are_no_finding():
    x = X.copy()
    x[0, 0, 0, 0] = np.inf
    text = MODEL.replace("30000", "300")
    assert out_of_range(parse(text), {"x": x}) == []


def test_such_a_layer_is_in_float32_or_an_error():
    module, machine = Module(parse(MODEL), ("y",)), target("linux-arm64-cortex-a76")
    stages = dict(prepare(module, machine, half=Half({"x": X})))
    types = {c.source: c.output.type.dtype for c in stages["narrow_to_half"] if c.op.name != "cast"}
    half, single = "float16", "float32"
    assert types == {"conv": half, "gate": half, "scale": single, "answer": single}
    with pytest.raises(RangeError, match=r"65504.*'scale'") as caught:
        prepare(module, machine, half=Half({"x": X}, strict=True))
    assert "--check-range" in caught.value.way_out
