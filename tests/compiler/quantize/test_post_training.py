"""Layers, recipes, what is written of them into a function, and which stay in floats."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.ir import Module
from armlet.compiler.ops import parse
from armlet.compiler.ops.interpreter import evaluate
from armlet.compiler.passes import integer_arithmetic
from armlet.compiler.quantize import calibrate
from armlet.compiler.quantize.equalize import equalize
from armlet.compiler.quantize.insert import insert
from armlet.compiler.quantize.layers import layers_of, tensors_for
from armlet.compiler.quantize.post_training import Options, Quantized, quantize
from armlet.compiler.quantize.price import Price, prices, slower
from armlet.compiler.quantize.recipe import Scaled
from armlet.compiler.quantize.weights import quantized_weights
from armlet.compiler.records import Records
from armlet.errors import QuantizationError, SettingError
from armlet.targets import target

RNG = np.random.default_rng(0)
MODEL = """\
const $w1 : f32[8,3,3,3] = random(1)
const $b1 : f32[8] = random(2)
const $w2 : f32[8,1,3,3] = random(3)
const $b2 : f32[8] = random(4)
const $w3 : f32[8,8,1,1] = random(5)
const $b3 : f32[8] = random(6)
const $w4 : f32[512,7] = random(7)
def main(%x: f32[1,3,10,10]) -> f32[1,7] {
  %a = conv2d(%x, $w1, $b1) : f32[1,8,8,8]  # "first"
  %b = relu(%a) : f32[1,8,8,8]
  %c = conv2d(%b, $w2, $b2) {group=8, pads=[1,1,1,1]} : f32[1,8,8,8]  # "depthwise"
  %d = leaky_relu(%c) {alpha=0.1} : f32[1,8,8,8]
  %e = conv2d(%d, $w3, $b3) : f32[1,8,8,8]  # "pointwise"
  %f = add(%e, %b) : f32[1,8,8,8]
  %g = reshape(%f) {shape=[1,512]} : f32[1,512]
  %y = matmul(%g, $w4) : f32[1,7]  # "head"
  return %y
}
"""


def samples(count: int = 4, shape: tuple[int, ...] = (1, 3, 10, 10)) -> list[dict]:
    rng = np.random.default_rng(1)
    return [{"x": rng.standard_normal(shape).astype("f")} for _ in range(count)]


def quiet(stage: str, done: int, total: int) -> None:
    pass


def quantized(text: str = MODEL, data: list[dict] | None = None, **options) -> Quantized:
    module = Module(parse(text), ("y",))
    return quantize(module, data or samples(), Options(**options), quiet)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLET_CACHE", str(tmp_path))


def test_layers_and_the_tensors_that_they_need():
    function = parse(MODEL)
    layers = layers_of(function)
    assert [layer.source for layer in layers] == ["first", "depthwise", "pointwise", "head"]
    found = tensors_for(function, layers)
    # what is reshaped is rounded before, with the same range
    assert {v.name: root.name for v, root in found.items()} == {
        "x": "x", "b": "b", "d": "d", "g": "g", "f": "g",
    }  # fmt: skip


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_a_quantised_function_is_near_its_source(method):
    made = quantized(method=method)
    assert made.report.integer == 4 and 0 < made.report.drop < 0.05
    assert all(r.sqnr > 25 and r.cosine > 0.99 for r in made.report.layers)
    assert all(r.precision == "int8" and 0 < r.range_use <= 1 for r in made.report.layers)


def test_every_layer_of_a_quantised_function_is_computed_in_integers():
    made = quantized()
    function = integer_arithmetic.run(made.module.main)
    products = [c for c in function if c.op.name in ("conv2d", "matmul")]
    assert len(products) == 4 and {c.output.type.dtype for c in products} == {"int32"}
    (x,) = samples(1)
    before, after = (evaluate(f, x)[0] for f in (made.module.main, function))
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-4)


def test_weights_are_rounded_to_the_nearest_and_zero_channels_stay_zero():
    function = parse(MODEL)
    first = layers_of(function)[0]
    data = first.weight.data.copy()
    data[2] = 0
    object.__setattr__(first.call.operands[1], "data", data)
    made = quantized_weights(first, Scaled(0.1, 0), np.zeros(3))
    assert np.abs(made.numbers() - data).max() <= 0.501 * made.scale.max()
    assert not made.numbers()[2].any()
    assert np.abs(made.data).reshape(8, -1).max(1).tolist() == [127, 127, 0, *[127] * 5]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_bias_makes_up_for_what_rounding_moves_a_mean_by(index):
    layer = layers_of(parse(MODEL))[index]
    channels = layer.x.type.static_shape[1]
    mean = RNG.standard_normal(channels) * 5
    x = np.broadcast_to(mean.reshape(1, -1, 1, 1), layer.x.type.static_shape).astype("f")
    scaled = Scaled(1e-6, 0)
    made = quantized_weights(layer, scaled, mean)
    bias = made.bias.astype("d") * scaled.scale * made.scale
    op = layer.call.op
    right = op.evaluate(x, layer.weight.data, layer.bias.data)[..., 4, 4]
    found = op.evaluate(x, made.numbers(), bias.astype("f"))[..., 4, 4]
    np.testing.assert_allclose(found, right, atol=1e-4)


def test_a_large_bias_fits():
    layer = layers_of(parse(MODEL.replace("= random(2)", "= [3e30, 1, 1, 1, 1, 1, 1, 1]")))[0]
    made = quantized_weights(layer, Scaled(1e-3, 0), np.zeros(3))
    assert made.bias[0] * np.float64(1e-3) * made.scale[0] == pytest.approx(3e30, rel=1e-6)


def test_equalising_changes_no_answer_and_evens_out_weights():
    function = parse(MODEL)
    uneven = layers_of(function)[0].weight
    data = uneven.data * np.logspace(-3, 3, 8, dtype="f").reshape(-1, 1, 1, 1)
    object.__setattr__(uneven, "data", data)
    # the channels between the first two are read by a sum as well, those of the next two are not
    even = equalize(function)
    (x,) = samples(1)
    np.testing.assert_allclose(evaluate(even, x)[0], evaluate(function, x)[0], rtol=1e-4)
    second, third = (layers_of(even)[i].weight.data for i in (1, 2))
    assert layers_of(even)[0].weight.data is data
    np.testing.assert_allclose(
        np.abs(second).max(axis=(1, 2, 3)), np.abs(third).max(axis=(0, 2, 3)), rtol=1e-5
    )


def ruinous() -> Module:
    function = parse(MODEL)
    depthwise, ruined = layers_of(function)[1:3]
    for value, change in (
        (depthwise.weight, lambda d: d[0].__imul__(1e4)),
        (depthwise.bias, lambda d: d[:1].__imul__(1e4)),
        (ruined.weight, lambda d: d[:, 0].__imul__(1e-4)),
    ):
        data = value.data.copy()
        change(data)
        object.__setattr__(value, "data", data)
    return Module(function, ("y",))


@pytest.mark.parametrize("metric", ["error", "top1"])
def test_a_layer_that_ruins_the_answers_is_found_and_stays_in_floats(metric):
    data = samples(12)
    free = quantize(ruinous(), data, Options(metric=metric), quiet)
    assert free.report.integer == 4 and free.report.drop > 0.2
    made = quantize(ruinous(), data, Options(metric=metric, max_drop=0.1), quiet)
    assert made.report.drop <= 0.1
    kept = [r for r in made.report.layers if r.precision == "float32"]
    assert [(r.layer, r.why) for r in kept] == [("pointwise", "inaccurate")]
    assert "d_quantized" not in {v.name for c in made.module.main for v in c.outputs}


def test_a_limit_of_nothing_leaves_everything_in_floats():
    made = quantized(max_drop=0.0)
    assert made.report.integer == 0 and made.report.drop == 0
    assert not any(c.op.name == "quantize" for c in made.module.main)


def test_counting_goes_on_where_it_was_interrupted(monkeypatch):
    data = samples(6)
    right = quantized(data=data)
    calls = []
    run = calibrate.evaluate

    def interrupted(function, feeds, observe):
        calls.append(feeds)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run(function, feeds, observe)

    other = [{"x": d["x"] + np.float32(0)} for d in data]
    for state in calibrate.CACHE.value.rglob("*.npz"):
        state.unlink()
    monkeypatch.setattr(calibrate, "evaluate", interrupted)
    monkeypatch.setattr(calibrate, "INTERVAL", 0.0)
    with pytest.raises(KeyboardInterrupt):
        quantized(data=other)
    made = quantized(data=other)
    assert len(calls) == 4 + 3 and made.recipe.tensors == right.recipe.tensors
    quantized(data=other, method="minmax")
    assert len(calls) == 7


def test_a_damaged_state_is_counted_again():
    data = samples()
    right = quantized(data=data)
    (state,) = calibrate.CACHE.value.rglob("*.npz")
    state.write_bytes(state.read_bytes()[:999])
    assert quantized(data=data).recipe.tensors == right.recipe.tensors


def test_layers_that_floats_compute_faster_stay_in_floats():
    machine = target("linux-arm64-cortex-a76+dotprod")
    module = Module(parse(MODEL), ("y",))
    made = quantize(module, samples(), Options(), quiet, machine)
    layers = layers_of(parse(MODEL))
    cost = prices(layers, machine, Records())
    for layer, told in zip(layers, made.report.layers, strict=True):
        assert told.gain == pytest.approx(cost[layer.name].gain)
        assert (told.precision == "float32") == (told.gain < 1) == (told.why == "slow")
    forced = quantize(module, samples(), Options(force=True), quiet, machine)
    assert forced.report.integer == 4


def test_layers_that_share_an_input_decide_together():
    text = """\
