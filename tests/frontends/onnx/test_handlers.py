"""Handlers beside ONNX Runtime, where ONNX's own cases (``test_backend.py``) are thin."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.errors import UnsupportedModelError
from armlet.frontends.onnx import load

from .harness import check_like_onnxruntime, info, model, node, one_node, operators, random

SAME = ["SAME_UPPER", "SAME_LOWER"]


@pytest.mark.parametrize("auto_pad", [*SAME, "VALID", "NOTSET"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 4, 9, 10), (2, 4, 7)])
def test_conv_pads_itself(auto_pad: str, stride: int, shape: tuple[int, ...]) -> None:
    spatial = len(shape) - 2
    constants = {"w": random(6, 2, *[3] * spatial), "b": random(6)}
    proto = one_node(
        "Conv", {"x": random(*shape)}, 17, constants,
        auto_pad=auto_pad, strides=[stride] * spatial, group=2,
    )  # fmt: skip
    check_like_onnxruntime(proto, {"x": random(*shape)})


def test_conv_of_signals_is_one_of_images() -> None:
    x = random(1, 3, 20)
    proto = one_node(
        "Conv", {"x": x}, 17, {"w": random(4, 3, 5)}, strides=[2], pads=[3, 1], dilations=[2]
    )
    module = check_like_onnxruntime(proto, {"x": x})
    assert operators(module) == ["reshape", "conv2d", "reshape"]
    assert module.main.bindings[1].op.attributes()["pads"] == (0, 3, 0, 1)


def test_conv_with_weights_that_are_computed() -> None:
    x, w = random(1, 3, 6, 6), random(4, 3, 3, 3)
    check_like_onnxruntime(one_node("Conv", {"x": x, "w": w}), {"x": x, "w": w})


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 2]},
        {"strides": [2, 2], "output_padding": [1, 1], "pads": [1, 1, 1, 1]},
        {"strides": [2, 3], "auto_pad": "SAME_UPPER"},
        {"strides": [3, 2], "auto_pad": "SAME_LOWER"},
        {"strides": [2, 2], "output_shape": [9, 8]},
        {"strides": [2, 2], "dilations": [2, 1], "group": 2},
        {"strides": [2, 2], "auto_pad": "VALID"},
    ],
)
def test_conv_transpose(attributes: dict) -> None:
    x = random(1, 4, 4, 4)
    constants = {"w": random(4, 3, 3, 3), "b": random(3 * attributes.get("group", 1))}
    check_like_onnxruntime(
        one_node("ConvTranspose", {"x": x}, 17, constants, **attributes), {"x": x}
    )


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]])
@pytest.mark.parametrize("strides", [[2, 2], [3, 1], [1, 4]])
def test_pools(operator: str, ceil_mode: int, pads: list[int], strides: list[int]) -> None:
    x = random(1, 2, 8, 9)
    included = [{}, {"count_include_pad": 1}] if operator == "AveragePool" else [{}]
    for extra in included:
        proto = one_node(
            operator, {"x": x}, 19, kernel_shape=[3, 3], strides=strides, pads=pads,
            ceil_mode=ceil_mode, **extra,
        )  # fmt: skip
        check_like_onnxruntime(proto, {"x": x})


@pytest.mark.parametrize("auto_pad", SAME)
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool", "LpPool"])
def test_pools_pad_themselves(auto_pad: str, operator: str) -> None:
    x = random(1, 2, 9)
    proto = one_node(operator, {"x": x}, 18, kernel_shape=[4], strides=[2], auto_pad=auto_pad)
    check_like_onnxruntime(proto, {"x": x})


@pytest.mark.parametrize(
    "left, right",
    [((4,), (4,)), ((4,), (4, 5)), ((3, 4), (4,)), ((2, 3, 4), (4,)), ((4,), (2, 4, 5)),
     ((2, 1, 3, 4), (5, 4, 2)), ((3, 4), (4, 2))],
)  # fmt: skip
def test_matmul_of_any_ranks(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    feeds = {"a": random(*left), "b": random(*right)}
    check_like_onnxruntime(one_node("MatMul", feeds), feeds)


@pytest.mark.parametrize(
    "equation, shapes",
    [
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("bhid,bhjd->bhij", [(1, 2, 3, 4), (1, 2, 5, 4)]),
        ("ij,jk", [(3, 4), (4, 5)]),
        ("i,j->ij", [(3,), (4,)]),
        ("ij->ji", [(3, 4)]),
        ("ijk->j", [(2, 3, 4)]),
        ("...ij,...jk->...ik", [(2, 3, 4), (2, 4, 5)]),
        ("bnd,d->bn", [(2, 3, 4), (4,)]),
        ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)]),
        ("nchw,cd->ndhw", [(1, 3, 4, 5), (3, 6)]),
        ("ij,ij->", [(3, 4), (3, 4)]),
    ],
)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    feeds = {f"x{i}": random(*shape, seed=i) for i, shape in enumerate(shapes)}
    check_like_onnxruntime(one_node("Einsum", feeds, equation=equation), feeds)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("scales", [(2.0, 3.0), (1.0, 2.0), (0.6, 1.7)])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
def test_resize(mode: str, scales: tuple[float, ...], coordinates: str) -> None:
    x = random(1, 2, 5, 6)
    constants = {"s": np.array([1, 1, *scales], "f")}
    proto = one_node(
        "Resize", {"x": x}, 13, constants, inputs="x _ s", mode=mode,
        coordinate_transformation_mode=coordinates,
    )  # fmt: skip
    check_like_onnxruntime(proto, {"x": x}, 1e-4)


@pytest.mark.parametrize(
    "shape, sizes",
    [((1, 2, 9), (1, 2, 18)), ((5, 6), (10, 3)), ((1, 4, 5, 3), (1, 8, 10, 3)), ((7,), (14,)),
     ((2, 2, 3, 4, 5), (2, 2, 3, 8, 5))],
)  # fmt: skip
def test_resize_of_other_axes(shape: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    x = random(*shape)
    proto = one_node("Resize", {"x": x}, 13, {"s": np.array(sizes)}, inputs="x _ _ s")
    check_like_onnxruntime(proto, {"x": x})


def test_resize_to_an_aspect_ratio() -> None:
    x = random(1, 2, 6, 4)
    for policy in ("not_larger", "not_smaller"):
        proto = one_node(
            "Resize", {"x": x}, 18, {"s": np.array([9, 8])}, inputs="x _ _ s", axes=[2, 3],
            keep_aspect_ratio_policy=policy,
        )  # fmt: skip
        check_like_onnxruntime(proto, {"x": x})


def test_gather_of_one_constant_index_is_a_slice() -> None:
    x = random(4, 5, 6)
    for index in (2, -1, [3]):
        module = check_like_onnxruntime(
            one_node("Gather", {"x": x}, 17, {"i": np.array(index)}, axis=1), {"x": x}
        )
        assert set(operators(module)) <= {"slice", "reshape"}


def test_gather_outside_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="an index lies outside axis 1"):
        load(one_node("Gather", {"x": random(2, 3)}, 17, {"i": np.array([3, 0])}, axis=1))


@pytest.mark.parametrize("operator", ["Sum", "Mean", "Max", "Min"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_variadic_operators(operator: str, count: int) -> None:
    feeds = {f"x{i}": random(2, 3, seed=i) for i in range(count)}
    check_like_onnxruntime(one_node(operator, feeds), feeds)


def test_pow_by_an_integer_keeps_the_dtype_of_the_base() -> None:
    x = np.abs(random(3, 4))
    for exponent in (np.int64(2), np.float32(0.5), np.array([1, 2, 3, 4], "int32")):
        check_like_onnxruntime(one_node("Pow", {"x": x}, 17, {"e": exponent}), {"x": x}, 1e-5)


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_normalization(axis: int, bias: bool) -> None:
    x = random(2, 3, 4, 5)
    constants = {"s": random(*x.shape[axis:])}
    if bias:
        constants["b"] = random(*x.shape[axis:], seed=1)
    proto = one_node("LayerNormalization", {"x": x}, 17, constants, axis=axis)
    assert operators(check_like_onnxruntime(proto, {"x": x})) == ["layer_norm"]


def test_outputs_beyond_a_handler_come_from_the_definition_of_onnx() -> None:
    x = random(2, 5)
    proto = one_node(
        "LayerNormalization", {"x": x}, 17, {"s": random(5)}, outputs="y mean deviation"
    )
    check_like_onnxruntime(proto, {"x": x})


def test_operators_without_a_handler_come_from_the_definition_of_onnx() -> None:
    q, k = random(1, 2, 3, 8), random(1, 2, 5, 8, seed=1)
    proto = one_node("Attention", {"q": q, "k": k, "v": k}, 23)
    module = check_like_onnxruntime(proto, {"q": q, "k": k, "v": k})
    assert "softmax" in operators(module)


@pytest.mark.parametrize("axes", [[0, 1], [1]])
def test_reduction_over_no_axes(axes: list[int]) -> None:
    x = random(3, 4)
    for noop in (0, 1):
        for constants in ({"axes": np.array(axes)}, {}):
            proto = one_node("ReduceSum", {"x": x}, 13, constants, noop_with_empty_axes=noop)
            check_like_onnxruntime(proto, {"x": x})


def test_a_chain_keeps_the_names_of_the_model() -> None:
    x = random(1, 2, 4, 4)
    proto = model(
        [
            node("Conv", "x w", "features", name="stem/conv"),
            node("Identity", "features", "same"),
            node("Relu", "same", "y"),
        ],
        [info("x", x.shape)],
        constants={"w": random(3, 2, 1, 1)},
    )
    module = check_like_onnxruntime(proto, {"x": x})
    assert [(c.output.name, c.source) for c in module.main] == [
        ("features", "stem/conv"),
        ("y", "y"),
    ]
    assert [c.name for c in module.main.constants] == ["w"]
