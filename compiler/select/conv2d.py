"""The forms of a convolution with constant weights: algorithms on channel-blocked data.

Each function of ``_ALGORITHMS`` gives the forms of one algorithm, or none where it does not
apply; ``cost.py`` prices them. Weights are packed or transformed here, at compile time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from armlet.compiler.ir import Call, Const, TensorType
from armlet.compiler.ops.blocked import (
    Conv2dBlocked,
    DepthwiseConv2dBlocked,
    blocks,
    can_block,
    chunk_of,
    merge_groups,
    pack_bias,
    pack_conv_weight,
    pack_depthwise_weight,
)
from armlet.compiler.ops.nn import Conv2d
from armlet.compiler.ops.toom_cook import POINTS, TAPS, error_bound
from armlet.compiler.ops.winograd import Conv2dWinograd, pack_winograd_weight
from armlet.compiler.passes.store_bytes import integers_of
from armlet.targets import Target

from .form import Constant, Form
from .layouts import block_of, blocked_name, channels_of

#: of a layer relative to its largest output; Winograd's larger tiles exceed it sooner
LARGEST_ERROR = {"float32": 5e-5, "float16": 0.15}


@dataclass(frozen=True)
class Problem:
    """A convolution whose weights and bias are constants."""

    op: Conv2d
    x: TensorType
    weight: Const
    bias: Const | None
    lanes: int

    @property
    def channels(self) -> int:
        return channels_of(self.x)

    @property
    def out(self) -> int:
        return int(self.weight.data.shape[0])

    @property
    def out_block(self) -> int:
        return block_of(self.out, self.lanes)

    @property
    def in_blocks(self) -> list[int]:
        """Blocks that the operand may have: its own, and for few channels each by itself,
        which costs no transform of row-major data.

        Not at stride 1, where neighbouring taps read the same pixels: LLVM would keep them
        all in registers and spill the accumulators.
        """
        own = block_of(self.channels, self.lanes)
        return [own, 1] if 1 < own < self.lanes and self.op.strides[1] > 1 else [own]

    @property
    def depthwise(self) -> bool:
        return self.op.group == self.channels == self.out and self.out > 1

    def packed_bias(self) -> tuple[Constant, ...]:
        if self.bias is None:
            return ()
        bias, o = self.bias, self.out_block
        type = bias.type.with_shape((1, blocks(self.out, o), 1, 1, o))
        return (Constant(blocked_name(bias.name, o), type, lambda: pack_bias(bias.data, o)),)

    def packed(
        self, shape: tuple[int, ...], make: Callable[[], np.ndarray], as_: str = "packed"
    ) -> Constant:
        return Constant(f"{self.weight.name}@{as_}", self.weight.type.with_shape(shape), make)


def conv2d(call: Call, target: Target) -> list[Form]:
    op, (x, w, *rest) = call.op, call.operands
    assert isinstance(op, Conv2d)
    bias = rest[0] if rest else None
    if not isinstance(w, Const) or not isinstance(bias, (Const, type(None))):
        return []
    problem = Problem(op, x.type, w, bias, target.lanes)
    return [form for algorithm in _ALGORITHMS for form in algorithm(problem)]


def _depthwise(p: Problem) -> Iterator[Form]:
    if not p.depthwise:
        return
    o, (_, _, kh, kw) = p.out_block, p.weight.data.shape
    packed = p.packed(
        (blocks(p.out, o), kh, kw, o), lambda: pack_depthwise_weight(p.weight.data, o)
    )
    op = DepthwiseConv2dBlocked(p.op.strides, p.op.pads, p.op.dilations, channels=p.channels)
    yield Form(op, (o,), o, (packed, *p.packed_bias()))


def _direct(p: Problem) -> Iterator[Form]:
    if p.depthwise:
        return
    o, group, data = p.out_block, p.op.group, p.weight.data
    if not can_block(p.out, group, o):
        # small groups are done together, with zeros between them
        merged = o // int(np.gcd(p.out // group, o))
        if group % merged:
            return
        data, group = merge_groups(data, group, merged), group // merged
    _, depth, kh, kw = data.shape
    for block in p.in_blocks:
        ki = chunk_of(p.channels, group, block)
        packed = p.packed(
            (blocks(p.out, o), depth // ki, kh, kw, ki, o),
            lambda block=block: pack_conv_weight(data, group, block, o),  # type: ignore[misc]
        )
        op = Conv2dBlocked(
            p.op.strides, p.op.pads, p.op.dilations,
            in_channels=p.channels, out_channels=p.out, group=group, wide_sums=p.op.wide_sums,
        )  # fmt: skip
        yield Form(op, (block,), o, (packed, *p.packed_bias()))


def _winograd(p: Problem) -> Iterator[Form]:
    """One form for each tile whose error is small enough, where inputs fill vectors.

    Not of weights that are stored in few bits, as their transforms are not.
    """
    o, block = p.out_block, block_of(p.channels, p.lanes)
    shape = (*p.weight.data.shape[2:], *p.op.strides, *p.op.dilations, p.op.group)
    if shape != (TAPS, TAPS, 1, 1, 1, 1, 1) or block < p.lanes or p.op.wide_sums:
        return
    if integers_of(p.weight.data, (0,)):
        return
    for tile in POINTS:
        if error_bound(tile, p.channels, p.x.dtype) > LARGEST_ERROR[p.x.dtype]:
            continue
        packed = p.packed(
            ((tile + TAPS - 1) ** 2, blocks(p.out, o), p.channels, o),
            lambda tile=tile: pack_winograd_weight(p.weight.data, tile, o),  # type: ignore[misc]
            f"winograd{tile}",
        )
        op = Conv2dWinograd(tile=tile, pads=p.op.pads, in_channels=p.channels, out_channels=p.out)
        yield Form(op, (block,), o, (packed, *p.packed_bias()))


_ALGORITHMS: tuple[Callable[[Problem], Iterator[Form]], ...] = (
    _depthwise,
    _direct,
    _winograd,
)
