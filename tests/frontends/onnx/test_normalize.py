"""Every form that an operator had since opset 7, beside ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.errors import UnsupportedModelError
from armlet.frontends.onnx import load
from armlet.frontends.onnx.normalize import STEPS
from armlet.frontends.onnx.registry import HANDLERS

from .harness import check_like_onnxruntime, info, model, node, one_node, operators, random

X = random(2, 3, 4, 5)


def test_steps_are_of_operators_that_exist() -> None:
    known = {operator for _, operator in HANDLERS}
    assert set(STEPS) - known == {"Upsample"}


@pytest.mark.parametrize("operator", ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2"])
@pytest.mark.parametrize("attributes", [{}, {"axes": [1, -1]}, {"axes": [2], "keepdims": 0}])
def test_reductions_took_axes_as_an_attribute(operator: str, attributes: dict) -> None:
    check_like_onnxruntime(one_node(operator, {"x": X}, 11, **attributes), {"x": X})


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
def test_reduce_mean_changed_in_opset_18(opset: int) -> None:
    if opset < 18:
        proto = one_node("ReduceMean", {"x": X}, opset, axes=[-2])
    else:
        proto = one_node("ReduceMean", {"x": X}, opset, {"axes": np.array([-2])})
    check_like_onnxruntime(proto, {"x": X})


@pytest.mark.parametrize("opset", [11, 13])
def test_squeeze_and_unsqueeze(opset: int) -> None:
    x = random(3, 1, 4, 1)
    if opset < 13:
        nodes = [node("Squeeze", "x", "s", axes=[1, -1]), node("Unsqueeze", "s", "y", axes=[0, 3])]
        constants = {}
    else:
        nodes = [node("Squeeze", "x a", "s"), node("Unsqueeze", "s b", "y")]
        constants = {"a": np.array([1, -1]), "b": np.array([0, 3])}
    proto = model(nodes, [info("x", x.shape)], constants=constants, opset=opset)
    assert operators(check_like_onnxruntime(proto, {"x": x})) == ["reshape", "reshape"]


@pytest.mark.parametrize("bounds", [{}, {"min": -0.5}, {"max": 0.5}, {"min": -0.1, "max": 0.3}])
def test_clip_had_attributes(bounds: dict[str, float]) -> None:
    check_like_onnxruntime(one_node("Clip", {"x": X}, 7, **bounds), {"x": X})


def test_clip_has_inputs() -> None:
    proto = one_node("Clip", {"x": X}, 13, {"hi": np.float32(0.5)}, inputs="x _ hi")
    assert operators(check_like_onnxruntime(proto, {"x": X})) == ["clip"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"starts": [1, 0], "ends": [3, 1000]},
        {"starts": [-2], "ends": [-1], "axes": [-1]},
        {"starts": [0, 1], "ends": [2**31 - 1, -1], "axes": [3, 2]},
    ],
)
def test_slice_had_attributes(attributes: dict) -> None:
    check_like_onnxruntime(one_node("Slice", {"x": X}, 7, **attributes), {"x": X})


def test_slice_backwards() -> None:
    constants = {
        "starts": np.array([-1, 3]), "ends": np.array([-(2**63) + 1, 0]),
        "axes": np.array([3, 2]), "steps": np.array([-2, -1]),
    }  # fmt: skip
    check_like_onnxruntime(one_node("Slice", {"x": X}, 13, constants), {"x": X})


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("opset", [7, 11, 18])
def test_pad(mode: str, opset: int) -> None:
    pads = [0, 0, 1, 2, 0, 0, 3, 1]
    if opset < 11:
        value = {"value": 1.5} if mode == "constant" else {}
        proto = one_node("Pad", {"x": X}, opset, pads=pads, mode=mode, **value)
    else:
        constants = {"pads": np.array(pads), "value": np.float32(1.5)}
        proto = one_node("Pad", {"x": X}, opset, constants, mode=mode)
    check_like_onnxruntime(proto, {"x": X})


def test_pad_of_some_axes_with_negative_amounts() -> None:
    constants = {"pads": np.array([-1, 2, 1, -1]), "axes": np.array([-1, 1])}
    proto = one_node("Pad", {"x": X}, 18, constants, inputs="x pads _ axes")
    assert operators(check_like_onnxruntime(proto, {"x": X})) == ["slice", "slice", "pad"]


@pytest.mark.parametrize("opset", [7, 13, 18])
@pytest.mark.parametrize("sizes", [None, [1, 3, 1]])
def test_split(opset: int, sizes: list[int] | None) -> None:
    x = random(2, 6 if sizes is None else 5)
    constants, attributes = {}, {}
    if sizes and opset < 13:
        attributes["split"] = sizes
    elif sizes:
        constants["sizes"] = np.array(sizes)
    elif opset >= 18:
        attributes["num_outputs"] = 3
    proto = one_node("Split", {"x": x}, opset, constants, outputs="a b c", axis=1, **attributes)
    check_like_onnxruntime(proto, {"x": x})


def test_split_into_uneven_parts() -> None:
    x = random(2, 7)
    proto = one_node("Split", {"x": x}, 18, outputs="a b c", axis=-1, num_outputs=3)
    check_like_onnxruntime(proto, {"x": x})


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, None])
@pytest.mark.parametrize("opset", [7, 11, 13])
def test_softmax_took_its_operand_as_a_matrix(operator: str, axis: int | None, opset: int) -> None:
    if opset < 11 and axis == -1:
        axis = 3
    attributes = {} if axis is None else {"axis": axis}
    check_like_onnxruntime(one_node(operator, {"x": X}, opset, **attributes), {"x": X})


@pytest.mark.parametrize("opset", [7, 10, 12, 13, 22])
def test_dropout_vanishes(opset: int) -> None:
    attributes = {"ratio": 0.3} if opset < 12 else {}
    proto = model(
        [node("Dropout", "x", "d", **attributes), node("Relu", "d", "y")],
        [info("x", X.shape)],
        opset=opset,
    )
    assert operators(check_like_onnxruntime(proto, {"x": X})) == ["relu"]


@pytest.mark.parametrize("opset", [7, 9, 14, 15])
def test_batch_normalization(opset: int) -> None:
    constants = {name: np.abs(random(3, seed=i)) for i, name in enumerate("sbmv")}
    attributes = {"spatial": 1} if opset < 9 else {}
    proto = one_node("BatchNormalization", {"x": X}, opset, constants, epsilon=1e-3, **attributes)
    check_like_onnxruntime(proto, {"x": X})


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset", [7, 9])
def test_upsample(mode: str, opset: int) -> None:
    scales = [1.0, 1.0, 2.0, 3.0]
    if opset < 9:
        proto = one_node("Upsample", {"x": X}, opset, scales=scales, mode=mode)
    else:
        constants = {"s": np.array(scales, "f")}
        proto = one_node("Upsample", {"x": X}, opset, constants, mode=mode)
    assert operators(check_like_onnxruntime(proto, {"x": X})) == ["resize"]


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [[2.0, 2.5], [0.5, 0.6], [1.0, 3.0]])
def test_resize_of_opset_10(mode: str, scales: list[float]) -> None:
    constants = {"s": np.array([1.0, 1.0, *scales], "f")}
    check_like_onnxruntime(one_node("Resize", {"x": X}, 10, constants, mode=mode), {"x": X})


def test_resize_of_opset_10_up_and_down_is_refused() -> None:
    constants = {"s": np.array([1.0, 1.0, 2.0, 0.5], "f")}
    with pytest.raises(UnsupportedModelError, match="enlarges one axis and shrinks another"):
        load(one_node("Resize", {"x": X}, 10, constants, mode="nearest"))


@pytest.mark.parametrize("opset", [11, 13, 18, 19])
def test_resize_with_empty_roi_and_sizes(opset: int) -> None:
    constants = {
        "roi": np.array([], "f"), "scales": np.array([], "f"), "sizes": np.array([2, 3, 7, 9]),
    }  # fmt: skip
    proto = one_node("Resize", {"x": X}, opset, constants, mode="linear")
    check_like_onnxruntime(proto, {"x": X})


def test_group_normalization_scaled_groups_before_opset_21() -> None:
    x = random(2, 6, 4, 5)
    for opset, count in ((18, 3), (21, 6)):
        constants = {"s": random(count), "b": random(count, seed=1)}
        proto = one_node("GroupNormalization", {"x": x}, opset, constants, num_groups=3)
        check_like_onnxruntime(proto, {"x": x}, 1e-4)


@pytest.mark.parametrize("opset", [7, 9, 11, 13])
def test_gemm(opset: int) -> None:
    x = random(4, 3)
    constants = {"w": random(5, 4), "c": random(5, seed=1)}
    proto = one_node("Gemm", {"x": x}, opset, constants, transA=1, transB=1, alpha=0.5, beta=2.0)
    module = check_like_onnxruntime(proto, {"x": x})
    assert operators(module) == ["transpose", "matmul", "add"]
