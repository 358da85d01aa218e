"""store_bytes: weights that are integers times a scale stay those integers."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.ir import Module
from armlet.compiler.ops import parse
from armlet.compiler.ops.interpreter import evaluate
from armlet.compiler.passes import pipeline
from armlet.compiler.passes.store_bytes import integers_of, store_bytes
from armlet.compiler.quantize.weight_only import rounded_weights
from armlet.compiler.records import Records
from armlet.compiler.select.layout import select
from armlet.targets import target

MODEL = """\
const $w : f32[20,16,3,3] = random(1)
const $b : f32[20] = random(2)
const $d : f32[20,1,5,5] = random(3)
const $m : f32[20,70] = random(4)
def main(%x: f32[1,16,12,12]) -> f32[1,70] {
  %y = conv2d(%x, $w, $b) {pads=[1,1,1,1]} : f32[1,20,12,12]
  %z = conv2d(%y, $d) {group=20} : f32[1,20,8,8]
  %p = reduce_mean(%z) {axes=[2,3], keepdims=false} : f32[1,20]
  %r = matmul(%p, $m) : f32[1,70]
  return %r
}
"""


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("machine", ["linux-x86_64-v3", "linux-arm64"])
def test_packed_weights_are_known_again(dtype, machine):
    module, _, recipe = rounded_weights(Module(parse(MODEL), ("r",)), dtype, lambda *_: True)
    assert len(recipe.layers) == 3
    plain = select(pipeline.run(module.main), target(machine), Records())
    stored = store_bytes(plain)
    kept = [c for c in stored.constants if c.type.dtype == dtype and c.type.rank]
    assert len(kept) == 3 and not any("winograd" in c.name for c in stored.constants)
    x = {"x": np.random.default_rng(0).standard_normal((1, 16, 12, 12)).astype("f")}
    (right,), (found,) = evaluate(module.main, x), evaluate(stored, x)
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4 * np.abs(right).max())


def test_other_weights_stay_floats():
    plain = select(pipeline.run(parse(MODEL)), target("linux-arm64"), Records())
    assert store_bytes(plain).constants == plain.constants


def test_what_is_no_multiple_is_none():
    rng = np.random.default_rng(0)
    whole = rng.integers(-127, 128, (8, 64)).astype("f")
    whole[:, 0] = 127
    scale = (rng.random((8, 1)) + 0.5).astype("f")
    found = integers_of(whole * scale, (0,))
    assert found is not None
    np.testing.assert_array_equal(found[0], whole)
    np.testing.assert_allclose(found[1], scale, rtol=1e-6)
    data = whole * scale
    data[3, 5] += 0.3 * scale[3, 0]
    assert integers_of(data, (0,)) is None
    for odd in (np.nan, np.inf):
        data[3, 5] = odd
        assert integers_of(data, (0,)) is None
    assert integers_of((whole * scale)[:2, :8], (0,)) is None
