"""Layers of bytes as TFLite files: LiteRT, which shares no code with us, computes the same."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.ops.interpreter import evaluate
from armlet.targets.npu import tflite_writer
from armlet.targets.npu.int8 import Graph

from .byte_nets import Net, layers, residual

interpreter = pytest.importorskip("ai_edge_litert.interpreter")


def signed(data: np.ndarray) -> np.ndarray:
    return (data ^ 128).view(np.int8) if data.dtype == np.uint8 else data


def by_litert(model: bytes, *inputs: np.ndarray) -> np.ndarray:
    """The first output, of images that have their channels first."""
    kernels = interpreter.OpResolverType.BUILTIN_REF
    run = interpreter.Interpreter(model_content=model, experimental_op_resolver_type=kernels)
    run.allocate_tensors()
    for detail, data in zip(run.get_input_details(), inputs, strict=True):
        data = signed(data)
        turned = data.transpose(0, 2, 3, 1) if data.ndim == 4 else data
        run.set_tensor(detail["index"], np.ascontiguousarray(turned))
    run.invoke()
    found = run.get_tensor(run.get_output_details()[0]["index"])
    return found.transpose(0, 3, 1, 2) if found.ndim == 4 else found


def apart(function) -> np.ndarray:
    """By how many steps LiteRT's answers differ from ours."""
    shape, dtype = function.params[0].type.static_shape, function.params[0].type.dtype
    x = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8).view(dtype)
    (right,) = evaluate(function, {"x": x})
    found = by_litert(tflite_writer.write(Graph(function)), x)
    assert found.shape == right.shape
    assert len(np.unique(right)) > 8  # the test would see a wrong answer
    return np.abs(found.astype(int) - signed(right).astype(int))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("name", layers())
def test_a_layer_is_what_litert_computes_but_for_numbers_between_two_integers(name, dtype):
    steps = apart(layers(dtype)[name])
    assert steps.max() <= 1
    # LiteRT's mean rounds otherwise than this one, which shows in up to half of the elements
    assert (steps > 0).mean() < (0.5 if name == "mean" else 0.02)


def test_a_whole_region_stays_within_steps():
    steps = apart(residual())
    assert steps.max() <= 2


def test_what_tflite_cannot_say_is_refused():
    net = Net()
    function = net.function(net.quantize(net.dequantize(net.x, 0.1, 0), 0.1, 0, low=-7, high=9))
    with pytest.raises(ValueError, match="no layers of bytes"):
        Graph(function)


def test_tensors_that_mean_two_things_are_no_graph():
    net = Net()
    y = net.conv(net.x, 8, 1)
    function = net.function(net.add(y, y, zeros=(-5, 1), scales=(0.1, 0.1)))
    with pytest.raises(ValueError, match="has two zeros"):
        Graph(function)
