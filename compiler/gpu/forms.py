"""The form of every call on a GPU: channels by four as texels, or row-major.

Convolutions are done on texels; so is what follows them, as long as it has a form there. All
else stays row-major.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from armlet.compiler.ir import Call, Const, Function, Value, Var
from armlet.compiler.ops import Fusion, Op
from armlet.compiler.ops.blocked import (
    ConcatBlocked,
    Conv2dBlocked,
    DepthwiseConv2dBlocked,
    blocked_form,
    blocks,
    can_block,
    chunk_of,
    merge_groups,
    pack_bias,
    pack_conv_weight,
    pack_depthwise_weight,
)
from armlet.compiler.ops.nn import Conv2d
from armlet.compiler.ops.shape import Concat
from armlet.compiler.ops.toom_cook import TAPS, error_bound
from armlet.compiler.ops.winograd import Conv2dWinograd, pack_winograd_weight
from armlet.compiler.select.conv2d import LARGEST_ERROR
from armlet.compiler.select.form import Constant, Form, four_axes, is_scalar
from armlet.compiler.select.layouts import ROW_MAJOR, blocked_name, channels_of

#: channels of a texel
BLOCK = 4
#: channels below which transforms cost more than Winograd's convolution saves
LEAST = 16
_FLOATS = ("float32", "float16")


def choose(function: Function) -> dict[Call, Form]:
    """A form for each call."""
    texels: set[Value] = set()
    found: dict[Call, Form] = {}
    for call in function.bindings:
        form = _convolution(call) or _on_texels(call, texels) or _row_major(call)
        found[call] = form
        if form.result:
            texels.update(call.outputs)
    return found


def _row_major(call: Call) -> Form:
    assert isinstance(call.op, Op)
    return Form(call.op, (ROW_MAJOR,) * len(call.operands), ROW_MAJOR)


# -- convolutions ---------------------------------------------------------------------------------


def _convolution(call: Call) -> Form | None:
    op, operands = call.op, call.operands
    if not isinstance(op, Conv2d) or not all(isinstance(v, Const) for v in operands[1:]):
        return None
    if operands[0].type.dtype not in _FLOATS:
        return None
    w, *bias = (v for v in operands[1:] if isinstance(v, Const))
    out, channels = w.data.shape[0], channels_of(operands[0].type)
    constants = [_packed_bias(b, out) for b in bias]
    if op.group == channels == out and out > 1:
        return _depthwise(op, w, constants)
    tile = _tile(call)
    if tile:
        return _winograd(op, w, channels, tile, constants)
    return _direct(op, w, channels, constants)


def _packed_bias(bias: Const, out: int) -> Constant:
    type = bias.type.with_shape((1, blocks(out, BLOCK), 1, 1, BLOCK))
    return Constant(blocked_name(bias.name, BLOCK), type, lambda: pack_bias(bias.data, BLOCK))


def _depthwise(op: Conv2d, w: Const, constants: list[Constant]) -> Form:
    out, _, kh, kw = w.data.shape
    packed = Constant(
        f"{w.name}@packed", w.type.with_shape((blocks(out, BLOCK), kh, kw, BLOCK)),
        lambda: pack_depthwise_weight(w.data, BLOCK),
    )  # fmt: skip
    made = DepthwiseConv2dBlocked(op.strides, op.pads, op.dilations, channels=out)
    return Form(made, (BLOCK,), BLOCK, (packed, *constants))


def _tile(call: Call) -> int:
    """The tile of Winograd's convolution, or 0 where it would not help or its error is large."""
    op, (x, w) = call.op, call.operands[:2]
    assert isinstance(op, Conv2d)
    shape = (*w.type.static_shape[2:], *op.strides, *op.dilations, op.group)
    out, channels = w.type.static_shape[:2]
    if shape != (3, 3, 1, 1, 1, 1, 1) or min(out, channels) < LEAST or op.wide_sums:
        return 0
    errors = {tile: error_bound(tile, channels, x.type.dtype) for tile in (4, 2)}
    return next((t for t, e in errors.items() if e <= LARGEST_ERROR[x.type.dtype]), 0)


def _winograd(op: Conv2d, w: Const, channels: int, tile: int, constants: list[Constant]) -> Form:
    out = w.data.shape[0]
    packed = Constant(
        f"{w.name}@winograd{tile}",
        w.type.with_shape(((tile + TAPS - 1) ** 2, blocks(out, BLOCK), channels, BLOCK)),
        lambda: pack_winograd_weight(w.data, tile, BLOCK),
    )
    made = Conv2dWinograd(tile=tile, pads=op.pads, in_channels=channels, out_channels=out)
    return Form(made, (BLOCK,), BLOCK, (packed, *constants))


def _direct(op: Conv2d, w: Const, channels: int, constants: list[Constant]) -> Form | None:
    out, group, data = w.data.shape[0], op.group, w.data
    if not can_block(out, group, BLOCK):
        # small groups are done together, with zeros between them
        merged = BLOCK // int(np.gcd(out // group, BLOCK))
        if group % merged:
            return None
        data, group = merge_groups(data, group, merged), group // merged
    _, depth, kh, kw = data.shape
    ki = chunk_of(channels, group, BLOCK)
    packed = Constant(
        f"{w.name}@packed",
        w.type.with_shape((blocks(out, BLOCK), depth // ki, kh, kw, ki, BLOCK)),
        lambda: pack_conv_weight(data, group, BLOCK, BLOCK),
    )
    made = Conv2dBlocked(
        op.strides, op.pads, op.dilations,
        in_channels=channels, out_channels=out, group=group, wide_sums=op.wide_sums,
    )  # fmt: skip
    return Form(made, (BLOCK,), BLOCK, (packed, *constants))


# -- what follows them ----------------------------------------------------------------------------


def _on_texels(call: Call, texels: Collection[Value]) -> Form | None:
    """The operator on texels, if an operand is there already and every other can be."""
    if len(call.outputs) != 1 or call.output.type.rank != 4:
        return None
    if call.output.type.dtype not in _FLOATS or not any(v in texels for v in call.operands):
        return None
    if not all(_meets(v, call) for v in call.operands):
        return None
    layouts = tuple(_layout(v, call) for v in call.operands)
    if isinstance(call.op, Concat) and call.op.axis % 4 == 1:
        channels = tuple(channels_of(v.type) for v in call.operands)
        if any(c % BLOCK for c in channels[:-1]):
            return Form(ConcatBlocked(channels, BLOCK), layouts, BLOCK)
    assert isinstance(call.op, Op)
    op = blocked_form(call.op, BLOCK, [v.type for v in call.operands])
    return None if op is None else Form(op, layouts, BLOCK)


def _layout(value: Value, call: Call) -> int:
    """Texels; of one channel that many read, row-major with a last axis of one."""
    if is_scalar(value):
        return ROW_MAJOR
    one = four_axes(value.type)[1] == 1 and channels_of(call.output.type) != 1
    return 1 if one and _is_elementwise(call) else BLOCK


def _is_elementwise(call: Call) -> bool:
    return isinstance(call.op, Op) and call.op.fusion is Fusion.ELEMENTWISE


def _meets(value: Value, call: Call) -> bool:
    """Whether an operand has a form whose lanes are the result's."""
    if is_scalar(value):
        return True
    if value.type.rank > 4 or value.type.dtype not in _FLOATS:
        return False
    if isinstance(value, Var) and value.type.rank != 4:
        return False
    channels = four_axes(value.type)[1]
    return not _is_elementwise(call) or channels in (1, channels_of(call.output.type))
