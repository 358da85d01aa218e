"""Quantised operators beside ONNX Runtime, and what is wrong with quantised models."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from armlet.compiler.ops.interpreter import evaluate
from armlet.compiler.passes import pipeline
from armlet.errors import UnsupportedModelError
from armlet.frontends.onnx import load

from .harness import info, model, node, one_node, random

U8 = 2


def _literal(proto, feeds):
    """ONNX Runtime without its optimiser, whose kernels saturate on some processors."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, feeds)


def check_within_a_step(proto, feeds, step: float, expected: str = "") -> None:
    """The imported model and the integers made of it; ``expected`` is an operator among these."""
    module = load(proto, {k: v.shape for k, v in feeds.items()})
    integers = pipeline.run(module.main)
    if expected:
        assert expected in [c.op.name for c in integers]
    want = _literal(proto, feeds)
    for function in (module.main, integers):
        for got, right in zip(evaluate(function, feeds), want, strict=True):
            assert (got.shape, got.dtype) == (right.shape, right.dtype)
            apart = np.abs(got.astype("d") - right.astype("d")).max()
            assert apart <= 1.001 * step, apart


def _convolution(dtype: str, channels: int, out: int, group: int, weights: str = "int8", **window):
    rng = np.random.default_rng(0)
    scales = (0.01 * (1 + rng.random(out))).astype("f")
    constants = {
        "xs": np.float32(0.02), "xz": np.array(5, dtype),
        "w": rng.integers(0, 120, (out, channels // group, 3, 3)).astype(weights), "ws": scales,
        "wz": np.full(out, 7 if weights == "uint8" else 0, weights),
        "b": rng.integers(-900, 900, out).astype("int32"), "bs": scales * np.float32(0.02),
        "ys": np.float32(1), "yz": np.array(99, dtype),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", "x xs xz", "xq"), node("DequantizeLinear", "xq xs xz", "xd"),
        node("DequantizeLinear", "w ws wz", "wd", axis=0),
        node("DequantizeLinear", "b bs", "bd", axis=0),
        node("Conv", "xd wd bd", "c", group=group, **window), node("Relu", "c", "r"),
        node("QuantizeLinear", "r ys yz", "y"),
    ]  # fmt: skip
    return model(nodes, [info("x", [2, channels, 7, 6])], constants=constants)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(("channels", "out", "group"), [(3, 8, 1), (6, 6, 6), (8, 4, 2)])
def test_convolution(dtype, channels, out, group):
    proto = _convolution(dtype, channels, out, group, pads=[1, 0, 1, 1], strides=[2, 1])
    check_within_a_step(proto, {"x": random(2, channels, 7, 6)}, 1, "requantize")


def test_convolution_by_unsigned_weights():
    proto = _convolution("uint8", 3, 8, 1, "uint8")
    check_within_a_step(proto, {"x": random(2, 3, 7, 6)}, 1, "requantize")


def test_product_and_bias():
    rng = np.random.default_rng(0)
    constants = {
        "xs": np.float32(0.02), "xz": np.uint8(120), "ws": np.float32(0.01), "wz": np.int8(0),
        "w": rng.integers(-127, 128, (5, 8)).astype("int8"), "ys": np.float32(0.02),
        "b": rng.integers(-99, 99, 5).astype("f") * np.float32(0.0002), "yz": np.uint8(128),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", "x xs xz", "xq"), node("DequantizeLinear", "xq xs xz", "xd"),
        node("DequantizeLinear", "w ws wz", "wd"), node("Gemm", "xd wd b", "g", transB=1),
        node("QuantizeLinear", "g ys yz", "yq"), node("DequantizeLinear", "yq ys yz", "y"),
    ]  # fmt: skip
    proto = model(nodes, [info("x", [3, 8])], constants=constants)
    check_within_a_step(proto, {"x": random(3, 8)}, 0.02, "conv2d")


def test_concatenation_of_parts_with_other_scales():
    constants = {"as": np.float32(0.02), "bs": np.float32(0.03), "z": np.uint8(128)}
    nodes = [
        node("QuantizeLinear", "a as z", "aq"), node("DequantizeLinear", "aq as z", "ad"),
        node("QuantizeLinear", "b bs z", "bq"), node("DequantizeLinear", "bq bs z", "bd"),
        node("Concat", "ad bd", "c", axis=1), node("QuantizeLinear", "c bs z", "y"),
    ]  # fmt: skip
    infos = [info("a", [2, 3]), info("b", [2, 4])]
    check_within_a_step(
        model(nodes, infos, constants=constants), {"a": random(2, 3), "b": random(2, 4)}, 1
    )


# -- ONNX Runtime's own operators -----------------------------------------------------------------

MICROSOFT = [
    ("QLinearAdd", "x xs xz x ws wz ys yz", {}, 1),
    ("QLinearMul", "x xs xz x ws wz ys yz", {}, 1),
    ("QLinearSigmoid", "x xs xz ps pz", {}, 1),
    ("QLinearLeakyRelu", "x xs xz ys yz", {"alpha": 0.2}, 1),
    ("QLinearGlobalAveragePool", "x xs xz ys yz", {}, 1),
    ("QLinearAveragePool", "x xs xz ys yz", {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}, 1),
    ("QLinearConcat", "ys yz x xs xz x ws wz", {"axis": 1}, 1),
    ("QLinearSoftmax", "x xs xz ps pz", {"axis": 1, "opset": 12}, 1),
    ("QLinearSoftmax", "x xs xz ps pz", {"axis": 2, "opset": 13}, 1),
    ("QLinearWhere", "c x xs xz x ws wz ys yz", {}, 1),
    ("DequantizeLinear", "x xs xz", {}, 1e-6),
]


@pytest.mark.parametrize(("operator", "inputs", "attributes", "step"), MICROSOFT)
def test_operators_of_onnx_runtime(operator, inputs, attributes, step):
    constants = {
        "xs": np.float32(0.02), "xz": np.uint8(120), "ws": np.float32(0.03), "wz": np.uint8(99),
        "ys": np.float32(0.05), "yz": np.uint8(130), "ps": np.float32(1 / 256), "pz": np.uint8(0),
        "c": np.array([True, False, True, False]),
    }  # fmt: skip
    used = {k: v for k, v in constants.items() if k in inputs.split()}
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 4)).astype("uint8")
    call = node(operator, inputs, "y", domain="com.microsoft", **attributes)
    proto = model([call], [info("x", x.shape, U8)], constants=used, domains={"com.microsoft": 1})
    check_within_a_step(proto, {"x": x}, step)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"),
    [
        ("QGemm", "x xs xz w ws wz b ys yz", {"transB": 0}),
        ("MatMulIntegerToFloat", "x w xs ws xz wz", {}),
    ],
)
def test_products_of_onnx_runtime(operator, inputs, attributes):
    rng = np.random.default_rng(0)
    constants = {
        "xs": np.float32(0.02), "xz": np.uint8(120), "ws": np.float32(0.01), "wz": np.int8(0),
        "w": rng.integers(-60, 60, (8, 5)).astype("int8"), "ys": np.float32(0.05),
        "yz": np.uint8(130), "b": rng.integers(-99, 99, 5).astype("int32"),
    }  # fmt: skip
    used = {k: v for k, v in constants.items() if k in inputs.split()}
    x = rng.integers(0, 256, (3, 8)).astype("uint8")
    call = node(operator, inputs, "y", domain="com.microsoft", **attributes)
    proto = model([call], [info("x", x.shape, U8)], constants=used, domains={"com.microsoft": 1})
    check_within_a_step(proto, {"x": x}, 1 if operator == "QGemm" else 1e-4)


