"""Between reals and integers, and between integers of different scales."""

from __future__ import annotations

import numpy as np
import tflite

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import Emitter

from ..images import space_to_batch
from ..model import Tensor
from ..registry import handles_integers
from ..shape import concatenation, padded
from .scales import Scale, along, centred, requantized, rounded, same_scales, scale_of
from .tables import every, looked_up

Tensors = tuple[Tensor, ...]


@handles_integers("QUANTIZE", options=tflite.QuantizeOptions)
def quantize(b: Emitter, x: Value, *, inputs: Tensors, outputs: Tensors) -> Value:
    """Of reals; or integers of another scale."""
    if x.type.dtype[0] == "f":
        scale, zero = along(b, outputs[0])
        return b.call("quantize", x, b.const(scale), b.const(zero), away=True)
    given, out = scale_of(inputs[0]), scale_of(outputs[0])
    moved = {given.dtype, out.dtype} == {"int8", "uint8"} and given.zero - out.zero == (
        128 if given.dtype == "uint8" else -128
    )
    if moved and given.scale == out.scale:
        return b.call("flip_sign", x)
    return requantized(b, centred(b, x, given), np.float64(given.scale) / out.scale, out)


@handles_integers("DEQUANTIZE", options=tflite.DequantizeOptions)
def dequantize(b: Emitter, x: Value, *, inputs: Tensors) -> Value:
    scale, zero = along(b, inputs[0])
    if isinstance(x, Const):
        # weights of a layer that computes in float
        return b.const((x.data.astype(np.float32) - zero.astype(np.float32)) * scale)
    return b.call("dequantize", x, b.const(scale), b.const(zero))


@handles_integers("CONCATENATION", options=tflite.ConcatenationOptions)
def concatenate(
    b: Emitter,
    first: Value,
    *rest: Value,
    inputs: Tensors,
    outputs: Tensors,
    axis: int,
    fused_activation_function: int = 0,
) -> Value:
    """Only of uint8 does LiteRT bring the parts to the output's scale."""
    parts = [first, *rest]
    if outputs[0].type == "UINT8":
        out = scale_of(outputs[0])
        parts = [_rescaled(b, v, scale_of(t), out) for v, t in zip(parts, inputs)]
    else:
        same_scales((*inputs, outputs[0]), "its operands and its result")
    return concatenation(b, *parts, axis=axis, fused_activation_function=fused_activation_function)


def _rescaled(b: Emitter, x: Value, given: Scale, out: Scale) -> Value:
    if (given.scale, given.zero) == (out.scale, out.zero):
        return x
    factor = given.scale * (np.float32(1) / out.scale)
    reals = every("uint8").astype(np.float32) * factor + np.float32(-given.zero) * factor
    return looked_up(b, x, np.clip(rounded(reals) + out.zero, 0, 255).astype(np.uint8))


# -- what is put beside integers means the real 0 ------------------------------------------------


@handles_integers("PAD", options=tflite.PadOptions)
def pad(b: Emitter, x: Value, paddings: Const, *, inputs: Tensors, outputs: Tensors) -> Value:
    same_scales((inputs[0], outputs[0]), "its operand and its result")
    return padded(b, x, paddings, scale_of(outputs[0]).zero)


@handles_integers("SPACE_TO_BATCH_ND", options=tflite.SpaceToBatchNDOptions)
def space_to_batch_nd(
    b: Emitter, x: Value, block_shape: Const, paddings: Const, *, outputs: Tensors
) -> Value:
    return space_to_batch(b, x, block_shape, paddings, scale_of(outputs[0]).zero)


#: operators that only move integers, or choose between them, or look at their order: what they
#: mean does not matter, and the float handlers do
MOVES = frozenset(
    (
        "ARG_MAX", "ARG_MIN", "BATCH_TO_SPACE_ND", "BROADCAST_TO", "CAST", "DENSIFY",
        "DEPTH_TO_SPACE", "DYNAMIC_UPDATE_SLICE", "EXPAND_DIMS", "FILL", "GATHER", "GATHER_ND",
        "IF", "MAXIMUM", "MINIMUM", "MIRROR_PAD", "PACK", "PADV2", "RANK", "REDUCE_MAX",
        "REDUCE_MIN",
        "RESHAPE", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_SEQUENCE", "REVERSE_V2", "SELECT",
        "SELECT_V2", "SHAPE", "SLICE", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQUEEZE",
        "STRIDED_SLICE", "TILE", "TOPK_V2", "TRANSPOSE", "UNPACK", "WHERE", "ZEROS_LIKE",
    )
)  # fmt: skip
