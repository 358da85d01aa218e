"""One operator each, with operands and options: what is compared with LiteRT."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tflite

from .harness import Fed, random

Case = tuple[str, list[Any], dict[str, Any]]
SAME, VALID = tflite.Padding.SAME, tflite.Padding.VALID
FUSED = (0, 1, 2, 3)
T = tflite.TensorType


def x(*shape: int, seed: int = 0) -> Fed:
    return Fed(random(*shape, seed=seed))


def positive(*shape: int, seed: int = 0) -> Fed:
    return Fed(np.abs(random(*shape, seed=seed)) + np.float32(0.1))


def whole(*shape: int, low: int = -5, high: int = 6, dtype: str = "int32", seed: int = 0) -> Fed:
    return Fed(np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(dtype))


def truth(*shape: int, seed: int = 0) -> Fed:
    return Fed(random(*shape, seed=seed) > 0)


def i32(*numbers: Any) -> np.ndarray:
    return np.array(numbers, np.int32)


def windows() -> Iterator[Case]:
    kinds = itertools.product((SAME, VALID), (1, 2, 3))
    for (padding, stride), fused in zip(kinds, (*FUSED, 0, 1)):
        shared = {"padding": padding, "stride_h": stride, "stride_w": max(1, 3 - stride)}
        shared["fused_activation_function"] = fused
        dilated = {"dilation_h_factor": 2, "dilation_w_factor": 1} if stride == 1 else {}
        size = (2, 9, 8 + stride, 3)
        yield "CONV_2D", [x(*size), random(5, 3, 2, 3), random(5)], {
            "options": tflite.Conv2DOptions, **shared, "dilation_h_factor": 1,
            "dilation_w_factor": 1, **dilated,
        }  # fmt: skip
        strided = {**shared, "stride_w": stride}
        for multiplier in (1, 2):
            out = 3 * multiplier
            yield "DEPTHWISE_CONV_2D", [x(*size), random(1, 3, 3, out), random(out)], {
                "options": tflite.DepthwiseConv2DOptions, **strided, "depth_multiplier": multiplier,
                "dilation_h_factor": 1 + (stride == 1), "dilation_w_factor": 1 + (stride == 1),
            }  # fmt: skip
        for pool in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"):
            values = {**shared, "filter_width": 3, "filter_height": 2}
            yield pool, [x(*size)], {"options": tflite.Pool2DOptions, **values}
        rows = 9 * stride if padding == SAME else 8 * stride + 3
        columns = 7 * stride if padding == SAME else 6 * stride + 2
        yield "TRANSPOSE_CONV", [i32(2, rows, columns, 4), random(4, 3, 2, 3), x(2, 9, 7, 3)], {
            "options": tflite.TransposeConvOptions, "padding": padding, "stride_h": stride,
            "stride_w": stride,
        }  # fmt: skip
    yield "CONV_2D", [x(1, 6, 6, 8), random(6, 3, 3, 4), random(6)], {
        "options": tflite.Conv2DOptions, "padding": SAME, "stride_h": 1, "stride_w": 1,
        "dilation_h_factor": 1, "dilation_w_factor": 1,
    }  # fmt: skip


def images() -> Iterator[Case]:
    for corners, centres in ((False, False), (True, False), (False, True)):
        values = {"align_corners": corners, "half_pixel_centers": centres}
        for held, wanted in (
            ((4, 5), (8, 10)),
            ((6, 9), (9, 6)),
            ((7, 3), (5, 11)),
            ((5, 5), (1, 3)),
        ):
            yield "RESIZE_BILINEAR", [x(2, *held, 3), i32(*wanted)], {
                "options": tflite.ResizeBilinearOptions, **values,
            }  # fmt: skip
            yield "RESIZE_NEAREST_NEIGHBOR", [x(2, *held, 3), i32(*wanted)], {
                "options": tflite.ResizeNearestNeighborOptions, **values,
            }  # fmt: skip
    yield (
        "DEPTH_TO_SPACE",
        [x(2, 3, 4, 12)],
        {"options": tflite.DepthToSpaceOptions, "block_size": 2},
    )
    yield (
        "SPACE_TO_DEPTH",
        [x(2, 6, 4, 3)],
        {"options": tflite.SpaceToDepthOptions, "block_size": 2},
    )
    yield "SPACE_TO_BATCH_ND", [x(2, 5, 6, 3), i32(2, 3), i32([1, 0], [2, 1])], {
        "options": tflite.SpaceToBatchNDOptions}  # fmt: skip
    yield "BATCH_TO_SPACE_ND", [x(12, 3, 2, 3), i32(2, 3), i32([1, 0], [0, 2])], {
        "options": tflite.BatchToSpaceNDOptions}  # fmt: skip
    yield "LOCAL_RESPONSE_NORMALIZATION", [x(2, 3, 4, 9)], {
        "options": tflite.LocalResponseNormalizationOptions, "radius": 2, "bias": 1.5,
        "alpha": 0.3, "beta": 0.75}  # fmt: skip


def elementwise() -> Iterator[Case]:
    for kind in ("CEIL", "FLOOR", "ROUND", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1",
                 "LOGISTIC", "TANH", "ELU", "SIN"):  # fmt: skip
        yield kind, [Fed(random(3, 17) * 4)], {}
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997], np.float32)
    yield "ROUND", [Fed(halves)], {}
    for kind in ("LOG", "SQRT", "RSQRT"):
        yield kind, [positive(4, 5)], {}
    for kind, options in (
        ("ABS", tflite.AbsOptions), ("COS", tflite.CosOptions), ("EXP", tflite.ExpOptions),
        ("NEG", tflite.NegOptions), ("SIGN", tflite.SignOptions), ("SQUARE", tflite.SquareOptions),
        ("HARD_SWISH", tflite.HardSwishOptions), ("ZEROS_LIKE", tflite.ZerosLikeOptions),
        ("LOG_SOFTMAX", tflite.LogSoftmaxOptions),
    ):  # fmt: skip
        yield kind, [Fed(random(2, 3, 7) * 3)], {"options": options}
    yield "LOGICAL_NOT", [truth(7)], {"options": tflite.LogicalNotOptions, "dtypes": ["bool"]}
    yield "LEAKY_RELU", [x(3, 9)], {"options": tflite.LeakyReluOptions, "alpha": 0.3}
    for approximate in (False, True):
        yield "GELU", [x(3, 9)], {"options": tflite.GeluOptions, "approximate": approximate}
    yield "PRELU", [x(2, 3, 4, 5), random(1, 1, 5)], {}
    yield "SOFTMAX", [x(2, 3, 9)], {"options": tflite.SoftmaxOptions, "beta": 1.0}
    yield "SOFTMAX", [x(4, 9)], {"options": tflite.SoftmaxOptions, "beta": 0.5}
    yield "L2_NORMALIZATION", [x(2, 3, 9)], {"options": tflite.L2NormOptions}
    for given, dtype in (
        (x(9), "int32"),
        (whole(9), "float32"),
        (whole(9), "bool"),
        (truth(9), "float32"),
    ):
        yield "CAST", [given], {"options": tflite.CastOptions, "dtypes": [dtype]}
    yield "DEQUANTIZE", [random(4, 5).astype("float16")], {"options": tflite.DequantizeOptions}


def binary() -> Iterator[Case]:
    for fused in FUSED:
        for kind in ("ADD", "SUB", "MUL", "DIV"):
            options = getattr(tflite, f"{kind.capitalize()}Options")
            values = {"options": options, "fused_activation_function": fused}
            other = positive(4, 1, seed=1) if kind == "DIV" else x(4, 1, seed=1)
            yield kind, [x(2, 3, 4, 5), other], values
    for kind in ("ADD", "SUB", "MUL"):
        options = getattr(tflite, f"{kind.capitalize()}Options")
        yield kind, [whole(3, 4), whole(4, seed=1)], {"options": options, "dtypes": ["int32"]}
    divisor = Fed(np.array([-3, -2, 2, 3, 5], np.int32))
    yield (
        "DIV",
        [whole(4, 5, low=-20, high=20), divisor],
        {"options": tflite.DivOptions, "dtypes": ["int32"]},
    )
    for kind, options in (
        ("FLOOR_DIV", tflite.FloorDivOptions),
        ("FLOOR_MOD", tflite.FloorModOptions),
    ):
        yield (
            kind,
            [whole(4, 5, low=-20, high=20), divisor],
            {"options": options, "dtypes": ["int32"]},
        )
        yield (
            kind,
            [Fed(random(4, 5) * 9), Fed(np.array([-3, -2, 2, 0.7, 5], "f"))],
            {"options": options},
        )
    for kind in ("MAXIMUM", "MINIMUM"):
        yield kind, [x(3, 4), x(4, seed=1)], {"options": tflite.MaximumMinimumOptions}
    yield (
        "SQUARED_DIFFERENCE",
        [x(3, 4), x(4, seed=1)],
        {"options": tflite.SquaredDifferenceOptions},
    )
    yield "POW", [positive(3, 4), x(4, seed=1)], {"options": tflite.PowOptions}
    yield "ADD_N", [x(3, 4), x(3, 4, seed=1), x(3, 4, seed=2)], {"options": tflite.AddNOptions}
    angles = np.array([[0, 0, 0, 1, -1, 1, -1, 1, -1], [0, 1, -1, 0, 0, 1, 1, -2, -2]], np.float32)
    yield "ATAN2", [Fed(angles[0]), Fed(angles[1])], {"options": tflite.ATan2Options}
    for kind, name in (("LESS", "Less"), ("LESS_EQUAL", "LessEqual"), ("GREATER", "Greater"),
                       ("GREATER_EQUAL", "GreaterEqual"), ("EQUAL", "Equal"),
                       ("NOT_EQUAL", "NotEqual")):  # fmt: skip
        options = getattr(tflite, f"{name}Options")
        values = {"options": options, "dtypes": ["bool"]}
        yield kind, [whole(3, 4, low=0, high=3), whole(4, low=0, high=3, seed=1)], values
        yield kind, [x(3, 4), x(4, seed=1)], values
    for kind in ("And", "Or"):
        options = getattr(tflite, f"Logical{kind}Options")
        values = {"options": options, "dtypes": ["bool"]}
        yield f"LOGICAL_{kind.upper()}", [truth(3, 4), truth(4, seed=1)], values
    yield "SELECT", [truth(3), x(3, 4), x(3, 4, seed=1)], {"options": tflite.SelectOptions}
    yield "SELECT", [truth(3, 4), x(3, 4), x(3, 4, seed=1)], {"options": tflite.SelectOptions}
    yield "SELECT_V2", [truth(3, 1), x(3, 4), x(4, seed=1)], {"options": tflite.SelectV2Options}


def linear() -> Iterator[Case]:
    full = tflite.FullyConnectedOptions
    for fused in FUSED:
        values = {"options": full, "fused_activation_function": fused}
        yield "FULLY_CONNECTED", [x(4, 6), random(5, 6), random(5)], values
    yield (
        "FULLY_CONNECTED",
        [x(2, 3, 6), random(5, 6), None],
        {"options": full, "keep_num_dims": True},
    )
    yield "FULLY_CONNECTED", [x(2, 3, 6), random(5, 6)], {"options": full}
    yield "FULLY_CONNECTED", [x(1, 2, 2, 6), random(5, 24), random(5)], {"options": full}
    for adj_x, adj_y in itertools.product((False, True), (False, True)):
        left, right = ((2, 5, 3) if adj_x else (2, 3, 5)), ((4, 5) if adj_y else (5, 4))
        values = {"options": tflite.BatchMatMulOptions, "adj_x": adj_x, "adj_y": adj_y}
        yield "BATCH_MATMUL", [x(*left), x(*right, seed=1)], values


def reductions() -> Iterator[Case]:
    for kind in ("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"):
        for axes, keep in ((i32(1, 2), True), (i32(-1), False), (i32(0, 1, 2, 3), False)):
            values = {"options": tflite.ReducerOptions, "keep_dims": keep}
            yield kind, [x(2, 3, 4, 5), axes], values
    for kind in ("REDUCE_ANY", "REDUCE_ALL"):
        values = {"options": tflite.ReducerOptions, "dtypes": ["bool"]}
        yield kind, [truth(3, 4), i32(1)], values
    for kind, options in (("ARG_MAX", tflite.ArgMaxOptions), ("ARG_MIN", tflite.ArgMinOptions)):
        for axis, dtype in ((-1, "int32"), (1, "int64")):
            values = {
                "options": options,
                "dtypes": [dtype],
                "output_type": getattr(T, dtype.upper()),
            }
            yield kind, [whole(2, 5, 4, low=0, high=3), i32(axis)[0]], values
    for exclusive, reverse in itertools.product((False, True), (False, True)):
        values = {"options": tflite.CumsumOptions, "exclusive": exclusive, "reverse": reverse}
        yield "CUMSUM", [x(3, 5), i32(1)[0]], values
    yield (
        "TOPK_V2",
        [x(3, 9), i32(1)[0]],
        {"options": tflite.TopKV2Options, "dtypes": ["float32", "int32"]},
    )
    yield "BUCKETIZE", [x(3, 9)], {
        "options": tflite.BucketizeOptions, "boundaries": [-1.0, 0.0, 0.5],
        "dtypes": ["int32"]}  # fmt: skip


def shapes() -> Iterator[Case]:
    yield (
        "RESHAPE",
        [x(2, 3, 4), i32(4, -1)],
        {"options": tflite.ReshapeOptions, "new_shape": (4, -1)},
    )
    yield "RESHAPE", [x(2, 3, 4), i32(2, 12)], {}
    yield "SQUEEZE", [x(1, 3, 1, 4)], {"options": tflite.SqueezeOptions, "squeeze_dims": (-2,)}
    yield "SQUEEZE", [x(1, 3, 1, 4)], {"options": tflite.SqueezeOptions}
    yield "EXPAND_DIMS", [x(3, 4), i32(-1)[0]], {"options": tflite.ExpandDimsOptions}
    yield "TRANSPOSE", [x(2, 3, 4, 5), i32(3, 0, 2, 1)], {"options": tflite.TransposeOptions}
    for axis in (0, -1):
        values = {"options": tflite.ConcatenationOptions, "axis": axis}
        yield "CONCATENATION", [x(2, 3), x(2, 3, seed=1), random(2, 3, seed=2)], values
        values = {"options": tflite.PackOptions, "axis": axis, "values_count": 2}
        yield "PACK", [x(2, 3), x(2, 3, seed=1)], values
    yield "UNPACK", [x(3, 2)], {"options": tflite.UnpackOptions, "axis": 1, "num": 2,
                                "dtypes": ["float32"] * 2}  # fmt: skip
    yield "SPLIT", [i32(1)[0], x(3, 6)], {"options": tflite.SplitOptions, "num_splits": 3,
                                          "dtypes": ["float32"] * 3}  # fmt: skip
    yield "SPLIT_V", [x(3, 6), i32(1, -1, 3), i32(1)[0]], {
        "options": tflite.SplitVOptions, "num_splits": 3, "dtypes": ["float32"] * 3}  # fmt: skip
    yield "SLICE", [x(3, 4, 5), i32(1, 0, 2), i32(2, -1, 3)], {"options": tflite.SliceOptions}
    for begin, end, stride, masks in (
        ([0, 1, 2], [2, 4, 5], [1, 2, 2], {}),
        ([-1, 9, 0], [-9, 0, 3], [-1, -2, 1], {"begin_mask": 2, "end_mask": 3}),
        ([1, 0], [2, 0], [1, 1], {"shrink_axis_mask": 1, "ellipsis_mask": 2}),
        ([0, 0, 0, 1], [1, 0, 0, 3], [1, 1, 1, 1],
         {"new_axis_mask": 1, "begin_mask": 6, "end_mask": 6}),
        ([0, -2], [0, -1], [1, 1], {"ellipsis_mask": 1, "shrink_axis_mask": 2}),
    ):  # fmt: skip
        values = {"options": tflite.StridedSliceOptions, **masks}
        yield "STRIDED_SLICE", [x(3, 4, 5), i32(*begin), i32(*end), i32(*stride)], values
    paddings = i32([0, 1], [2, 0], [1, 3])
    yield "PAD", [x(2, 3, 4), paddings], {"options": tflite.PadOptions}
    yield "PADV2", [x(2, 3, 4), paddings, np.float32(-1.5)], {"options": tflite.PadV2Options}
    for mode, edges in ((0, paddings), (1, i32([1, 2], [3, 0], [0, 4]))):
        yield "MIRROR_PAD", [x(2, 3, 4), edges], {"options": tflite.MirrorPadOptions, "mode": mode}
    yield "REVERSE_V2", [x(2, 3, 4), i32(1)], {"options": tflite.ReverseV2Options}
    yield "TILE", [x(2, 3), i32(2, 1)], {"options": tflite.TileOptions}
    yield "BROADCAST_TO", [x(3, 1), i32(2, 3, 4)], {"options": tflite.BroadcastToOptions}
    yield "FILL", [i32(2, 3), Fed(np.float32(1.5))], {"options": tflite.FillOptions}
    yield (
        "SHAPE",
        [x(2, 3)],
        {"options": tflite.ShapeOptions, "out_type": T.INT32, "dtypes": ["int32"]},
    )
    yield "RANK", [x(2, 3)], {"options": tflite.RankOptions, "dtypes": ["int32"]}
    yield (
        "RANGE",
        [i32(1)[0], i32(9)[0], i32(3)[0]],
        {"options": tflite.RangeOptions, "dtypes": ["int32"]},
    )
    yield "BROADCAST_ARGS", [i32(2, 1), i32(3)], {"dtypes": ["int32"]}
    yield "WHERE", [np.array([[True, False], [False, True]])], {
        "options": tflite.WhereOptions, "dtypes": ["int64"]}  # fmt: skip


def gathers() -> Iterator[Case]:
    gather = tflite.GatherOptions
    yield "GATHER", [x(4, 5, 3), whole(2, 3, low=0, high=5)], {"options": gather, "axis": 1}
    yield "GATHER", [x(4, 5), i32(3)], {"options": gather, "axis": -1}
    yield (
        "GATHER",
        [x(2, 5, 3), whole(2, 4, low=0, high=5)],
        {"options": gather, "axis": 1, "batch_dims": 1},
    )
    yield "GATHER_ND", [x(4, 5, 3), whole(6, 2, low=0, high=4)], {"options": tflite.GatherNdOptions}
    yield "EMBEDDING_LOOKUP", [whole(4, low=0, high=6), random(6, 3)], {}
    yield "ONE_HOT", [whole(3, 4, low=-1, high=6), i32(5)[0], np.float32(2), np.float32(-1)], {
        "options": tflite.OneHotOptions, "axis": -1}  # fmt: skip
    for seq, batch in ((1, 0), (0, 2)):
        values = {"options": tflite.ReverseSequenceOptions, "seq_dim": seq, "batch_dim": batch}
        yield "REVERSE_SEQUENCE", [x(3, 5, 3), i32(2, 3, 1)], values
    yield "MATRIX_DIAG", [x(2, 3)], {"options": tflite.MatrixDiagOptions}
    yield "MATRIX_SET_DIAG", [x(2, 3, 4), x(2, 3, seed=1)], {"options": tflite.MatrixSetDiagOptions}
    yield "MATRIX_SET_DIAG", [x(4, 3), x(3, seed=1)], {"options": tflite.MatrixSetDiagOptions}
    for start in ((1, 2), (3, -1)):
        yield "DYNAMIC_UPDATE_SLICE", [x(4, 6), x(2, 3, seed=1), i32(*start)], {
            "options": tflite.DynamicUpdateSliceOptions}  # fmt: skip
    yield "SEGMENT_SUM", [x(5, 3), i32(0, 0, 1, 2, 2)], {"options": tflite.SegmentSumOptions}


def _lstm(inputs: int, hidden: int, peepholes: bool, seed: int) -> list[Any]:
    weights = [random(hidden, inputs, seed=seed + i) for i in range(4)]
    recurrent = [random(hidden, hidden, seed=seed + 4 + i) for i in range(4)]
    peeps = [random(hidden, seed=seed + 8 + i) if peepholes else None for i in range(3)]
    bias = [random(hidden, seed=seed + 11 + i) for i in range(4)]
    return [*weights, *recurrent, *peeps, *bias, None, None]


def recurrences() -> Iterator[Case]:
    for time_major, peepholes in ((True, False), (False, True)):
        state = (2, 4)
        values = {"time_major": time_major, "fused_activation_function": 4}
        lead = (5, 2) if time_major else (2, 5)
        rows = [x(*lead, 3), *_lstm(3, 4, peepholes, 1), state, state]
        yield "UNIDIRECTIONAL_SEQUENCE_LSTM", rows, {
            "options": tflite.UnidirectionalSequenceLSTMOptions, **values}  # fmt: skip
        both = [x(*lead, 3), *_lstm(3, 4, peepholes, 1), *_lstm(3, 4, peepholes, 40)]
        for merge in (False, True)[: 1 + time_major]:
            yield "BIDIRECTIONAL_SEQUENCE_LSTM", [*both, *[state] * 4, *[None] * 9], {
                "options": tflite.BidirectionalSequenceLSTMOptions, **values,
                "merge_outputs": merge, "dtypes": ["float32"] * (2 - merge)}  # fmt: skip
        simple = [random(4, 3), random(4, 4), random(4), state]
        yield "UNIDIRECTIONAL_SEQUENCE_RNN", [x(*lead, 3), *simple], {
            "options": tflite.SequenceRNNOptions, **values}  # fmt: skip
        other = [random(4, 3, seed=7), random(4, 4, seed=7), random(4, seed=7), state]
        for merge in (False, True):
            yield "BIDIRECTIONAL_SEQUENCE_RNN", [x(*lead, 3), *simple, *other, None, None, None], {
                "options": tflite.BidirectionalSequenceRNNOptions, **values,
                "merge_outputs": merge, "dtypes": ["float32"] * (2 - merge)}  # fmt: skip
    for function in (1, 4):
        yield "RNN", [x(2, 3), random(4, 3), random(4, 4), random(4), (2, 4)], {
            "options": tflite.RNNOptions, "fused_activation_function": function}  # fmt: skip
    yield "LSTM", [x(2, 3), *_lstm(3, 4, False, 1), (2, 4), (2, 4)], {
        "options": tflite.LSTMOptions, "fused_activation_function": 4}  # fmt: skip


def stablehlo() -> Iterator[Case]:
    for kind in ("ADD", "MULTIPLY", "MAXIMUM", "MINIMUM"):
        yield f"STABLEHLO_{kind}", [x(3, 4), x(3, 4, seed=1)], {}


FAMILIES = (
    windows, images, elementwise, binary, linear, reductions, shapes, gathers, recurrences,
    stablehlo,
)  # fmt: skip
CASES = [case for family in FAMILIES for case in family()]
