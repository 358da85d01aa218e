"""The benchmark models are the published architectures, and armlet compiles them right."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest

import armlet
from armlet.reference import OnnxRuntime
from benchmarks.zoo import MODELS

#: millions of multiply-accumulates and of parameters, batch normalisations folded into biases;
#: from the papers, torchvision's table of weights, Darknet, Ultralytics; unet and bert by hand
PUBLISHED = {
    "mobilenet_v1": (569, 4.22),
    "mobilenet_v2": (301, 3.49),
    "mobilenet_v3_large": (217, 5.47),
    "mnasnet1_0": (314, 4.36),
    "efficientnet_lite0": (385, 4.63),
    "resnet18": (1814, 11.68),
    "resnet50": (4089, 25.53),
    "squeezenet1_1": (349, 1.235),
    "shufflenet_v2_x1_0": (145, 2.27),
    "inception_v3": (5713, 23.82),
    "vgg16": (15470, 138.36),
    "unet": (12071, 7.76),
    "yolov3_tiny": (2782, 8.85),
    "yolov5n": (2234, 1.884),
    "bert": (1678, 28.3),
}
#: sizes at which a model compiles in seconds and every layer still has something to do
SMALL = {"mobilenet_v3_large": 32, "shufflenet_v2_x1_0": 32}


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(d.dim_value for d in value.type.tensor_type.shape.dim)


def macs(model: onnx.ModelProto) -> int:
    """Multiply-accumulates of convolutions and matrix products."""
    graph = model.graph
    shapes = {v.name: _shape(v) for v in (*graph.input, *graph.value_info, *graph.output)}
    shapes.update({c.name: tuple(c.dims) for c in graph.initializer})
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            weights = shapes[node.input[1]]
            total += math.prod(shapes[node.output[0]]) * math.prod(weights[1:])
        elif node.op_type == "ConvTranspose":
            weights = shapes[node.input[1]]
            total += math.prod(shapes[node.input[0]]) * math.prod(weights[1:])
        elif node.op_type in ("Gemm", "MatMul"):
            left = shapes[node.input[0]]
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            total += math.prod(shapes[node.output[0]]) * left[0 if transposed else -1]
    return total


def parameters(model: onnx.ModelProto) -> int:
    """Elements of all constants in floating point."""
    return sum(
        math.prod(c.dims)
        for c in model.graph.initializer
        if c.data_type == onnx.TensorProto.FLOAT and c.dims
    )


@pytest.fixture
def small(tmp_path):
    def write(name):
        path = tmp_path / f"{name}.onnx"
        onnx.save(MODELS[name](SMALL[name]), path)
        return path

    return write


@pytest.mark.parametrize("name", MODELS)
def test_a_model_costs_what_is_published(name):
    made = MODELS[name]()
    found = macs(made) / 1e6, parameters(made) / 1e6
    assert found == pytest.approx(PUBLISHED[name], rel=0.005)


def test_weights_are_the_same_every_time():
    assert MODELS["squeezenet1_1"](48) == MODELS["squeezenet1_1"](48)


@pytest.mark.parametrize("name", SMALL)
def test_a_model_compiles_right(name, small):
    path = small(name)
    reference = OnnxRuntime(path, 1)
    size = SMALL[name]
    feeds = {"image": np.random.default_rng(1).standard_normal((1, 3, size, size), np.float32)}
    with armlet.compile(path) as model:
        found = model.run(feeds)
    for output, right in reference.run(feeds).items():
        assert np.abs(right).max() > 1e-2
        np.testing.assert_allclose(found[output], right, rtol=0, atol=1e-4 * np.abs(right).max())
