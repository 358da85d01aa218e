from __future__ import annotations

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
from onnx import defs

from armlet.compiler.ops.registry import OPERATORS
from armlet.errors import UnsupportedModelError
from armlet.frontends import onnx as front_end
from armlet.frontends.onnx import load
from armlet.frontends.onnx.reader import NEWEST_OPSET
from armlet.frontends.onnx.refused import REASONS
from armlet.frontends.onnx.registry import HANDLERS, Handler, Parameter, handles

from .harness import info, model, node, one_node, random

#: what a handler takes beyond the newest schema, or lacks of it
EXTRA = {"Split": {"num_outputs"}}
LACKING = {"Constant": {"sparse_value", "value_string", "value_strings"}}

KINDS = {
    "AttrType.INT": int, "AttrType.FLOAT": float, "AttrType.STRING": str,
    "AttrType.INTS": tuple[int, ...], "AttrType.FLOATS": tuple[float, ...],
    "AttrType.STRINGS": tuple[str, ...], "AttrType.TENSOR": np.ndarray,
}  # fmt: skip


def _schema(handler: Handler) -> defs.OpSchema:
    return defs.get_schema(handler.operator, NEWEST_OPSET, "")


#: those of ONNX itself; other domains have no schemas here
STANDARD = [h for h in HANDLERS.values() if not h.domain]


@pytest.mark.parametrize("handler", STANDARD, ids=lambda h: h.operator)
class TestHandler:
    def test_attributes_are_those_of_the_newest_schema(self, handler: Handler) -> None:
        known = set(_schema(handler).attributes) - LACKING.get(handler.operator, set())
        assert set(handler.attributes) == known | EXTRA.get(handler.operator, set())

    def test_attribute_types_are_those_of_the_schema(self, handler: Handler) -> None:
        for name, attribute in _schema(handler).attributes.items():
            if name in handler.attributes:
                kind = KINDS[f"AttrType.{attribute.type.name}"]
                assert handler.attributes[name].kind == kind, name

    def test_inputs_are_those_of_the_schema(self, handler: Handler) -> None:
        schema = _schema(handler)
        required = sum(p.required for p in handler.inputs)
        assert required == schema.min_input
        if handler.variadic is None:
            assert len(handler.inputs) == schema.max_input

    def test_defaults_are_those_of_the_schema(self, handler: Handler) -> None:
        parameters = inspect.signature(handler.function).parameters
        for name, attribute in _schema(handler).attributes.items():
            given = attribute.default_value
            if name in parameters and given.type in (given.FLOAT, given.INT):
                value = given.f if given.type == given.FLOAT else given.i
                assert parameters[name].default == pytest.approx(value, rel=1e-6), name

    def test_since_is_when_the_operator_came(self, handler: Handler) -> None:
        name = handler.operator
        first = min(s.since_version for s in defs.get_all_schemas_with_history() if s.name == name)
        assert handler.since == first or first <= 7


def test_no_refused_operator_has_a_handler() -> None:
    assert not REASONS.keys() & {operator for _, operator in HANDLERS}


def test_every_operator_that_handlers_name_exists() -> None:
    folder = Path(inspect.getfile(front_end)).parent
    for file in folder.glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                name = call.args[0] if call.func.attr == "call" and call.args else None
                if isinstance(name, ast.Constant):
                    assert name.value in OPERATORS, (file.name, name.value)


def test_a_second_handler_of_an_operator_is_an_error() -> None:
    with pytest.raises(ValueError, match="Relu has two handlers"):
        handles("Relu")(lambda b, x: x)


def test_a_parameter_knows_what_it_accepts() -> None:
    (axes,) = [p for p in HANDLERS["", "Squeeze"].inputs if p.name == "axes"]
    assert isinstance(axes, Parameter)
    assert not axes.required
    assert {t.__name__ for t in axes.accepts} == {"Const"}


def _problem(proto):
    with pytest.raises(UnsupportedModelError) as caught:
        load(proto)
    (problem,) = caught.value.problems
    return problem


def test_an_unknown_attribute_is_named() -> None:
    problem = _problem(one_node("LeakyRelu", {"x": random(2, 3)}, alhpa=0.1))
    assert (problem.attribute, problem.reason) == ("alhpa", "the attribute is unknown")


def test_a_missing_attribute_is_named() -> None:
    problem = _problem(one_node("Concat", {"x": random(2, 3)}))
    assert (problem.attribute, problem.reason) == ("axis", "the attribute is missing")


def test_an_attribute_of_the_wrong_type_is_named() -> None:
    problem = _problem(one_node("LeakyRelu", {"x": random(2, 3)}, alpha="much"))
    assert problem.attribute == "alpha"
    assert problem.reason == "a number expected, found 'much'"


def test_too_many_inputs_are_refused() -> None:
    problem = _problem(one_node("Relu", {"x": random(2), "z": random(2)}))
    assert problem.reason == "it has 2 inputs; at most 1 are known"


def test_a_missing_input_is_named() -> None:
    problem = _problem(model([node("Add", "x _", "y")], [info("x", [2])]))
    assert problem.reason == "input 1 (y) is missing"


def test_an_operator_newer_than_the_declared_opset_is_refused() -> None:
    problem = _problem(one_node("Gelu", {"x": random(2)}, opset=13))
    assert problem.reason == "the operator came with opset 20; the model declares 13"


def test_an_input_that_must_be_constant_is_named() -> None:
    shape = info("s", [2], 7)
    problem = _problem(model([node("Reshape", "x s", "y")], [info("x", [4]), shape]))
    assert problem.reason.startswith("its input shape is computed from the model's input")