def test_dynamic_quantisation():
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.integers(-60, 60, (8, 5)).astype("int8"), "ws": np.float32(0.01),
        "wz": np.int8(0), "b": rng.standard_normal(5).astype("f"),
    }  # fmt: skip
    call = node("DynamicQuantizeMatMul", "x w ws wz b", "y", domain="com.microsoft")
    proto = model([call], [info("x", [3, 8])], constants=constants, domains={"com.microsoft": 1})
    check_within_a_step(proto, {"x": random(3, 8)}, 1e-4)


def test_attention():
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.integers(-60, 60, (8, 24)).astype("int8"), "b": random(24), "xs": np.float32(0.02),
        "ws": np.float32(0.01), "xz": np.uint8(120), "wz": np.int8(0),
    }  # fmt: skip
    x = rng.integers(0, 256, (2, 5, 8)).astype("uint8")
    call = node("QAttention", "x w b xs ws  xz wz", "y", domain="com.microsoft", num_heads=2)
    del call.input[:]
    call.input.extend(["x", "w", "b", "xs", "ws", "", "xz", "wz"])
    infos = [info("x", x.shape, U8)]
    proto = model([call], infos, constants=constants, domains={"com.microsoft": 1})
    check_within_a_step(proto, {"x": x}, 1e-4)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zeros", [False, True])
