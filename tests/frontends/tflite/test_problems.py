"""What is not supported is told: every problem at once, by its layer, with a way out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tflite

from armlet.errors import ModelShapeError, UnsupportedModelError
from armlet.frontends import Status

from .builder import Graph, file_of
from .harness import (
    Fed,
    by_litert,
    check,
    check_like_litert,
    imported,
    load,
    one,
    operators,
    random,
)


def test_all_problems_are_told_at_once() -> None:
    graph = Graph()
    x = graph.input((2, 4), name="x")
    (place,) = graph.op("WHERE", [x], options=tflite.WhereOptions, dtypes=["int64"])
    (after,) = graph.op("ABS", [place], options=tflite.AbsOptions, dtypes=["int64"])
    (flex,) = graph.op("FlexErf", [x])
    (custom,) = graph.op("MyOperator", [x])
    (fine,) = graph.op("RELU", [x])
    (bits,) = graph.op("BITWISE_XOR", [x, x], options=tflite.BitwiseXorOptions)
    graph.outputs = [after, flex, custom, fine, bits]
    report = check(file_of(graph))
    assert [n.status for n in report.nodes] == [
        Status.UNSUPPORTED, Status.NOT_REACHED, Status.UNSUPPORTED, Status.UNSUPPORTED,
        Status.NATIVE, Status.UNSUPPORTED,
    ]  # fmt: skip
    reasons = {p.operator: p.reason for p in report.problems}
    assert "must be known at compile time" in reasons["WHERE"]
    assert reasons["FlexErf"] == "operators of TensorFlow itself are not supported"
    assert reasons["MyOperator"] == "the custom operator is not known"
    assert reasons["BITWISE_XOR"] == "bit arithmetic is not supported"
    json.dumps(report.as_dict())
    with pytest.raises(UnsupportedModelError, match="the model has 4 problems"):
        load(file_of(graph))


def test_layers_are_called_what_their_tensors_are() -> None:
    graph = Graph()
    x = graph.input((2, 4), name="serving_default_x:0")
    (y,) = graph.op("RELU", [x])
    graph.tensors[y].name = "block/relu"
    graph.outputs = [y]
    module = load(file_of(graph))
    (call,) = module.main
    assert (call.source, call.output.name) == ("block/relu", "block/relu")
    assert [p.name for p in module.main.params] == ["serving_default_x:0"]
    assert module.outputs == ("block/relu",)


def test_names_that_are_missing_or_shared_are_told_apart() -> None:
    graph = Graph()
    x, y = graph.input((2,), name="x"), graph.input((2,), name="x")
    (z,) = graph.op("ADD", [x, y], options=tflite.AddOptions)
    graph.tensors[z].name = ""
    graph.tensors[x].name = graph.tensors[y].name = "x"
    graph.outputs = [z]
    module = load(file_of(graph))
    assert [p.name for p in module.main.params] == ["x", "x_1"]
    assert module.outputs == ("output_0",)


@pytest.mark.parametrize("kind", ["INT8", "UINT8", "INT16"])
def test_an_operator_of_floats_alone_is_refused_by_the_name_of_its_operand(kind: str) -> None:
    graph = Graph()
    x = graph.input((2, 4), kind, name="pixels", quantization=([0.5], [0], 0))
    graph.outputs = graph.op("SIN", [x])
    (problem,) = check(file_of(graph)).problems
    assert problem.reason == "it is not supported for quantised tensors, as 'pixels' is"
    assert problem.way_out == "keep this layer in float where the model is quantised"


def test_quantisation_is_known_of_tensors() -> None:
    graph = Graph()
    weights = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    w = graph.constant(weights, quantization=([0.5, 0.25, 2.0], [0, 1, -1], 0))
    x = graph.input((3, 4))
    (real,) = graph.op("DEQUANTIZE", [w], options=tflite.DequantizeOptions)
    graph.outputs = graph.op("ADD", [x, real], options=tflite.AddOptions)
    data = file_of(graph)
    quantization = imported(data).model.main.tensors[w].quantization
    assert quantization is not None
    assert quantization.scale.tolist() == [0.5, 0.25, 2.0]
    assert (quantization.zero_point.tolist(), quantization.axis) == ([0, 1, -1], 0)
    scale, zero = np.array([[0.5], [0.25], [2]], "f"), np.array([[0], [1], [-1]], "f")
    (call,) = load(data).main
    np.testing.assert_array_equal(call.operands[1].data, (weights - zero) * scale)


def test_float16_weights_are_made_float32() -> None:
    graph = Graph()
    x = graph.input((2, 4))
    half = graph.constant(random(3, 4).astype("float16"))
    (w,) = graph.op("DEQUANTIZE", [half], options=tflite.DequantizeOptions)
    bias = graph.constant(random(3))
    graph.outputs = graph.op("FULLY_CONNECTED", [x, w, bias], options=tflite.FullyConnectedOptions)
    module = check_like_litert(file_of(graph), [random(2, 4, seed=1)], kernels="delegate")
    assert operators(module) == ["matmul", "add"]


def test_the_batch_is_one_unless_a_shape_is_given() -> None:
    graph = Graph()
    x = graph.input((1, 6), name="x", signature=(-1, 6))
    graph.outputs = graph.op("RELU", [x])
    data = file_of(graph)
    module = load(data)
    assert module.main.params[0].type.shape == (1, 6)
    assert module.metadata["notes"] == ["the free leading dimension of input 'x' is taken as 1"]
    assert load(data, {"x": (5, 6)}).main.params[0].type.shape == (5, 6)
    with pytest.raises(ModelShapeError, match="the model fixes some of its sizes"):
        load(data, {"x": (5, 7)})


def test_a_free_size_is_told_with_the_option_that_fixes_it() -> None:
    graph = Graph()
    x = graph.input((1, 8, 8, 3), name="x", signature=(1, -1, 8, 3))
    graph.outputs = graph.op(
        "MAX_POOL_2D", [x], options=tflite.Pool2DOptions, padding=0, stride_h=2, stride_w=2,
        filter_height=2, filter_width=2,
    )  # fmt: skip
    (problem,) = check(file_of(graph)).problems
    assert problem.reason.endswith("depends on the free dimension x_1")
    assert problem.way_out.startswith("--shape x=1x<x_1>x8x3")
    assert imported(file_of(graph), {"x": (1, 10, 8, 3)}).report().supported


def test_a_variable_is_zero_and_the_report_says_so() -> None:
    state = (2, 4)
    operands = [Fed(random(2, 3)), random(4, 3), random(4, 4), random(4), state]
    data, _ = one("RNN", operands, tflite.RNNOptions, fused_activation_function=4)
    assert check(data).notes == ("variable 't4' is zero at the start of every run",)


BRANCHES = [("RELU", "TANH"), ("TANH", None)]


def _branching(condition: int | None, graph: Graph) -> bytes:
    x = graph.input((3,), name="x")
    chosen = graph.constant(np.bool_(condition)) if condition is not None else None
    if chosen is None:
        half = graph.constant(np.float32(0.0))
        (total,) = graph.op(
            "SUM", [x, graph.constant(np.int32([0]))], options=tflite.ReducerOptions
        )
        (chosen,) = graph.op(
            "GREATER", [total, half], options=tflite.GreaterOptions, dtypes=["bool"]
        )
    graph.outputs = graph.op(
        "IF", [chosen, x], options=tflite.IfOptions, then_subgraph_index=1, else_subgraph_index=2
    )
    branches = []
    for kind in ("RELU", "TANH"):
        branch = Graph()
        branch.outputs = branch.op(kind, [branch.input((3,), name="x")])
        branches.append(branch)
    return file_of(graph, *branches)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_condition_of_the_data_chooses_between_both_branches(sign: int) -> None:
    x = sign * np.array([1, 2, -0.5], np.float32)
    module = check_like_litert(_branching(None, Graph()), [x])
    assert operators(module)[-1] == "where"


@pytest.mark.parametrize("condition", [0, 1])
def test_a_known_condition_takes_one_branch(condition: int) -> None:
    module = load(_branching(condition, Graph()))
    assert operators(module) == [["tanh", "relu"][condition]]


def test_sparse_weights_are_given_their_zeros() -> None:
    from armlet.frontends.tflite.model import SparseAxis, Sparsity, Tensor
    from armlet.frontends.tflite.tensors import array_of

    dense = np.array([[0, 5, 0, 0], [0, 0, 0, 0], [7, 0, 0, 9]], np.float32)
    segments, indices = np.array([0, 1, 1, 3]), np.array([1, 0, 3])
    sparsity = Sparsity((0, 1), (), (SparseAxis(3), SparseAxis(0, segments, indices)))
    data = np.float32([5, 7, 9]).view(np.uint8)
    tensor = Tensor("w", "FLOAT32", (3, 4), data, sparsity=sparsity)
    np.testing.assert_array_equal(array_of(tensor, Path("m")), dense)


def test_litert_takes_the_models_that_are_built_here() -> None:
    data = _branching(1, Graph())
    np.testing.assert_array_equal(by_litert(data, [np.float32([-1, 0, 2])])[0], [0, 0, 2])
