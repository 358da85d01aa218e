"""Input shapes by name, free dimensions, and arithmetic on shapes."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.ir import Const, Dim
from armlet.errors import ModelShapeError, UnsupportedModelError
from armlet.frontends.onnx import check, load

from .harness import check_like_onnxruntime, info, model, node, operators, random, run

IMAGE = ["N", 3, "H", "W"]


def relu(*shape: object, name: str = "x"):
    return model([node("Relu", name, "y")], [info(name, list(shape))])


def test_a_free_leading_dimension_becomes_one_and_is_noted() -> None:
    module = load(relu("N", 4))
    assert str(module.main.params[0].type) == "f32[1,4]"
    assert module.metadata["notes"] == ["the free leading dimension of input 'x' is taken as 1"]


@pytest.mark.parametrize("leading", ["N", None, -1, 0, "?"])
def test_free_dimensions_are_written_in_many_ways(leading: object) -> None:
    assert load(relu(leading, 4)).main.params[0].type.shape == (1, 4)


def test_other_free_dimensions_stay_symbolic() -> None:
    assert load(relu(*IMAGE)).main.results[0].type.shape == (1, 3, Dim("H"), Dim("W"))


def test_names_that_the_ir_cannot_write_are_replaced() -> None:
    shape = load(relu(1, "batch size*2", "batch size/2", "1st", None)).main.params[0].type.shape
    texts = [str(d) for d in shape]
    assert texts == ["1", "batch_size_2", "batch_size_2_1", "d1st", "x_4"]


def test_shapes_are_given_by_name() -> None:
    module = load(relu(*IMAGE), {"x": (2, 3, 48, 320)})
    assert module.main.results[0].type.shape == (2, 3, 48, 320)
    assert module.metadata["notes"] == []


def test_equal_dimension_names_are_equal_sizes() -> None:
    proto = model(
        [node("Add", "x state", "y")], [info("x", ["B", "T"]), info("state", [2, "B", "T"])]
    )
    types = [str(p.type) for p in load(proto, {"x": (3, 5)}).main.params]
    assert types == ["f32[3,5]", "f32[2,3,5]"]


@pytest.mark.parametrize(
    "shapes, message",
    [
        ({"image": (1, 3, 4, 4)}, "'image', which is no input"),
        ({"x": (1, 3, 4)}, "cannot have the shape 1x3x4: it has 4 axes"),
        ({"x": (1, 4, 8, 8)}, "the model fixes some of its sizes"),
        ({"x": (1, 3, 0, 8)}, "sizes are integers from 1"),
        ({"x": (1, 3, -8, 8)}, "sizes are integers from 1"),
        ({"x": (1, 3, 1 << 20, 1 << 20)}, "has more than 2^31 elements"),
    ],
)
def test_impossible_shapes_are_refused(shapes: dict, message: str) -> None:
    with pytest.raises(ModelShapeError) as caught:
        load(relu(*IMAGE), shapes)
    assert message in str(caught.value)
    assert caught.value.way_out


@pytest.mark.parametrize("shape", [[1, 1 << 40], [1, -7], [1 << 20, 1 << 20, 1 << 40]])
def test_impossible_sizes_in_the_file_are_refused(shape: list[int]) -> None:
    with pytest.raises(ModelShapeError):
        load(relu(*shape))


def flatten_by_shape():
    """Exporters' way to write ``x.reshape(x.shape[0], -1)``."""
    nodes = [
        node("Shape", "x", "s"),
        node("Slice", "s zero one", "n"),
        node("Concat", "n minus", "to", axis=0),
        node("Reshape", "x to", "y"),
    ]
    constants = {"zero": np.array([0]), "one": np.array([1]), "minus": np.array([-1])}
    return model(nodes, [info("x", IMAGE)], constants=constants)


def test_shape_arithmetic_is_folded() -> None:
    x = random(2, 3, 4, 5)
    assert operators(check_like_onnxruntime(flatten_by_shape(), {"x": x})) == ["reshape"]


