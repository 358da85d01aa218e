"""Subgraphs and functions: ``If`` with a known condition, and the model's own functions."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from armlet.errors import ModelFileError, UnsupportedModelError
from armlet.frontends.onnx import check, load

from .harness import check_like_onnxruntime, info, model, node, operators, random


def graph(nodes, outputs: str, constants=None) -> onnx.GraphProto:
    results = [helper.make_empty_tensor_value_info(n) for n in outputs.split()]
    initial = [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
    return helper.make_graph(nodes, "branch", [], results, initial)


def conditional(condition: str) -> onnx.NodeProto:
    body = [node("Relu", "x", "t"), node("Add", "t k", "then_out")]
    then = graph(body, "then_out", {"k": np.float32(1)})
    otherwise = graph([node("Neg", "x", "e"), node("Identity", "e", "else_out")], "else_out")
    return node("If", condition, "y", name="if", then_branch=then, else_branch=otherwise)


@pytest.mark.parametrize("taken, names", [(True, ["relu", "add"]), (False, ["neg"])])
def test_the_branch_of_a_known_condition_is_taken(taken: bool, names: list[str]) -> None:
    x = random(2, 3)
    proto = model([conditional("c")], [info("x", x.shape)], constants={"c": np.array(taken)})
    module = check_like_onnxruntime(proto, {"x": x})
    assert operators(module) == names
    assert module.main.results[0].name == "y"


def test_a_condition_on_shapes_is_known() -> None:
    x = random(2, 3)
    nodes = [node("Shape", "x", "s"), node("Size", "s", "n"), node("Equal", "n two", "c")]
    proto = model([*nodes, conditional("c")], [info("x", x.shape)], constants={"two": np.array(2)})
    assert operators(check_like_onnxruntime(proto, {"x": x})) == ["relu", "add"]


def test_a_condition_on_data_is_a_problem() -> None:
    proto = model([conditional("c")], [info("x", [2]), info("c", [], onnx.TensorProto.BOOL)])
    (problem,) = check(proto).problems
    assert problem.node == "if"
    assert "only conditions known at compile time" in problem.reason


def test_problems_inside_a_branch_are_told_and_what_depends_on_it_is_not_reached() -> None:
    branch = graph([node("TopK", "x k", "v i", name="inner")], "v", {"k": np.array([1])})
    nodes = [
        node("If", "c", "r", name="if", then_branch=branch, else_branch=branch),
        node("Relu", "r", "y", name="after"),
    ]
    report = check(model(nodes, [info("x", [2])], constants={"c": np.array(True)}))
    assert [p.node for p in report.problems] == ["inner"]
    status = {n.name: n.status.value for n in report.nodes}
    assert status == {"inner": "unsupported", "if": "not reached", "after": "not reached"}


def test_names_inside_branches_may_be_equal() -> None:
    x = random(2)
    nodes = []
    for index, source in enumerate(["x", "y0"]):
        branch = graph([node("Relu", source, "t"), node("Neg", "t", "out")], "out")
        nodes.append(node("If", "c", f"y{index}", then_branch=branch, else_branch=branch))
    proto = model(nodes, [info("x", [2])], "y1", {"c": np.array(True)})
    module = check_like_onnxruntime(proto, {"x": x})
    names = [c.output.name for c in module.main]
    assert (names[1], names[3]) == ("y0", "y1")
    assert len(set(names)) == 4


@pytest.mark.parametrize("operator", ["Loop", "Scan"])
def test_loops_are_refused(operator: str) -> None:
    body = graph([node("Relu", "x", "t")], "t")
    proto = model([node(operator, "x", "y", name="loop", body=body)], [info("x", [2])])
    (problem,) = check(proto).problems
    assert problem.reason == "control flow over the model's data is not supported"


def _function() -> onnx.FunctionProto:
    scale = node("LeakyRelu", "a", "b")
    scale.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope")
    body = [scale, node("Add", "b a", "c")]
    return helper.make_function(
        "local", "Twice", ["a"], ["c"], body, [helper.make_opsetid("", 17)], ["slope"]
    )


def test_functions_of_the_model_are_expanded() -> None:
    x = random(2, 3)
    nodes = [
        helper.make_node("Twice", ["x"], ["m"], "first", domain="local", slope=0.25),
        helper.make_node("Twice", ["m"], ["y"], "second", domain="local", slope=0.5),
    ]
    proto = model(nodes, [info("x", x.shape)], domains={"local": 1}, functions=[_function()])
    module = check_like_onnxruntime(proto, {"x": x})
    assert operators(module) == ["leaky_relu", "add", "leaky_relu", "add"]
    assert [c.source.split("/")[0] for c in module.main] == ["first", "first", "second", "second"]
    assert [n.status.value for n in check(proto).nodes if n.name == "first"] == ["decomposed"]


def test_a_function_that_calls_itself_is_refused() -> None:
    body = [helper.make_node("Again", ["a"], ["b"], domain="local")]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    again = helper.make_function("local", "Again", ["a"], ["b"], body, imports)
    nodes = [helper.make_node("Again", ["x"], ["y"], domain="local")]
    proto = model(nodes, [info("x", [2])], domains={"local": 1}, functions=[again])
    with pytest.raises(ModelFileError, match="too deep"):
        load(proto)


def test_an_unsupported_operator_inside_a_function_is_told() -> None:
    body = [node("TopK", "a a", "b c", name="top")]
    made = helper.make_function("local", "F", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    nodes = [helper.make_node("F", ["x"], ["y"], "call", domain="local")]
    with pytest.raises(UnsupportedModelError) as caught:
        load(model(nodes, [info("x", [2])], domains={"local": 1}, functions=[made]))
    assert [p.node for p in caught.value.problems] == ["call/top"]