def test_a_product_by_packed_weights(bits, zeros):
    rng = np.random.default_rng(0)
    depth, units, block = 48, 6, 32
    blocks = -(-depth // block)
    constants = {
        "w": rng.integers(0, 256, (units, blocks, block * bits // 8)).astype("uint8"),
        "s": (0.01 * (1 + rng.random(units * blocks))).astype("f"),
    }  # fmt: skip
    if zeros:
        constants["z"] = rng.integers(0, 256, units * -(-blocks * bits // 8)).astype("uint8")
    call = node("MatMulNBits", " ".join(["x", *constants]), "y", domain="com.microsoft",
                K=depth, N=units, bits=bits, block_size=block)  # fmt: skip
    proto = model([call], [info("x", [3, depth])], constants=constants,
                  domains={"com.microsoft": 1})  # fmt: skip
    check_within_a_step(proto, {"x": random(3, depth)}, 1e-4)


# -- what is wrong --------------------------------------------------------------------------------

_GOOD = {"s": np.float32(0.1), "z": np.uint8(3)}
X = "f32[3,4]"
_ROW = np.float32([0.1, 0.2, 0.3])

BAD = [
    ({**_GOOD, "s": np.float32(0)}, {}, "the scale is 0; scales are positive"),
    ({**_GOOD, "s": np.float32(-1)}, {}, "the scale is -1; scales are positive"),
    ({**_GOOD, "s": np.float32(np.nan)}, {}, "the scale is not finite"),
    ({**_GOOD, "s": np.float32(np.inf)}, {}, "the scale is not finite"),
    ({"s": _ROW, "z": np.uint8([1, 2, 3])}, {"axis": 1}, "the scale is f32[3] for axis 1 of " + X),
    ({"s": _ROW, "z": np.uint8([1, 2, 3])}, {"axis": 2}, "axis 2 of a tensor of 2 axes"),
    ({"s": _ROW, "z": np.uint8([1, 2])}, {"axis": 0}, "the zero point is u8[2] for axis 0 of " + X),
    ({**_GOOD, "z": np.float32(1)}, {}, "quantize is not defined for float32: f32[]"),
    ({**_GOOD, "z": np.uint8(1)}, {"output_dtype": 3}, "the zero point is u8[] for int8"),
    (_GOOD, {"output_dtype": 17}, "the type is not supported"),
    (
        {"s": np.full((2, 3), 0.1, "f"), "z": np.ones((2, 3), "uint8")},
        {"axis": 0, "block_size": 2},
        "the scale is f32[2,3] for blocks of 2 along axis 0 of f32[3,4]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("constants", "attributes", "reason"), BAD)
def test_bad_quantisation_is_one_clear_problem(constants, attributes, reason):
    proto = one_node("QuantizeLinear", {"x": random(3, 4)}, 21, constants, **attributes)
    with pytest.raises(UnsupportedModelError) as error:
        load(proto)
    (problem,) = error.value.problems
    assert problem.reason == reason


_CONV = {
    "xs": np.float32(0.1), "xz": np.uint8(3), "w": np.ones((5, 3, 1, 1), "int8"),
    "ws": np.full(5, 0.1, "f"), "wz": np.zeros(5, "int8"), "ys": np.float32(0.1), "yz": np.uint8(3),
}  # fmt: skip
_PRODUCT = {**_CONV, "w": np.ones((3, 5), "int8")}
_X = np.zeros((1, 3, 4, 4), "uint8")
BAD_LAYERS = [
    ("DequantizeLinear", {"s": np.float32(0)}, "the scale is 0; scales are positive"),
    ("DequantizeLinear", {"s": np.float32(np.nan)}, "the scale is not finite"),
    ("DequantizeLinear", {"s": np.ones(7, "f")}, "the scale is f32[7] for axis 1 of u8[1,3,4,4]"),
    ("QLinearConv", {**_CONV, "xs": np.float32(-2)}, "the scale is -2; scales are positive"),
    ("QLinearConv", {**_CONV, "ws": np.full(2, 0.1, "f"), "wz": np.zeros(2, "int8")},
     "the scale is f32[2] for axis 0 of i8[5,3,1,1]"),
    ("QLinearConv", {**_CONV, "wz": np.zeros(3, "int8")},
     "the zero point is i8[3] for axis 0 of i8[5,3,1,1]"),
    ("QLinearConv", {**_CONV, "wz": np.zeros(5, "uint8")},
     "the zero point is u8[5] for i8[5,3,1,1]"),
    ("QLinearConv", {**_CONV, "ys": np.full(5, 0.0, "f")}, "the scale is 0; scales are positive"),
    ("QLinearConv", {**_CONV, "b": np.ones(4, "int32")},
     "the scale is f32[5] for axis 0 of i32[4]"),
    ("QLinearConv", {k: _CONV[k] for k in ("xs", "xz", "w", "ws", "wz")},
     "input 6 (y_scale) is missing"),
    ("QLinearMatMul", {**_PRODUCT, "ws": np.ones(4, "f"), "wz": np.zeros(4, "int8")},
     "the scale is f32[4] for axis 1 of i8[3,5]"),
    ("MatMulInteger", {"w": np.ones((3, 5), "int8"), "xz": np.zeros(2, "uint8")},
     "the zero point is u8[2] for axis 2 of u8[1,3,4,4]"),
    ("ConvInteger", {"w": np.ones((5, 3, 1, 1), "int8"), "xz": np.zeros(2, "uint8")},
     "the zero point is u8[2] for axis 1 of u8[1,3,4,4]"),
    ("DynamicQuantizeLinear", {}, "its operand u8[1,3,4,4] is not float32"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("operator", "constants", "reason"), BAD_LAYERS, ids=range(len(BAD_LAYERS))
)
def test_a_bad_layer_is_one_clear_problem(operator, constants, reason):
    with pytest.raises(UnsupportedModelError) as error:
        load(one_node(operator, {"x": _X}, 21, constants))
    (problem,) = error.value.problems
    assert reason in problem.reason


def test_zero_point_of_another_type_is_a_problem():
    constants = {"s": np.float32(1), "z": np.uint8(3)}
    proto = one_node("DequantizeLinear", {"x": np.zeros(3, "int8")}, 13, constants)
    with pytest.raises(UnsupportedModelError, match=r"the zero point is u8\[\] for i8\[3\]"):
        load(proto)