def test_shape_arithmetic_works_beside_free_dimensions() -> None:
    (call,) = load(flatten_by_shape()).main
    assert str(call.output.type) == "f32[1,(W*(H*3))]"


def test_arithmetic_on_free_dimensions_reaches_the_reshape() -> None:
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s two", "h"),
        node("Mul", "h four", "h4"),
        node("Unsqueeze", "h4 zero", "h1"),
        node("Concat", "one three h1 rest", "to", axis=0),
        node("Reshape", "x to", "y"),
    ]
    constants = {
        "two": np.array(2), "four": np.array(4), "zero": np.array([0]), "one": np.array([1]),
        "three": np.array([3]), "rest": np.array([2]),
    }  # fmt: skip
    proto = model(nodes, [info("x", [1, 3, "H", 8])], constants=constants)
    assert str(load(proto).main.results[0].type) == "f32[1,3,(H*4),2]"
    check_like_onnxruntime(proto, {"x": random(1, 3, 5, 8)})


@pytest.mark.parametrize(
    "nodes, constants",
    [
        ([node("Resize", "x _ s", "y")], {"s": np.array([1, 1, 2, 2], "f")}),
        ([node("MaxPool", "x", "y", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)], {}),
        ([node("Conv", "x w", "y", strides=[2, 2], auto_pad="SAME_UPPER")],
         {"w": random(1, 3, 3, 3)}),
        ([node("Shape", "x", "s"), node("Cast", "s", "f", to=1), node("Sqrt", "f", "y")], {}),
        ([node("Shape", "x", "s"), node("ConstantOfShape", "s", "y")], {}),
        ([node("Shape", "x", "y")], {}),
        ([node("MaxPool", "x", "p", kernel_shape=[3, 3], strides=[2, 2]), node("Shape", "p", "y")],
         {}),
    ],
)  # fmt: skip
def test_what_depends_on_a_free_dimension_says_how_to_fix_it(nodes, constants) -> None:
    proto = model(nodes, [info("x", IMAGE)], constants=constants)
    with pytest.raises(UnsupportedModelError) as caught:
        load(proto)
    (problem,) = caught.value.problems
    assert "free dimension" in problem.reason
    assert problem.way_out == "--shape x=1x3x<H>x<W>, with numbers for <…>"
    load(proto, {"x": (1, 3, 8, 8)})


def test_calls_on_constants_are_computed() -> None:
    nodes = [
        node("Range", "a b c", "r"),
        node("ConstantOfShape", "n", "z", value=onnx_tensor(7)),
        node("NonZero", "z", "nz"),
        node("Size", "z", "size"),
        node("Add", "r size", "y"),
    ]
    constants = {
        "a": np.array(0), "b": np.array(6), "c": np.array(2), "n": np.array([3]),
    }  # fmt: skip
    module = load(model(nodes, [info("x", [1])], "y nz", constants))
    assert not module.main.bindings
    y, nz = module.main.results
    assert isinstance(y, Const) and y.data.tolist() == [3, 5, 7]
    assert isinstance(nz, Const) and nz.data.tolist() == [[0, 1, 2]]
    assert (y.name, nz.name) == ("y", "nz")


def onnx_tensor(value: int):
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array([value]))


def test_a_model_of_symbolic_shape_runs_at_any_size() -> None:
    nodes = [node("Conv", "x w", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "y")]
    module = load(model(nodes, [info("x", IMAGE)], constants={"w": random(2, 3, 3, 3)}))
    for size in (4, 7):
        (y,) = run(module, {"x": random(1, 3, size, size)})
        assert y.shape == (1, 2, size, size)


def test_check_reports_types_and_notes() -> None:
    report = check(relu(*IMAGE))
    assert report.inputs == {"x": "f32[1,3,H,W]"}
    assert report.outputs == {"y": "f32[1,3,H,W]"}
    assert len(report.notes) == 1
