"""Quantised models from file to artifact, on every way of multiplying bytes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from armlet import api, emulator, steps
from armlet.compiler.build import build
from armlet.errors import VerificationError
from armlet.reference import reference_of
from armlet.targets import is_native, target


class Layers:
    """A model of quantised layers, one after the other."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.shape = [1, channels, height, width]
        self.value, self.channels = self.quantised("x", 0.02, 100), channels

    def const(self, data) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(data)
        return name

    def node(self, operator: str, *inputs: str, **attributes) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def quantised(self, value: str, scale: float, zero: int) -> str:
        parts = self.const(np.float32(scale)), self.const(np.uint8(zero))
        self.scale = np.float32(scale)
        return self.node("DequantizeLinear", self.node("QuantizeLinear", value, *parts), *parts)

    def convolution(self, out: int, kernel: int, scale: float, group: int = 1, **window) -> None:
        shape = (out, self.channels // group, kernel, kernel)
        scales = (0.01 * (1 + self.rng.random(out))).astype("f")
        weights = self.rng.integers(-128, 128, shape).astype("int8")
        bias = self.rng.integers(-900, 900, out).astype("int32")
        w = self.node("DequantizeLinear", self.const(weights), self.const(scales), axis=0)
        b = self.node("DequantizeLinear", self.const(bias), self.const(scales * self.scale), axis=0)
        y = self.node("Conv", self.value, w, b, group=group, **window)
        self.value, self.channels = self.quantised(y, scale, 130), out

    def model(self) -> onnx.ModelProto:
        infos = helper.make_tensor_value_info("x", 1, self.shape)
        result = helper.make_tensor_value_info(self.value, 1, None)
        initial = [numpy_helper.from_array(v, k) for k, v in self.constants.items()]
        graph = helper.make_graph(self.nodes, "layers", [infos], [result], initial)
        opsets = [helper.make_opsetid("", 13)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.fixture(scope="module")
def layers(tmp_path_factory) -> str:
    """Every kind of convolution: of few channels, pointwise, depthwise, in groups, to one."""
    made = Layers(3, 13, 14)
    made.convolution(8, 3, 0.1, strides=[2, 2], pads=[1, 1, 1, 1])
    made.convolution(8, 3, 0.2, group=8, pads=[1, 1, 1, 1])
    made.convolution(20, 1, 0.5)
    made.convolution(20, 3, 0.5, group=20, pads=[0, 1, 2, 0])
    made.convolution(20, 2, 0.5, group=20, pads=[0, 0, 1, 1])
    made.convolution(16, 3, 9, pads=[1, 1, 1, 1])
    made.convolution(16, 3, 99, group=2, pads=[1, 0, 1, 2])
    made.convolution(16, 3, 99, group=16, strides=[2, 1], pads=[1, 1, 1, 1])
    made.convolution(1, 1, 999)
    path = tmp_path_factory.mktemp("quantised") / "layers.onnx"
    onnx.save(made.model(), str(path))
    return str(path)


@pytest.mark.parametrize(
    "chosen",
    ["host", "linux-arm64", "linux-arm64+dotprod", "linux-armv7", "wasm32"],
)
def test_every_layer_is_within_a_step_of_its_source(chosen, layers):
    machine = target(chosen)
    if not is_native(machine) and (why_not := emulator.find(machine).missing):
        pytest.skip(why_not)
    made = api.compile(layers, chosen)
    assert made.differences and not made.not_run
    assert {"quantize", "requantize"} <= {
        c.op.name for c in build(api.load(layers), machine).function
    }


def test_a_layer_two_steps_off_is_an_error(layers):
    made = build(api.load(layers), target("host"))
    reference = reference_of(made.module)
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 3, 13, 14)).astype("f")}
    steps.check_layers(made, feeds, reference, 1e-4)
    values = reference.values

    def off(feeds, names):
        found = values(feeds, names)
        name = next(n for n, data in found.items() if data.dtype == np.uint8)
        found[name] = np.clip(found[name].astype("int32") + 2, 0, 255).astype("uint8")
        return found

    reference.values = off  # type: ignore[method-assign]
    with pytest.raises(VerificationError, match="2 steps"):
        steps.check_layers(made, feeds, reference, 1e-4)


def test_a_kernel_that_computes_something_else_is_an_error(layers):
    made = api.compile(layers)
    other = build(api.load(layers), target("host"))
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 3, 13, 14)).astype("f")}
    steps.check_kernels(other, made, feeds, 1e-4)
    run = made.run
    made.run = lambda given: run({"x": -given["x"]})  # type: ignore[method-assign]
    with pytest.raises(VerificationError, match="computes something else"):
        steps.check_kernels(other, made, feeds, 1e-4)
