"""All problems of a model at once, each with its node, reason and way out."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import helper

from armlet.errors import UnsupportedModelError
from armlet.frontends import Status
from armlet.frontends.onnx import check, load

from .harness import info, model, node, one_node, random


@pytest.fixture
def troubled() -> onnx.ModelProto:
    """Two problems, one node that depends on the first, and others that are well."""
    nodes = [
        node("Relu", "x", "a", name="relu"),
        node("TopK", "a k", "best index", name="top"),
        node("Softmax", "best", "s", name="after"),
        node("LeakyRelu", "x", "l", name="leaky", slope=0.5),
        node("HardSwish", "x", "h", name="swish"),
        node("Gelu", "best", "g", name="gelu"),
        node("Elu", "best", "e", name="elu", beta=1.0),
        node("Add", "h x", "y"),
        node("Gemm", "x w", "z", name="gemm"),
    ]
    constants = {"k": np.array([1]), "w": random(4, 2)}
    return model(nodes, [info("x", [2, 4])], "y z s l g", constants, opset=14)


def test_all_problems_are_raised_at_once(troubled: onnx.ModelProto) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        load(troubled)
    problems = {p.node: p for p in caught.value.problems}
    assert list(problems) == ["top", "leaky", "gelu", "elu"]
    assert problems["top"].operator == "TopK"
    assert problems["top"].version == "ai.onnx 14"
    assert problems["top"].way_out
    assert problems["leaky"].attribute == "slope"
    assert "opset 20" in problems["gelu"].reason
    text = str(caught.value)
    assert "the model has 4 problems" in text
    assert "LeakyRelu (ai.onnx 14) 'leaky', attribute slope: the attribute is unknown" in text


def test_check_tells_the_fate_of_every_node(troubled: onnx.ModelProto) -> None:
    report = check(troubled)
    assert {n.name: n.status for n in report.nodes} == {
        "relu": Status.NATIVE,
        "top": Status.UNSUPPORTED,
        "after": Status.NOT_REACHED,
        "leaky": Status.UNSUPPORTED,
        "swish": Status.NATIVE,
        "gelu": Status.UNSUPPORTED,
        "elu": Status.UNSUPPORTED,
        "y": Status.NATIVE,
        "gemm": Status.NATIVE,
    }
    assert not report.supported
    assert report.counts() == {"native": 4, "unsupported": 4, "not reached": 1}
    json.dumps(report.as_dict())


def test_check_says_what_is_folded_and_decomposed() -> None:
    nodes = [
        node("Shape", "x", "s", name="shape"),
        node("Identity", "x", "i", name="identity"),
        node("Gemm", "i w b", "g", name="gemm"),
        node("Reshape", "g s2", "y", name="reshape"),
    ]
    constants = {"w": random(4, 2), "b": random(2), "s2": np.array([1, -1])}
    report = check(model(nodes, [info("x", [3, 4])], "y s", constants))
    assert [(n.name, n.status.value, n.reason) for n in report.nodes] == [
        ("shape", "folded", ""),
        ("identity", "folded", ""),
        ("gemm", "decomposed", "into matmul, add"),
        ("reshape", "native", ""),
    ]
    assert report.inputs == {"x": "f32[3,4]"}
    assert report.outputs == {"y": "f32[1,6]", "s": "i64[2]"}


def test_equal_problems_are_told_in_one_line() -> None:
    nodes = [node("TopK", "x k", f"y{i} i{i}", name=f"top{i}") for i in range(20)]
    with pytest.raises(UnsupportedModelError) as caught:
        load(model(nodes, [info("x", [4])], "y0", {"k": np.array([1])}))
    assert len(caught.value.problems) == 20
    assert "'top0': sorting is not supported; way out: " in str(caught.value)
    assert "(and 19 more nodes like it)" in str(caught.value)


def test_an_unknown_operator_suggests_a_name() -> None:
    (problem,) = check(one_node("LeakyReLU", {"x": random(2)})).problems
    assert (problem.reason, problem.way_out) == (
        "the operator is not supported",
        "is LeakyRelu meant?",
    )


def test_an_unknown_domain_is_named() -> None:
    nodes = [helper.make_node("FusedConv", ["x"], ["y"], "fused", domain="com.microsoft")]
    proto = model(nodes, [info("x", [2])], domains={"com.microsoft": 1})
    (problem,) = check(proto).problems
    assert problem.version == "com.microsoft 1"
    assert problem.reason == "operators of domain 'com.microsoft' are not supported"
    assert "optimisations" in problem.way_out


def test_an_output_that_nothing_makes_is_a_problem_only_if_it_is_read() -> None:
    x = random(1, 2, 4, 4)
    pool = node("MaxPool", "x", "y where", kernel_shape=[2, 2])
    assert check(model([pool], [info("x", x.shape)])).supported
    (problem,) = check(model([pool], [info("x", x.shape)], "y where")).problems
    assert problem.reason == "output 1 (where) is read, but not supported"


@pytest.mark.parametrize(
    "data_type, name",
    [
        (onnx.TensorProto.BFLOAT16, "BFLOAT16"),
        (onnx.TensorProto.FLOAT8E4M3FN, "FLOAT8E4M3FN"),
        (onnx.TensorProto.STRING, "STRING"),
        (onnx.TensorProto.COMPLEX64, "COMPLEX64"),
    ],
)
def test_dtypes_that_the_compiler_lacks_are_named(data_type: int, name: str) -> None:
    as_input = model([node("Identity", "x", "y")], [info("x", [2], data_type)])
    (problem,) = check(as_input).problems
    assert (problem.node, problem.operator) == ("x", "input")
    assert problem.reason == f"tensors of type {name} are not supported"
    weights = onnx.TensorProto(name="w", data_type=data_type, dims=[2])
    as_weight = model([node("Add", "x w", "y")], [info("x", [2])])
    as_weight.graph.initializer.append(weights)
    (problem,) = check(as_weight).problems
    assert (problem.node, problem.operator) == ("w", "initialiser")
    cast = model([node("Cast", "x", "y", to=data_type)], [info("x", [2])])
    (problem,) = check(cast).problems
    assert problem.attribute == "to"


def test_operands_that_do_not_fit_are_a_problem() -> None:
    feeds = {"x": random(2, 3), "z": random(4, 5)}
    (problem,) = check(one_node("Add", feeds)).problems
    assert "[2,3] and [4,5] do not broadcast" in problem.reason


def test_a_sparse_initialiser_is_a_problem() -> None:
    proto = model([node("Add", "x w", "y")], [info("x", [2])])
    sparse = onnx.SparseTensorProto(dims=[2])
    sparse.values.CopyFrom(onnx.TensorProto(name="w", data_type=1, dims=[0]))
    proto.graph.sparse_initializer.append(sparse)
    (problem,) = check(proto).problems
    assert (problem.node, problem.reason) == ("w", "sparse tensors are not supported")


def test_a_result_too_large_to_index_is_a_problem() -> None:
    proto = one_node("Expand", {"x": random(1)}, 17, {"s": np.array([1 << 20, 1 << 20])})
    (problem,) = check(proto).problems
    assert problem.reason.endswith("has more than 2^31 elements")