const $w : f32[8,8,1,1] = random(1)
const $v : f32[8,8,1,1] = random(2)
def main(%x: f32[1,8,64,64]) -> f32[1,8,64,64], f32[1,8,64,64] {
  %y = conv2d(%x, $w) : f32[1,8,64,64]
  %z = conv2d(%x, $v) : f32[1,8,64,64]
  return %y, %z
}
"""
    layers, machine = layers_of(parse(text)), target("linux-arm64")
    # a copy of the input in floats costs more than one of them gains
    for y, z, kept in (
        (Price(99, 100), Price(300, 10), []),
        (Price(1, 1e9), Price(1e9, 10), ["y"]),
    ):
        assert list(slower(layers, {"y": y, "z": z}, machine)) == kept
    assert list(slower(layers, {"y": Price(1e6, 2e6), "z": Price(11, 10)}, machine)) == ["y", "z"]


def test_what_cannot_be_is_told():
    with pytest.raises(SettingError, match="method 'best' is unknown"):
        Options(method="best")
    with pytest.raises(SettingError, match="not possible"):
        Options(max_drop=float("nan"))
    text = "def main(%x: f32[4]) -> f32[4] {\n  %y = relu(%x) : f32[4]\n  return %y\n}\n"
    with pytest.raises(QuantizationError, match="no layer"):
        quantized(text, [{"x": np.zeros(4, "f")}])


def test_concatenated_tensors_share_a_scale():
    text = """\
const $w : f32[8,8,1,1] = random(1)
const $v : f32[4,16,1,1] = random(2)
def main(%x: f32[1,8,4,4]) -> f32[1,4,4,4] {
  %a = conv2d(%x, $w) : f32[1,8,4,4]
  %b = relu(%a) : f32[1,8,4,4]
  %c = concat(%b, %x) {axis=1} : f32[1,16,4,4]
  %y = conv2d(%c, $v) : f32[1,4,4,4]
  return %y
}
"""
    made = quantized(text, samples(shape=(1, 8, 4, 4)))
    assert len({made.recipe.tensors[n] for n in "xbc"}) == 1
    function = integer_arithmetic.run(insert(made.plain, made.recipe))
    (joined,) = (c for c in function if c.op.name == "concat")
    assert joined.output.type.dtype == "int8"
