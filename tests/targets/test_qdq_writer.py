"""Layers of bytes as QDQ models: ONNX Runtime, which shares no code with us, computes the same."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.ops.interpreter import evaluate
from armlet.targets.npu import qdq_writer
from armlet.targets.npu.int8 import Graph

from .byte_nets import layers, residual

ort = pytest.importorskip("onnxruntime")


def unsigned(data: np.ndarray) -> np.ndarray:
    return data.view(np.uint8) ^ 128 if data.dtype == np.int8 else data


def apart(function) -> np.ndarray:
    """By how many steps ONNX Runtime's answers differ from ours."""
    shape, dtype = function.params[0].type.static_shape, function.params[0].type.dtype
    x = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8).view(dtype)
    (right,) = evaluate(function, {"x": x})
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(qdq_writer.write(Graph(function)), options)
    (found,) = session.run(None, {"input_0": unsigned(x)})
    assert found.shape == right.shape
    assert len(np.unique(right)) > 8  # the test would see a wrong answer
    return np.abs(found.astype(int) - unsigned(right).astype(int))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("name", layers())
def test_a_layer_is_what_onnxruntime_computes_but_for_halves(name, dtype):
    steps = apart(layers(dtype)[name])
    assert steps.max() <= 1
    # a mean is of numbers that differ already
    assert (steps > 0).mean() < (0.1 if name == "mean" else 0.01)


def test_a_whole_region_stays_within_a_step():
    assert apart(residual()).max() <= 1
