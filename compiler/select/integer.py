"""The forms of a convolution of 8-bit integers with constant weights, on blocked data.

A zero point of x goes into the bias, so that kernels multiply what they read. The weights'
order is that of the target's instructions (``Target.byte_products``).
"""

from __future__ import annotations

import numpy as np

from armlet.compiler.ir import Call, Const, TensorType
from armlet.compiler.ops.blocked import (
    DepthwiseConv2dBlocked,
    blocks,
    can_block,
    merge_groups,
    pack_bias,
    pack_depthwise_weight,
)
from armlet.compiler.ops.nn import Conv2d
from armlet.compiler.ops.quads import (
    QUAD,
    Conv2dQuads,
    DepthwiseConv2dQuads,
    correction,
    pack_depthwise_quads,
    pack_quads,
)
from armlet.schedules.cpu.byte_products import multiplies
from armlet.targets import Target

from .form import Constant, Form
from .layouts import block_of, blocked_name, channels_of


def order_for(target: Target, lanes: int, dtype: str, weights: str) -> str:
    """How weights lie for the instructions that multiply bytes of a dtype into so many lanes."""
    if weights == "int8" and multiplies(target, "quads", lanes, dtype):
        return "quads"
    return "pairs" if multiplies(target, "pairs", lanes, dtype) else "singles"


def integer_conv2d(call: Call, target: Target) -> list[Form]:
    op, (x, w, *rest) = call.op, call.operands
    assert isinstance(op, Conv2d)
    bias = rest[0] if rest else None
    if not isinstance(w, Const) or not isinstance(bias, (Const, type(None))):
        return []
    if op.group == channels_of(x.type) == w.data.shape[0] > 1:
        if _in_quads(op, x.type, w, target):
            return _depthwise_quads(op, w, bias, target)
        return _depthwise(op, w, bias, target)
    return _direct(op, x.type, w, bias, target)


def _in_quads(op: Conv2d, x: TensorType, w: Const, target: Target) -> bool:
    """Whether instructions that add four products do a depthwise convolution's columns.

    They read four neighbours of the input, of which one row holds that many.
    """
    lanes, width = block_of(op.group, target.lanes), w.data.shape[3]
    near = op.dilations == (1, 1) and width <= QUAD <= x.static_shape[3]
    order = order_for(target, lanes, x.dtype, w.type.dtype)
    return near and order == "quads" and target.byte_products == "sdot"


def _depthwise_quads(op: Conv2d, w: Const, bias: Const | None, target: Target) -> list[Form]:
    channels, (kh, kw), block = op.group, w.data.shape[2:], block_of(op.group, target.lanes)
    type = w.type.with_shape((blocks(channels, block), kh, blocks(kw, QUAD), block, QUAD))
    packed = Constant(f"{w.name}@packed", type, lambda: pack_depthwise_quads(w.data, block))
    record = DepthwiseConv2dQuads(
        op.strides, op.pads, op.dilations, channels=channels, width=kw, pad_value=op.zero_point
    )
    moved = correction(w.data, op.zero_point, None if bias is None else bias.data)
    return [Form(record, (block,), block, (packed, _bias(bias or w, moved, block)))]


def _depthwise(op: Conv2d, w: Const, bias: Const | None, target: Target) -> list[Form]:
    channels, (kh, kw) = op.group, w.data.shape[2:]
    block = block_of(channels, target.lanes)
    type = w.type.with_shape((blocks(channels, block), kh, kw, block))
    packed = Constant(f"{w.name}@packed", type, lambda: pack_depthwise_weight(w.data, block))
    record = DepthwiseConv2dBlocked(
        op.strides, op.pads, op.dilations, channels=channels, zero_point=op.zero_point
    )
    data = None if bias is None else bias.data
    added = [] if data is None else [_bias(bias, data, block)]  # type: ignore[arg-type]
    return [Form(record, (block,), block, (packed, *added))]


def _bias(like: Const, data: np.ndarray, block: int) -> Constant:
    type = TensorType((1, blocks(len(data), block), 1, 1, block), "int32")
    return Constant(blocked_name(like.name, block), type, lambda: pack_bias(data, block))


def _direct(op: Conv2d, x: TensorType, w: Const, bias: Const | None, target: Target) -> list[Form]:
    data, group, out, channels = w.data, op.group, len(w.data), channels_of(x)
    block, o = max(QUAD, block_of(channels, target.lanes)), block_of(out, target.lanes)
    order = order_for(target, o, x.dtype, data.dtype.name)
    if o == 1 or block % QUAD:
        return []
    if not can_block(out, group, o):
        merged = o // int(np.gcd(out // group, o))
        if group % merged:
            return []
        data, group = merge_groups(data, group, merged), group // merged
    if group > 1 and data.shape[1] % block:
        return []
    _, depth, kh, kw = data.shape
    inner = {"quads": (o, QUAD), "pairs": (2, o, 2), "singles": (QUAD, o)}[order]
    shape = (blocks(out, o), blocks(depth, block), kh, kw, block // QUAD, *inner)
    type = TensorType(shape, "int8" if order == "quads" else "int16")
    packed = Constant(f"{w.name}@packed", type, lambda: pack_quads(data, block, o, order))
    record = Conv2dQuads(
        op.strides, op.pads, op.dilations, in_channels=channels, out_channels=out, group=group,
        pad_value=op.zero_point,
    )  # fmt: skip
    moved = correction(w.data, op.zero_point, None if bias is None else bias.data)
    return [Form(record, (block,), o, (packed, _bias(bias or w, moved, o)))]
