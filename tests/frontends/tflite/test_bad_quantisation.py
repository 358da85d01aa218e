"""What is wrong with quantised TFLite models: one clear problem each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tflite

from armlet.errors import ArmletError, ModelFileError, UnsupportedModelError

from .builder import Graph, file_of
from .cases import SAME
from .harness import Fed, Scaled, load, one, random
from .integer_cases import numbers, out, x

T = tflite
CONV = {
    "options": T.Conv2DOptions, **out("int8", 0.05), "padding": SAME, "stride_h": 1, "stride_w": 1,
    "dilation_h_factor": 1, "dilation_w_factor": 1,
}  # fmt: skip
POOL = {
    "options": T.Pool2DOptions, "padding": SAME, "stride_h": 1, "stride_w": 1, "filter_height": 2,
    "filter_width": 2,
}  # fmt: skip
FULL = {"options": T.FullyConnectedOptions, **out("int8", 0.05)}
X = x("int8", 1, 4, 4, 3)
W = numbers("int8", 5, 1, 1, 3)
ROWS = x("int8", 2, 8)
MATRIX = numbers("int8", 5, 8)


def scaled(scale: Any, zero: Any = 0, dtype: str = "int8") -> Scaled:
    return Scaled(Fed(numbers(dtype, 2, 8)), scale, zero)


def relu(operand: Any, dtype: str = "int8", **more: Any) -> tuple[str, list[Any], dict[str, Any]]:
    return "RELU", [operand], {**out(dtype, 0.03), **more}


FLOATS = Fed(random(2, 8))
REAL = {"options": T.FullyConnectedOptions}
JOIN = {"options": T.ConcatenationOptions, **out("int8", 0.5), "axis": 3}
#: operator, operands, what else; a part of the reason
BAD: list[tuple[tuple[str, list[Any], dict[str, Any]], str]] = [
    (relu(scaled(0.0)), "has the scale 0; scales are positive"),
    (relu(scaled(-0.5)), "has the scale -0.5; scales are positive"),
    (relu(scaled(np.nan)), "has a scale that is not finite"),
    (relu(scaled(np.inf)), "has a scale that is not finite"),
    (relu(scaled(0.1, 128)), "is INT8 with the zero point 128"),
    (relu(scaled(0.1, -1, "uint8"), "uint8"), "is UINT8 with the zero point -1"),
    (relu(scaled(0.1, 7, "int16"), "int16"), "is INT16 with the zero point 7; it must be 0"),
    (relu(scaled([0.1, 0.2])), "has 2 scales; this operator takes one for a tensor"),
    (relu(Fed(numbers("int8", 2, 8))), "is INT8 without a scale"),
    (relu(scaled(0.1), scales=[None]), "is INT8 without a scale"),
    (relu(scaled(0.1), scales=[([0.0], [0], 0)]), "has the scale 0; scales are positive"),
    (relu(scaled(1e9), scales=[([1e-9], [0], 0)]), "its scales are too far apart"),
    (("SIN", [scaled(0.1)], out("int8", 0.1)), "it is not supported for quantised tensors"),
    (("CONV_2D", [X, Scaled(W, [0.1, 0.2])], CONV), "2 scales along axis 0 for 5 channels"),
    (("CONV_2D", [X, Scaled(W, [0.1] * 5, 0, 3)], CONV), "5 scales along axis 3 for 5 channels"),
    (("CONV_2D", [X, Scaled(W, [0.1] * 5, 3)], CONV), "zero points other than 0 beside a scale"),
    (("CONV_2D", [X, Scaled(W, [0.1, np.nan] * 2 + [0.1])], CONV), "a scale that is not finite"),
    (("CONV_2D", [X, W], CONV), "is INT8 without a scale"),
    (("CONV_2D", [X, Scaled(numbers("int8", 5, 1, 1, 2), 0.1)], CONV), "3 channels for weights"),
    (
        ("CONV_2D", [X, Scaled(W, 0.1), Scaled(random(5), 0.1)], CONV),
        "its bias f32[5] is not int32 beside inputs in int8",
    ),
    (
        ("CONV_2D", [X, Scaled(W, 0.1), Scaled(np.arange(5), 0.1)], CONV),
        "its bias i64[5] is not int32 beside inputs in int8",
    ),
    (
        ("CONV_2D", [X, Scaled(W, 0.1)], {**CONV, "fused_activation_function": 4}),
        "4 is not supported",
    ),
    (
        ("DEPTHWISE_CONV_2D", [X, Scaled(numbers("int8", 1, 3, 3, 3), [0.1] * 3)],
         {**CONV, "options": T.DepthwiseConv2DOptions}),
        "3 scales along axis 0 for 3 channels along axis 3",
    ),
    (("FULLY_CONNECTED", [ROWS, Scaled(numbers("int8", 5, 7), 0.1)], FULL), "no rows of 7"),
    (("FULLY_CONNECTED", [ROWS, Scaled(Fed(MATRIX), 0.1, 3)], FULL), "weights that are computed"),
    (
        ("FULLY_CONNECTED", [Fed(random(2, 8).astype("float16")), Scaled(MATRIX, 0.1)],
         {"options": T.FullyConnectedOptions}),
        "its operand f16[2,8,1,1] is not float32 beside weights in integers",
    ),
    (
        ("FULLY_CONNECTED", [FLOATS, Scaled(Fed(MATRIX), 0.1)], REAL),
        "weights beside numbers in float must be constants in int8",
    ),
    (("AVERAGE_POOL_2D", [X], {**POOL, **out("int8", 0.5)}), "different scales or zero points"),
    (("MAX_POOL_2D", [X], {**POOL, **out("int8", 0.02, 6)}), "different scales or zero points"),
    (
        ("CONCATENATION", [X, X], JOIN),
        "its operands and its result have different scales or zero points",
    ),
    (
        ("PAD", [X, np.zeros((4, 2), "int32")], {"options": T.PadOptions, **out("int8", 0.5)}),
        "its operand and its result have different scales or zero points",
    ),
    (
        ("RESIZE_BILINEAR", [X, np.array([8, 8], "int32")],
         {"options": T.ResizeBilinearOptions, **out("int8", 0.02, -7), "align_corners": True,
          "half_pixel_centers": True}),
        "corners cannot be aligned with pixels' centres",
    ),
    (("LOGISTIC", [scaled(0.001, 0, "int16")], out("int16", 0.1)), "of int16 it must be 2^-15"),
    (
        ("HARD_SWISH", [scaled(0.001, 0, "int16")],
         {"options": T.HardSwishOptions, **out("int16", 0.1)}),
        "it is not defined for int16",
    ),
    (
        ("DIV", [scaled(0.001, 0, "int16")] * 2, {"options": T.DivOptions, **out("int16", 0.1)}),
        "quotients of int16 are not supported",
    ),
    (
        ("DEQUANTIZE", [scaled([0.1, 0.2, 0.3])], {"options": T.DequantizeOptions}),
        "has 3 scales for 2 elements of axis 0",
    ),
    (
        ("QUANTIZE", [FLOATS], {"options": T.QuantizeOptions, **out("int8", np.nan)}),
        "has a scale that is not finite",
    ),
    (("FAKE_QUANT", [FLOATS], {"options": T.FakeQuantOptions}), "quantised"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "reason"), BAD, ids=range(len(BAD)))
def test_bad_quantisation_is_one_clear_problem(case: Any, reason: str) -> None:
    kind, operands, more = case
    data, _ = one(kind, operands, **more)
    with pytest.raises(UnsupportedModelError) as error:
        load(data)
    (problem,) = error.value.problems
    assert reason in problem.reason


def _graph(**weights: Any) -> bytes:
    graph = Graph()
    x = graph.input((2, 9), "int8", quantization=([0.1], [0], 0))
    w = graph.tensor((5, 9), **weights)
    graph.outputs = graph.op("FULLY_CONNECTED", [x, w], options=T.FullyConnectedOptions,
                             dtypes=("int8",), scales=[([0.1], [0], 0)])  # fmt: skip
    return file_of(graph)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({"dtype": "INT4", "data": np.zeros(22, "uint8"), "quantization": ([0.1], [0], 0)},
         "needs 23 bytes, but has 22"),
        ({"dtype": "int8", "data": np.zeros(44, "int8"), "quantization": ([0.1], [0], 0)},
         "needs 45 bytes, but has 44"),
        ({"dtype": "int8", "data": np.zeros(45, "int8"), "quantization": ([0.1] * 5, [0] * 3, 0)},
         "5 scales, but 3 zero points"),
    ],
)  # fmt: skip
def test_missing_data_is_an_error_of_the_file(weights: Any, reason: str) -> None:
    with pytest.raises(ModelFileError, match=reason) as error:
        load(_graph(**weights))
    assert isinstance(error.value, ArmletError)
