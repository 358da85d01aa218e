"""Every quantised operator against LiteRT's reference kernel: the same integers."""

from __future__ import annotations

import numpy as np
import pytest
import tflite

from armlet.compiler.ops.interpreter import evaluate
from armlet.frontends.tflite.integer.convert import MOVES
from armlet.frontends.tflite.registry import HANDLERS, INTEGERS

from .cases import SAME
from .harness import (
    Fed,
    Scaled,
    by_litert,
    check_like_litert,
    check_same_integers,
    load,
    one,
    random,
)
from .integer_cases import CASES, Case, numbers, x


@pytest.mark.parametrize(
    ("dtype", "case"), CASES, ids=[f"{d}-{case[0]}-{i}" for i, (d, case) in enumerate(CASES)]
)
def test_the_integers_are_those_of_litert(dtype: str, case: Case) -> None:
    kind, operands, more = case
    check_same_integers(*one(kind, operands, **more))


def test_every_handler_of_integers_has_a_case() -> None:
    tried = {case[0] for _, case in CASES}
    assert set(INTEGERS) - tried <= {"ELU", "GREATER", "LESS_EQUAL", "SUM"}
    assert MOVES - {"IF"} <= set(HANDLERS)
    assert not MOVES & set(INTEGERS)


def test_a_sum_is_within_a_step_of_litert() -> None:
    """Its reference kernel reads other types as uint8; its own one computes in float."""
    data, feeds = one("SUM", [x("int8", 1, 7, 6, 8), np.array([1, 2], "int32")],
                      dtypes=("int8",), scales=[([0.3], [5], 0)])  # fmt: skip
    module = load(data)
    (got,) = evaluate(module.main, {module.main.params[0].name: feeds[0]})
    (want,) = by_litert(data, feeds)
    assert np.abs(got.astype(int) - want.astype(int)).max() <= 1


# -- weights in integers beside numbers in float ------------------------------------------------


def _weights(*shape: int, axis: int | None = None) -> Scaled:
    """Without -128, on which LiteRT's kernels for x86 overflow."""
    scale = 0.01 if axis is None else np.random.default_rng(0).uniform(0.001, 0.01, shape[axis])
    return Scaled(np.maximum(numbers("int8", *shape), -127), scale, 0, axis or 0)


@pytest.mark.parametrize("moved", [0.0, 2.0, -30.0])
@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("fused", [0, 3])
def test_a_convolution_of_floats_by_bytes(moved: float, axis: int | None, fused: int) -> None:
    operands = [Fed(random(2, 7, 6, 8) + np.float32(moved)), _weights(5, 3, 2, 8, axis=axis),
                random(5)]  # fmt: skip
    data, feeds = one(
        "CONV_2D", operands, options=tflite.Conv2DOptions, padding=SAME, stride_h=1, stride_w=2,
        dilation_h_factor=1, dilation_w_factor=1, fused_activation_function=fused,
    )  # fmt: skip
    check_like_litert(data, feeds, 1e-6, kernels="reference")


@pytest.mark.parametrize("zero", [False, True])
def test_a_depthwise_convolution_of_floats_by_bytes(zero: bool) -> None:
    pixels = random(2, 7, 6, 8) * np.float32(not zero)
    data, feeds = one(
        "DEPTHWISE_CONV_2D", [Fed(pixels), _weights(1, 3, 3, 8, axis=3), random(8)],
        options=tflite.DepthwiseConv2DOptions, padding=SAME, stride_h=1, stride_w=1,
        depth_multiplier=1, dilation_h_factor=1, dilation_w_factor=1,
    )  # fmt: skip
    check_like_litert(data, feeds, 1e-6, kernels="reference")


@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("axis", [None, 0])
def test_a_product_of_floats_by_bytes(asymmetric: bool, axis: int | None) -> None:
    rows = random(6, 16)
    rows[2] = 0
    data, feeds = one(
        "FULLY_CONNECTED", [Fed(rows), _weights(9, 16, axis=axis), random(9)],
        options=tflite.FullyConnectedOptions, asymmetric_quantize_inputs=asymmetric,
    )  # fmt: skip
    check_like_litert(data, feeds, 1e-6, kernels="reference")
