"""One quantised operator each, as ``cases`` has those of floats."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tflite

from .cases import SAME, VALID, Case, i32
from .harness import Fed, Scaled

#: dtype -> zero points of operands and results
ZEROS = {"int8": (-7, 5), "uint8": (120, 128), "int16": (0, 0)}
T = tflite


def numbers(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    limits, rng = np.iinfo(dtype), np.random.default_rng([seed, *shape])
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def every(dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.arange(limits.min, limits.max + 1).astype(dtype).reshape(1, 16, -1)


def x(dtype: str, *shape: int, scale: float = 0.02, seed: int = 0) -> Scaled:
    return Scaled(Fed(numbers(dtype, *shape, seed=seed)), scale, ZEROS[dtype][0])


def out(dtype: str, scale: float, zero: int | None = None, **more: Any) -> dict[str, Any]:
    zero = ZEROS[dtype][1] if zero is None else zero
    return {"dtypes": (dtype,), "scales": [([scale], [zero], 0)], **more}


def _bias(dtype: str, count: int, scale: Any) -> Scaled:
    wide = np.random.default_rng(count).integers(-900, 900, count)
    scales = np.broadcast_to(np.float32(scale), (count,)) if dtype != "uint8" else scale
    return Scaled(wide.astype("int64" if dtype == "int16" else "int32"), scales)


def _weights(dtype: str, *shape: int, axis: int = 0) -> tuple[Scaled, np.ndarray | float]:
    """Of uint8 with one scale and a zero point, of others with a scale for each channel."""
    if dtype == "uint8":
        return Scaled(numbers(dtype, *shape), 0.004, 130), 0.02 * 0.004
    scales = np.random.default_rng(shape).uniform(0.001, 0.01, shape[axis]).astype("float32")
    return Scaled(numbers("int8", *shape), scales, 0, axis), np.float32(0.02) * scales


def products(dtype: str) -> Iterator[Case]:
    window = {"dilation_h_factor": 1, "dilation_w_factor": 1}
    image = x(dtype, 2, 7, 6, 8)
    for padding, fused, (h, w) in ((SAME, 0, (2, 1)), (VALID, 1, (1, 1)), (SAME, 3, (1, 1))):
        shared = {**window, "padding": padding, "fused_activation_function": fused}
        shared |= {"stride_h": h, "stride_w": w}
        kernel, scale = _weights(dtype, 5, 3, 2, 8)
        yield "CONV_2D", [image, kernel, _bias(dtype, 5, scale)], {
            "options": T.Conv2DOptions, **out(dtype, 0.06), **shared,
        }  # fmt: skip
        kernel, scale = _weights(dtype, 1, 3, 3, 16, axis=3)
        yield "DEPTHWISE_CONV_2D", [image, kernel, _bias(dtype, 16, scale)], {
            "options": T.DepthwiseConv2DOptions, **out(dtype, 0.04), **shared, "stride_h": 1,
            "stride_w": 1, "depth_multiplier": 2,
        }  # fmt: skip
    yield from upsampling(dtype)
    one = Scaled(
        numbers("uint8" if dtype == "uint8" else "int8", 9, 8),
        0.004,
        ZEROS[dtype][0] if dtype == "uint8" else 0,
    )
    bias = Scaled(
        _bias("uint8", 9, 0.02 * 0.004).operand.astype("int64" if dtype == "int16" else "int32"),
        0.02 * 0.004,
    )
    full = T.FullyConnectedOptions
    yield (
        "FULLY_CONNECTED",
        [image, one, bias],
        {
            "options": full,
            **out(dtype, 0.05),
            "keep_num_dims": True,
            "fused_activation_function": 1,
        },
    )
    yield "FULLY_CONNECTED", [image, one], {"options": full, **out(dtype, 0.03)}
    if dtype != "uint8":
        kernel, scale = _weights(dtype, 9, 8)
        yield (
            "FULLY_CONNECTED",
            [image, kernel, _bias(dtype, 9, scale)],
            {"options": full, **out(dtype, 0.05)},
        )
        right = Scaled(Fed(numbers(dtype, 2, 5, 6)), 0.03, ZEROS[dtype][1])
        mm = {"options": T.BatchMatMulOptions, **out(dtype, 0.1)}
        yield "BATCH_MATMUL", [x(dtype, 2, 4, 5), right], mm
        turned = Scaled(Fed(numbers(dtype, 2, 6, 5)), 0.03, 0)
        yield "BATCH_MATMUL", [x(dtype, 2, 5, 4), turned], {**mm, "adj_x": True, "adj_y": True}


def upsampling(dtype: str) -> Iterator[Case]:
    image, options = x(dtype, 2, 5, 4, 8), T.TransposeConvOptions
    for padding, stride, taps, size in (
        (SAME, 2, 3, (10, 8)),
        (VALID, 2, 2, (10, 8)),
        (SAME, 1, 3, (5, 4)),
        (VALID, 3, 2, (14, 11)),
    ):
        kernel, scale = _weights(dtype, 6, taps, taps, 8)
        operands = [i32(2, *size, 6), kernel, image, _bias(dtype, 6, scale)]
        yield "TRANSPOSE_CONV", operands, {
            "options": options, **out(dtype, 0.05), "padding": padding, "stride_h": stride,
            "stride_w": stride,
        }  # fmt: skip


def binary(dtype: str) -> Iterator[Case]:
    one = x(dtype, 1, 7, 6, 8)
    zero = ZEROS[dtype][1]
    others = [
        Scaled(Fed(numbers(dtype, 1, 7, 6, 8, seed=1)), 0.031, zero),
        Scaled(Fed(numbers(dtype, 8, seed=2)), 0.01, zero),
    ]
    for kind, options, fused in (
        ("ADD", T.AddOptions, 1),
        ("SUB", T.SubOptions, 3),
        ("MUL", T.MulOptions, 2),
    ):
        plain = {} if kind == "MUL" else {"pot_scale_int16": False}
        for other, function in zip(others, (0, fused)):
            yield (
                kind,
                [one, other],
                {
                    "options": options,
                    **out(dtype, 0.041),
                    **plain,
                    "fused_activation_function": function,
                },
            )
    if dtype == "int16":
        powers = [
            Scaled(Fed(numbers(dtype, 3, 40, seed=s)), 2.0**-p) for s, p in ((0, 12), (1, 14))
        ]
        yield (
            "ADD",
            powers,
            {"options": T.AddOptions, **out(dtype, 2.0**-12), "pot_scale_int16": True},
        )
    if dtype == "int8":
        for other in others:
            yield (
                "SQUARED_DIFFERENCE",
                [one, other],
                {"options": T.SquaredDifferenceOptions, **out(dtype, 0.3)},
            )
    if dtype != "int16":
        divisor = numbers(dtype, 1, 7, 6, 8, seed=3)
        divisor[divisor == zero] += 1
        yield (
            "DIV",
            [one, Scaled(Fed(divisor), 0.031, zero)],
            {"options": T.DivOptions, **out(dtype, 0.02)},
        )
    for kind, options in (
        ("EQUAL", T.EqualOptions),
        ("LESS", T.LessOptions),
        ("NOT_EQUAL", T.NotEqualOptions),
        ("GREATER_EQUAL", T.GreaterEqualOptions),
    ):
        yield kind, [one, others[0]], {"options": options, "dtypes": ("bool",)}
    slope = Scaled(numbers("int8" if dtype == "int16" else dtype, 1, 1, 8), 0.01, zero)
    yield "PRELU", [one, slope], out(dtype, 0.02)
    same = Scaled(Fed(numbers(dtype, 1, 7, 6, 8, seed=4)), 0.02, ZEROS[dtype][0])
    for kind in ("MAXIMUM", "MINIMUM"):
        yield (
            kind,
            [one, same],
            {"options": T.MaximumMinimumOptions, **out(dtype, 0.02, ZEROS[dtype][0])},
        )


def unary(dtype: str) -> Iterator[Case]:
    """Of every number there is."""
    whole, narrow = dtype == "int16", dtype == "uint8"
    fine = 2.0**-15 if whole else 1 / 256
    least = {"int8": -128, "uint8": 0, "int16": 0}[dtype]
    for scale in (0.02 / 256, 2.0**-12, 2.0**-11) if whole else (0.05, 2.0**-6, 0.0003):
        one = Scaled(Fed(every(dtype)), scale, ZEROS[dtype][0])
        yield "LOGISTIC", [one], out(dtype, fine, least)
        yield "TANH", [one], out(dtype, fine if whole else 1 / 128, 0 if whole else least + 128)
    scale = 0.02 / 256 if whole else 0.02
    one, given = Scaled(Fed(every(dtype)), scale, ZEROS[dtype][0]), out(dtype, 1.5 * scale)
    yield "RELU", [one], given
    yield "RELU6", [one], given
    yield "GELU", [one], {"options": T.GeluOptions, **given, "approximate": True}
    yield "GELU", [one], {"options": T.GeluOptions, **given}
    for alpha in (0.3, -0.4):
        yield "LEAKY_RELU", [one], {"options": T.LeakyReluOptions, **given, "alpha": alpha}
    if not whole:
        yield "RELU_N1_TO_1", [one], given
        yield "HARD_SWISH", [one], {"options": T.HardSwishOptions, **given}
        coarse = Scaled(Fed(every(dtype)), 0.3, ZEROS[dtype][0])
        yield "HARD_SWISH", [coarse], {"options": T.HardSwishOptions, **out(dtype, 0.3)}
    if not narrow:
        yield "ABS", [one], {"options": T.AbsOptions, **given}
        yield "EXP", [one], {"options": T.ExpOptions, **out(dtype, 10 * scale)}
        yield "LOG", [one], given
        above = Scaled(Fed(np.maximum(every(dtype), ZEROS[dtype][0])), scale, ZEROS[dtype][0])
        yield "SQRT", [above], given


def normalized(dtype: str) -> Iterator[Case]:
    fine, least = (2.0**-15, 0) if dtype == "int16" else (1 / 256, 0 if dtype == "uint8" else -128)
    for scale, beta in ((0.05, 1.0), (2.0**-6, 0.7), (0.0003, 1.0)):
        for shape in ((40, 100), (1, 3, 1)):
            given = x(dtype, *shape, scale=scale / (64 if dtype == "int16" else 1))
            yield (
                "SOFTMAX",
                [given],
                {"options": T.SoftmaxOptions, **out(dtype, fine, least), "beta": beta},
            )


def pools(dtype: str) -> Iterator[Case]:
    one, zero = x(dtype, 1, 7, 6, 8), ZEROS[dtype][0]
    for kind, padding in itertools.product(("AVERAGE_POOL_2D", "MAX_POOL_2D"), (SAME, VALID)):
        yield kind, [one], {
            "options": T.Pool2DOptions, **out(dtype, 0.02, zero), "padding": padding,
            "stride_h": 2, "stride_w": 2, "filter_height": 3, "filter_width": 2,
            "fused_activation_function": 1 if padding == SAME else 3,
        }  # fmt: skip
    reduced = {"options": T.ReducerOptions}
    yield "MEAN", [one, i32(1, 2)], {**reduced, **out(dtype, 0.011), "keep_dims": True}
    yield "MEAN", [one, i32(3)], {**reduced, **out(dtype, 0.03)}
    yield "REDUCE_MAX", [one, i32(1, 2)], {**reduced, **out(dtype, 0.02, zero)}
    sizes = ((14, 12), (5, 9), (1, 1))
    for mode, size in itertools.product(range(3), sizes):
        modes = {"align_corners": mode == 1, "half_pixel_centers": mode == 2}
        yield "RESIZE_BILINEAR", [one, i32(*size)], {
            "options": T.ResizeBilinearOptions, **out(dtype, 0.02, zero), **modes,
        }  # fmt: skip
    yield "RESIZE_NEAREST_NEIGHBOR", [one, i32(14, 9)], {
        "options": T.ResizeNearestNeighborOptions, **out(dtype, 0.02, zero),
    }  # fmt: skip


def moves(dtype: str) -> Iterator[Case]:
    one, zero = x(dtype, 1, 6, 4, 8), ZEROS[dtype][0]
    same = out(dtype, 0.02, zero)
    yield "PAD", [one, i32([0, 0], [1, 2], [0, 1], [0, 0])], {"options": T.PadOptions, **same}
    yield "SPACE_TO_BATCH_ND", [one, i32(2, 2), i32([1, 1], [2, 0])], {
        "options": T.SpaceToBatchNDOptions, **same,
    }  # fmt: skip
    scales = (0.03, 0.025) if dtype == "uint8" else (0.02, 0.02)
    other = Scaled(Fed(numbers(dtype, 1, 6, 4, 3)), scales[0], zero)
    yield (
        "CONCATENATION",
        [one, other],
        {"options": T.ConcatenationOptions, **out(dtype, scales[1], zero), "axis": 3},
    )
    yield "TRANSPOSE", [one, i32(0, 3, 1, 2)], {"options": T.TransposeOptions, **same}
    yield "RESHAPE", [one, i32(1, 24, 8)], same
    ties = np.concatenate([np.random.default_rng(0).normal(0, 2, 500), np.arange(-20, 21) / 64])
    real = Fed(np.append(ties, [1e4, -1e4, 0.49999997 / 32]).astype("float32"))
    for scale in (0.03, 1 / 32):
        yield "QUANTIZE", [real], {"options": T.QuantizeOptions, **out(dtype, scale)}
    for to in ("int8", "int16") if dtype == "int16" else ("int8", "uint8", "int16"):
        yield "QUANTIZE", [one], {"options": T.QuantizeOptions, **out(to, 0.013)}
    if dtype != "int16":
        to, by = ("uint8", 128) if dtype == "int8" else ("int8", -128)
        yield "QUANTIZE", [one], {"options": T.QuantizeOptions, **out(to, 0.02, zero + by)}
    yield "DEQUANTIZE", [one], {"options": T.DequantizeOptions}


CASES: list[tuple[str, Case]] = [
    (dtype, case)
    for dtype in ZEROS
    for family in (products, binary, unary, normalized, pools, moves)
    for case in family(dtype)
]
