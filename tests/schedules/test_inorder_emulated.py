"""Kernels for cores that issue in order, on an emulated machine: every kind, with tails."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from armlet import api, emulator
from armlet.targets import target

A55 = target("linux-arm64-cortex-a55")
WHY_NOT = emulator.find(A55).missing

#: output channels, kernel, stride, padding, groups
CONVOLUTIONS = [
    (64, 3, 1, 1, 1),
    (20, 3, 2, 1, 1),
    (6, 1, 1, 0, 1),
    (32, 3, 1, 1, 32),
    (32, 5, 2, 2, 32),
    (9, 3, 1, 0, 1),
]


def _model(size: tuple[int, int]) -> onnx.ModelProto:
    """One image into a pool and several convolutions, each with a bias and an activation."""
    rng, nodes, weights, results = np.random.default_rng(0), [], [], []
    for i, (out, k, stride, pad, groups) in enumerate(CONVOLUTIONS):
        w = rng.standard_normal((out, 32 // groups, k, k)).astype("f") / np.float32(k * 3)
        weights += [numpy_helper.from_array(w, f"w{i}")]
        weights += [numpy_helper.from_array(rng.standard_normal(out).astype("f"), f"b{i}")]
        nodes.append(
            helper.make_node(
                "Conv", ["x", f"w{i}", f"b{i}"], [f"c{i}"], name=f"conv{i}",
                strides=[stride] * 2, pads=[pad] * 4, group=groups,
            )
        )  # fmt: skip
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"y{i}"], name=f"relu{i}"))
        results.append(helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, None))
    nodes.append(
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    )
    results.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, None))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32, *size])
    graph = helper.make_graph(nodes, "kinds", [x], results, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
@pytest.mark.parametrize("size", [(8, 12), (13, 17)], ids=str)
def test_every_kind_of_window_is_right(size, tmp_path):
    path = tmp_path / "kinds.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(_model(size)), path)
    made = api.compile(path, A55)
    assert made.manifest["verified_by"] == "ONNX Runtime"
    assert made.differences and not made.not_run
    ran = {row[-1].partition("+")[0] for row in made.manifest["task_rows"]}
    assert {"conv2d_winograd", "conv2d_blocked", "depthwise_conv2d_blocked", "max_pool2d"} <= ran
