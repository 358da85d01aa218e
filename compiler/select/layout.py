"""Choose channel-blocked layouts for the convolution family, and pack weights for it.

    %y = conv2d(%x, $w) {pads=[1,1,1,1]}
    ->
    %x@c16 = pack_channels(%x) {block=16}
    %y@c16 = conv2d_blocked(%x@c16, $w@packed) {pads=[1,1,1,1], in_channels=64, …}
    %y     = unpack_channels(%y@c16) {channels=64}

Walking once from first to last, each value may have a plain form, a blocked form, or both;
an operator that works on either takes the blocked one, and the form that nobody reads is
never made. So transforms remain only where blocked and plain operators meet, and those
between neighbours cancel by not being there. Constants are transformed here, at compile time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from armlet.compiler.ir import Builder, Call, Const, Function, TensorType, Value, Var, remove_dead
from armlet.compiler.ops import Fusion, Op
from armlet.compiler.ops.blocked import (
    ConcatBlocked,
    Conv2dBlocked,
    DepthwiseConv2dBlocked,
    PackChannels,
    UnpackChannels,
    blocked_form,
    blocks,
    can_block,
    merge_groups,
    pack_array,
    pack_bias,
    pack_conv_weight,
    pack_depthwise_weight,
)  # fmt: skip
from armlet.compiler.ops.matmul import MatMulPacked, pack_matrix
from armlet.compiler.ops.nn import Conv2d, ConvTranspose2d
from armlet.compiler.ops.shape import Reshape
from armlet.compiler.ops.subpixel import subpixel
from armlet.targets import Target


def block_of(channels: int, lanes: int) -> int:
    """The block for a tensor of so many channels: a vector, or less where few channels are.

    Up to four channels are a block of their own, so that a picture is not padded.
    """
    if channels >= lanes:
        return lanes
    return channels if channels <= 4 else 1 << (channels - 1).bit_length()


def blocked_name(name: str, block: int) -> str:
    """What the blocked form of a value is called."""
    return f"{name}@c{block}"


def plain_name(name: str) -> str:
    """The value whose blocked form has this name; any other name is its own."""
    return re.sub(r"@c\d+$", "", name)


class _Selection:
    """The new function while it is made."""

    def __init__(self, function: Function, target: Target) -> None:
        self.old, self.lanes = function, target.lanes
        kept: list[Value] = [*function.params, *function.constants]
        self.b = Builder(v.name for v in kept)
        self.plain: dict[Value, Value] = {p: p for p in function.params}
        self.blocked: dict[Value, Value] = {}

    # -- forms of a value ---------------------------------------------------------------------

    def block(self, type: TensorType) -> int:
        return block_of(int(type.shape[1]), self.lanes)  # type: ignore[arg-type]

    def as_plain(self, value: Value) -> Value:
        """The row-major form, unpacking the blocked one at first need."""
        if isinstance(value, Const):
            return value
        if value not in self.plain:
            blocked, type = self.blocked[value], value.type
            op: Op = UnpackChannels(int(type.shape[1]))  # type: ignore[arg-type]
            if self._same_bytes(type):
                op = Reshape(type.shape)
            self.plain[value] = self.b.call(op, blocked, name=value.name)
        return self.plain[value]

    def as_blocked(self, value: Value) -> Value:
        """The blocked form, packing the plain one at first need."""
        if value not in self.blocked:
            type, block = value.type, self.block(value.type)
            if isinstance(value, Const):
                packed = pack_array(value.data, block)
                self.blocked[value] = self.b.const(packed, blocked_name(value.name, block))
                return self.blocked[value]
            op: Op = PackChannels(block)
            if self._same_bytes(type):
                n, channels, *space = type.shape
                op = Reshape((n, blocks(int(channels), block), *space, block))  # type: ignore[arg-type]
            name = blocked_name(value.name, block)
            self.blocked[value] = self.b.call(op, self.plain[value], name=name)
        return self.blocked[value]

    def _same_bytes(self, type: TensorType) -> bool:
        """Whether the two forms differ in shape only."""
        _, channels, height, width = type.static_shape
        block = self.block(type)
        return channels % block == 0 and (block == 1 or height * width == 1)

    # -- operators ----------------------------------------------------------------------------

    def visit(self, call: Call) -> None:
        self.b.source = call.source
        chooser = _CHOOSERS.get(call.op.name)
        if chooser is not None and chooser(self, call):
            return
        if self._follows(call):
            types = [v.type for v in call.operands]
            operator = blocked_form(call.op, self.block(call.output.type), types)  # type: ignore[arg-type]
            if operator is not None:
                self._bind_blocked(call, operator, [self._operand(v, call) for v in call.operands])
                return
        operands = [self.as_plain(v) for v in call.operands]
        outputs = self.b.multi(call.op, *operands, names=[v.name for v in call.outputs])
        self.plain.update(zip(call.outputs, outputs))

    def _bind_blocked(self, call: Call, op: Any, operands: Sequence[Value]) -> bool:
        name = blocked_name(call.output.name, self.block(call.output.type))
        made = self.b.call(op, *operands, name=name)
        self.blocked[call.output] = made
        return True

    def _worth_blocking(self, call: Call) -> bool:
        """Whether some operand exists in blocked form only."""
        if len(call.outputs) != 1 or call.output.type.rank != 4:
            return False
        return any(v in self.blocked and v not in self.plain for v in call.operands)

    def _follows(self, call: Call) -> bool:
        """Whether to run on blocked data: some operand is blocked, and the others fit cheaply."""
        if not self._worth_blocking(call):
            return False
        return all(self._fits(v, call) for v in call.operands)

    def _fits(self, value: Value, call: Call) -> bool:
        """Whether an operand has a blocked form that meets the output's lanes."""
        if value.type.elements == 1 and isinstance(value, Const):
            return True
        shape = (1,) * (4 - value.type.rank) + value.type.shape
        if len(shape) != 4 or (value.type.rank != 4 and not isinstance(value, Const)):
            return False
        same_block = self.block(TensorType(shape)) == self.block(call.output.type)
        if call.op.fusion is Fusion.ELEMENTWISE:  # type: ignore[attr-defined]
            return shape[1] in (1, call.output.type.shape[1])
        return same_block

    def _operand(self, value: Value, call: Call) -> Value:
        if value.type.elements == 1 and isinstance(value, Const):
            return value
        if isinstance(value, Const) and value.type.rank < 4:
            shape = (1,) * (4 - value.type.rank) + value.type.static_shape
            value = self.b.const(value.data.reshape(shape), value.name)
        return self.as_blocked(value)

    def concat(self, call: Call) -> bool:
        """Channels of blocked tensors joined lane by lane, where whole blocks do not fit."""
        axis = call.op.axis % max(call.output.type.rank, 1)  # type: ignore[attr-defined]
        if axis != 1 or not self._worth_blocking(call):
            return False
        channels = tuple(int(v.type.shape[1]) for v in call.operands)  # type: ignore[arg-type]
        block = self.block(call.output.type)
        if all(
            c % block == 0 and self.block(v.type) == block for c, v in zip(channels, call.operands)
        ):
            return False
        operands = [self.as_blocked(v) for v in call.operands]
        return self._bind_blocked(call, ConcatBlocked(channels=channels, block=block), operands)

    # -- the convolution family ---------------------------------------------------------------

    def conv2d(self, call: Call) -> bool:
        op, (x, w, *rest) = call.op, call.operands
        assert isinstance(op, Conv2d)
        bias = rest[0] if rest else None
        if not isinstance(w, Const) or not isinstance(bias, (Const, type(None))):
            return False
        channels, out = int(x.type.shape[1]), w.data.shape[0]  # type: ignore[arg-type]
        o = block_of(out, self.lanes)
        window = (op.strides, op.pads, op.dilations)
        if op.group == channels == out and op.group > 1:
            packed = pack_depthwise_weight(w.data, o)
            new: Op = DepthwiseConv2dBlocked(*window, channels=channels)
        else:
            group, data = op.group, w.data
            if not can_block(out, group, o):
                merged = o // np.gcd(out // group, o)
                if group % merged:
                    return False
                data, group = merge_groups(data, group, int(merged)), group // int(merged)
            packed = pack_conv_weight(data, group, block_of(channels, self.lanes), o)
            new = Conv2dBlocked(*window, in_channels=channels, out_channels=out, group=group)
        operands = [self.as_blocked(x), self.b.const(packed, f"{w.name}@packed")]
        if bias is not None:
            operands.append(self.b.const(pack_bias(bias.data, o), blocked_name(bias.name, o)))
        return self._bind_blocked(call, new, operands)

    def conv_transpose2d(self, call: Call) -> bool:
        """A convolution and a shuffle of its channels (``ops/subpixel.py``).

        The channels of each phase are padded to whole blocks, so that the shuffle moves vectors.
        """
        op, (x, w, *rest) = call.op, call.operands
        assert isinstance(op, ConvTranspose2d)
        bias = rest[0] if rest else None
        if not isinstance(w, Const) or not isinstance(bias, (Const, type(None))):
            return False
        out = int(call.output.type.shape[1])  # type: ignore[arg-type]
        extra = -out % self.lanes if out > self.lanes else 0
        weights = np.pad(w.data, ((0, 0), (0, extra), (0, 0), (0, 0)))
        biases = np.pad(bias.data, (0, extra)) if bias else None
        form = subpixel(op, x.type.shape, weights, biases)
        if form is None:
            return False
        operands = [x, self.b.const(form.weight, f"{w.name}@phases")]
        if form.bias is not None:
            operands.append(self.b.const(form.bias, "bias@phases"))
        made = self._step(form.conv, operands, call, "phases")
        made = self._step(form.shuffle, [made], call, "shuffled")
        if form.crop is not None:
            made = self._step(form.crop, [made], call, "cropped")
        if made in self.blocked:
            # blocks of the padded channels are those of the channels
            self.blocked[call.output] = self.blocked[made]
        else:
            self.plain[call.output] = self.plain[made]
        return True

    def _step(self, op: Op, operands: Sequence[Value], call: Call, name: str) -> Var:
        """Visits a call that the model does not spell out; returns its output."""
        (type,) = op.infer([v.type for v in operands])
        var = Var(f"{call.output.name}@{name}", type)
        self.visit(Call(op, tuple(operands), (var,), call.source))
        return var

    def matmul(self, call: Call) -> bool:
        x, w = call.operands
        if not isinstance(w, Const) or w.data.ndim != 2 or x.type.rank < 2:
            return False
        columns = w.data.shape[1]
        packed = self.b.const(pack_matrix(w.data, self.lanes), f"{w.name}@packed")
        name = call.output.name
        made = self.b.call(MatMulPacked(columns), self.as_plain(x), packed, name=name)
        self.plain[call.output] = made
        return True


_CHOOSERS: dict[str, Callable[[_Selection, Call], bool]] = {
    "concat": _Selection.concat,
    "conv2d": _Selection.conv2d,
    "conv_transpose2d": _Selection.conv_transpose2d,
    "matmul": _Selection.matmul,
}


def select(function: Function, target: Target) -> Function:
    """The function with layouts chosen for ``target``; parameters and results stay row-major."""
    selection = _Selection(function, target)
    for call in function.bindings:
        selection.visit(call)
    results = [selection.as_plain(v) for v in function.results]
    return remove_dead(selection.b.function(function.params, results, function.name))
