"""Convolutions on channel-blocked data, and the packing of their operands.

A blocked tensor is [N, ceil(C/c), H, W, c]. Its lanes beyond C hold anything, even NaN, so
nothing reads them but what works lane by lane. ``pack_*`` turn weights of ONNX's layout into
what the operators read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np

from armlet.compiler.ir import Dimension, TensorType

from .helpers import (
    cases,
    check,
    constant,
    convert,
    dtype_of,
    expect_operands,
    expect_rank,
    random,
    same_dtype,
    shape_of,
)
from .lazy import te, tirx
from .nn import SMALL, Conv2d, centred, sums_of
from .registry import Fusion, Layout, Op, Sample, op
from .shape import Concat, DepthToSpace, Slice, SpaceToDepth
from .window import Windowed, biased, pad_array


def blocks(channels: int, block: int) -> int:
    """How many blocks hold ``channels`` channels."""
    return -(-channels // block)


def pack_array(x: np.ndarray, block: int) -> np.ndarray:
    """[N, C, H, W] -> [N, ceil(C/c), H, W, c]; zeros beyond C."""
    n, channels, h, w = x.shape
    padded = np.pad(x, ((0, 0), (0, -channels % block), (0, 0), (0, 0)))
    return np.ascontiguousarray(padded.reshape(n, -1, block, h, w).transpose(0, 1, 3, 4, 2))


def unpack_array(x: np.ndarray, channels: int) -> np.ndarray:
    """[N, Cb, H, W, c] -> [N, C, H, W]."""
    n, _, h, w, _ = x.shape
    return np.ascontiguousarray(x.transpose(0, 1, 4, 2, 3).reshape(n, -1, h, w)[:, :channels])


def can_block(out_channels: int, group: int, out_block: int) -> bool:
    """Whether ``conv2d_blocked`` can do a convolution: no output block may span two groups."""
    return group == 1 or (out_channels // group) % out_block == 0


def chunk_of(in_channels: int, group: int, block: int) -> int:
    """Input channels that ``conv2d_blocked`` reads together: the whole of a chunk is real."""
    return math.gcd(in_channels // group, block)


def pack_conv_weight(w: np.ndarray, group: int, block: int, out_block: int) -> np.ndarray:
    """[O, C/g, KH, KW] -> [ceil(O/o), C/g/ki, KH, KW, ki, o], as ``conv2d_blocked`` reads it.

    ``block`` is c of the input, ``out_block`` o of the output, ki = ``chunk_of``. Zeros beyond O.
    """
    out, depth, kh, kw = w.shape
    ki = chunk_of(depth * group, group, block)
    padded = np.pad(w, ((0, -out % out_block), (0, 0), (0, 0), (0, 0)))
    split = padded.reshape(-1, out_block, depth // ki, ki, kh, kw)
    return np.ascontiguousarray(split.transpose(0, 2, 4, 5, 3, 1))


def unpack_conv_weight(w: np.ndarray) -> np.ndarray:
    """The inverse of ``pack_conv_weight``, with the channels beyond O."""
    ob, chunks, kh, kw, ki, o = w.shape
    return w.transpose(0, 5, 1, 4, 2, 3).reshape(ob * o, chunks * ki, kh, kw)


def pack_depthwise_weight(w: np.ndarray, block: int) -> np.ndarray:
    """[C, 1, KH, KW] -> [ceil(C/c), KH, KW, c]; zeros beyond C."""
    return pack_array(w.transpose(1, 0, 2, 3), block)[0]


def pack_bias(bias: np.ndarray, block: int) -> np.ndarray:
    """[O] -> [1, ceil(O/o), 1, 1, o]; zeros beyond O."""
    return pack_array(bias.reshape(1, -1, 1, 1), block)


def merge_groups(w: np.ndarray, group: int, merged: int) -> np.ndarray:
    """Weights of ``group // merged`` groups that do the same with zeros across old groups.

    It makes small groups fit output blocks at ``merged`` times the work.
    """
    out, depth, kh, kw = w.shape
    old = w.reshape(group // merged, merged, out // group, depth, kh, kw)
    new = np.zeros((*old.shape[:3], merged, depth, kh, kw), w.dtype)
    for m in range(merged):
        new[:, m, :, m] = old[:, m]
    return new.reshape(out, merged * depth, kh, kw)


def blocked_form(op: Op, block: int, operands: Sequence[TensorType]) -> Op | None:
    """What ``op`` becomes when its operands and result are blocked by ``block``, or None.

    As ``Op.blocked``, for operators where the operands' channels (``operands`` are the plain
    types) decide as well: those that join, part or shuffle channels by whole blocks.
    """
    channels = [int(t.shape[1]) for t in operands if t.rank == 4]  # type: ignore[arg-type]
    if len(channels) != len(operands):
        return op.blocked(block)
    if isinstance(op, Concat) and (op.axis % 4 != 1 or not any(c % block for c in channels[:-1])):
        return Concat(op.axis % 4)
    if isinstance(op, Slice) and op.steps[1] == 1 and op.starts[1] % block == 0:
        (n, out, *space), (first, start, *corner) = op.sizes, op.starts
        return Slice(
            (first, start // block, *corner, 0),
            (n, blocks(int(out), block), *space, block),  # type: ignore[arg-type]
            (*op.steps, 1),
        )
    if isinstance(op, DepthToSpace) and op.mode == "DCR":
        return op if channels[0] // op.blocksize**2 % block == 0 else None
    if isinstance(op, SpaceToDepth):
        return op if channels[0] % block == 0 else None
    return op.blocked(block)


@op("pack_channels", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class PackChannels(Op):
    """[N, C, H, W] -> [N, ceil(C/c), H, W, c] with c = ``block``; zeros beyond C."""

    block: int

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,) = operands
        expect_rank(self, x, 4)
        check(self.block > 0, f"{self.name} has block {self.block}")
        n, channels, h, w = x.shape
        check(isinstance(channels, int), f"{self.name} takes a known number of channels, not {x}")
        return (x.with_shape((n, blocks(int(x.shape[1]), self.block), h, w, self.block)),)  # type: ignore[arg-type]

    def compute(self, x: Any) -> Any:
        n, channels, height, width = shape_of(x)

        def element(b: Any, cb: Any, h: Any, w: Any, c: Any) -> Any:
            channel = cb * self.block + c
            if channels % self.block == 0:
                return x[b, channel, h, w]
            zero = constant(0, dtype_of(x))
            return tirx.if_then_else(channel < channels, x[b, channel, h, w], zero)

        shape = (n, blocks(channels, self.block), height, width, self.block)
        return te.compute(shape, element, name="pack")

    def evaluate(self, x: np.ndarray) -> Any:
        return pack_array(x, self.block)

    samples = cases(
        ({"block": 4}, (2, 17, 3, 5)),
        ({"block": 16}, (1, 24, 1, 7)),
        ({"block": 3}, (1, 3, 5, 5)),
        ({"block": 8}, (1, 16, 2, 3)),
        ({"block": 1}, (1, 1, 4, 3)),
    )


@op("unpack_channels", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class UnpackChannels(Op):
    """[N, ceil(C/c), H, W, c] -> [N, C, H, W] with C = ``channels``."""

    channels: int

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,) = operands
        expect_blocked(self, x, self.channels)
        n, _, h, w, _ = x.shape
        return (x.with_shape((n, self.channels, h, w)),)

    def compute(self, x: Any) -> Any:
        n, _, height, width, block = shape_of(x)
        return te.compute(
            (n, self.channels, height, width),
            lambda b, c, h, w: x[b, c // block, h, w, c % block],
            name="unpack",
        )

    def evaluate(self, x: np.ndarray) -> Any:
        return unpack_array(x, self.channels)

    samples = cases(
        ({"channels": 17}, (2, 5, 3, 5, 4)),
        ({"channels": 24}, (1, 2, 1, 7, 16)),
        ({"channels": 3}, (1, 1, 5, 5, 3)),
        ({"channels": 1}, (1, 1, 3, 2, 8)),
    )


@op("concat_blocked", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class ConcatBlocked(Op):
    """Joins the channels of blocked tensors whose channel counts are no whole blocks.

    Operand i holds ``channels[i]`` channels in blocks of its own; the result has blocks of
    ``block``. Its lanes beyond the last channel are zero.
    """

    channels: tuple[int, ...]
    block: int

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, len(self.channels))
        same_dtype(self, operands)
        for x, channels in zip(operands, self.channels):
            expect_blocked(self, x, channels)
        n, _, *space, _ = operands[0].shape
        shown = ", ".join(map(str, operands))
        check(
            all((x.shape[0], *x.shape[2:4]) == (n, *space) for x in operands),
            f"{self.name} takes tensors of one height and width, not {shown}",
        )
        held = blocks(sum(self.channels), self.block)
        return (operands[0].with_shape((n, held, *space, self.block)),)

    def compute(self, *tensors: Any) -> Any:
        n, _, height, width, _ = shape_of(tensors[0])
        ends = list(itertools.accumulate(self.channels))

        def element(b: Any, cb: Any, h: Any, w: Any, lane: Any) -> Any:
            channel = cb * self.block + lane
            value = constant(0, dtype_of(tensors[0]))
            for x, end, count in reversed([*zip(tensors, ends, self.channels)]):
                own, at = shape_of(x)[4], channel - (end - count)
                inside = x[b, tirx.floordiv(at, own), h, w, tirx.floormod(at, own)]
                value = tirx.if_then_else(channel < end, inside, value)
            return value

        shape = (n, blocks(ends[-1], self.block), height, width, self.block)
        return te.compute(shape, element, name="concat")

    def evaluate(self, *arrays: np.ndarray) -> Any:
        plain = [unpack_array(x, c) for x, c in zip(arrays, self.channels)]
        return pack_array(np.concatenate(plain, 1), self.block)

    samples = cases(
        ({"channels": (24, 5), "block": 16}, (1, 2, 3, 2, 16), (1, 1, 3, 2, 8)),
        ({"channels": (3, 1, 17), "block": 8}, (2, 1, 1, 5, 3), (2, 1, 1, 5, 1), (2, 5, 1, 5, 4)),
        ({"channels": (8, 8), "block": 16}, (1, 1, 2, 2, 8), (1, 1, 2, 2, 8)),
    )


def expect_blocked(op: Op, x: TensorType, channels: int) -> None:
    """``TypeError`` unless ``x`` holds so many channels in blocks."""
    expect_rank(op, x, 5)
    held, block = x.shape[1], x.shape[4]
    check(
        isinstance(block, int) and held == blocks(channels, block),
        f"{op.name} takes {channels} channels in blocks, not {x}",
    )


def expect_bias(op: Op, operands: Sequence[TensorType], shape: tuple[Dimension, ...]) -> None:
    if len(operands) == 3:
        wanted = operands[0].with_shape(shape)
        check(operands[2].shape == shape, f"{op.name} has bias {operands[2]}, not {wanted}")


@op("conv2d_blocked", fusion=Fusion.ANCHOR, layout=Layout.PLAIN)
class Conv2dBlocked(Windowed):
    """conv2d on blocked data: x[N,Cb,H,W,c] -> [N,Ob,OH,OW,o].

    Operands x, w[Ob,C/group/ki,KH,KW,ki,o] of ``pack_conv_weight`` and, if there is one,
    bias[1,Ob,1,1,o]. The reduction runs over (chunk, r, s, ki) and never meets a lane beyond
    ``in_channels``. Output lanes beyond ``out_channels`` are computed as the weights say (zeros).
    """

    in_channels: int = field(kw_only=True)
    out_channels: int = field(kw_only=True)
    group: int = 1
    #: of float16: whether sums are in float32 from block to block
    wide_sums: bool = False

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 2, 3)
        x, w = operands[:2]
        same_dtype(self, operands)
        expect_blocked(self, x, self.in_channels)
        expect_rank(self, w, 6)
        ob, chunks, kh, kw, ki, o = w.static_shape
        block = int(x.shape[4])  # type: ignore[arg-type]
        check(
            can_block(self.out_channels, self.group, o),
            f"{self.name} cannot cut {self.out_channels} channels of {self.group} groups by {o}",
        )
        check(
            chunks * ki * self.group == self.in_channels
            and ki == chunk_of(self.in_channels, self.group, block)
            and ob == blocks(self.out_channels, o),
            f"{self.name} of {self.in_channels} to {self.out_channels} channels has weights {w}",
        )
        expect_bias(self, operands, (1, ob, 1, 1, o))
        return (x.with_shape((x.shape[0], ob, *self.window_outputs(x, (kh, kw)), o)),)

    def compute(self, x: Any, w: Any, bias: Any = None) -> Any:
        ob, chunks, kh, kw, ki, o = shape_of(w)
        n, _, _, _, block = shape_of(x)
        padded = self.padded(x)
        #: output blocks of a group; chunks in an input block
        per_group, per_block = ob // self.group, block // ki
        chunk, r, s, k = (
            te.reduce_axis((0, size), name)
            for size, name in ((chunks, "chunk"), (kh, "r"), (kw, "s"), (ki, "k"))
        )

        def element(b: Any, out: Any, h: Any, w_: Any, lane: Any) -> Any:
            at = chunk if self.group == 1 else out // per_group * chunks + chunk
            h, w_ = self.at(h, w_, r, s)
            if per_block == 1:
                value = padded[b, at, h, w_, k]
            else:
                value = padded[b, at // per_block, h, w_, at % per_block * ki + k]
            return te.sum(value * w[out, chunk, r, s, k, lane], axis=[chunk, r, s, k])

        shape = (n, ob, *self.window_shape(x, (kh, kw)), o)
        anchor = te.compute(shape, element, name="anchor")
        return biased(anchor, bias, lambda b, out, h, w_, lane: bias[0, out, 0, 0, lane])

    def evaluate(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> Any:
        plain = Conv2d(self.strides, self.pads, self.dilations, self.group)
        y = plain.evaluate(unpack_array(x, self.in_channels), unpack_conv_weight(w))
        y = pack_array(y, w.shape[5])
        return y if bias is None else y + bias

    def macs(self, operands: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        n, _, h, w, _ = outputs[0].static_shape
        _, chunks, kh, kw, ki, _ = operands[1].static_shape
        return n * self.out_channels * h * w * chunks * ki * kh * kw

    @classmethod
    def samples(cls) -> list[Sample]:
        return [
            _conv_sample(cls, *row)
            for row in (
                ({}, (1, 3, 7, 5), (5, 3, 1, 1), 3, 4, False),
                ({}, (2, 17, 3, 3), (24, 17, 3, 3), 16, 16),
                ({"pads": (1, 1, 1, 1)}, (1, 24, 5, 7), (17, 24, 3, 3), 16, 8),
                ({"strides": (2, 3), "pads": (0, 1, 2, 0)}, (1, 16, 9, 8), (3, 16, 5, 3), 8, 4),
                ({"dilations": (2, 1)}, (1, 1, 7, 6), (8, 1, 3, 1), 1, 8, False),
                ({"group": 2, "pads": (0, 1, 0, 1)}, (1, 24, 4, 5), (16, 12, 1, 3), 8, 8),
                ({"group": 3, "strides": (2, 2)}, (2, 15, 5, 5), (12, 5, 3, 3), 4, 4, False),
            )
        ]


def _conv_sample(
    cls: type[Op],
    attributes: dict[str, Any],
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    block: int,
    out_block: int,
    bias: bool = True,
) -> Sample:
    """Lanes of x beyond its channels are NaN, which must not reach the output."""
    x, w = random(x_shape), random(w_shape, seed=1)
    group = attributes.get("group", 1)
    packed = pack_array(x, block)
    packed[:, -1, :, :, (x_shape[1] - 1) % block + 1 :] = np.nan
    operands = [packed, pack_conv_weight(w, group, block, out_block)]
    if bias:
        operands.append(pack_bias(random(w_shape[:1], seed=2), out_block))
    record: Any = cls
    made = record(**attributes, in_channels=x_shape[1], out_channels=w_shape[0])
    return Sample(made, tuple(operands))


@op("depthwise_conv2d_blocked", fusion=Fusion.ANCHOR, layout=Layout.PLAIN)
class DepthwiseConv2dBlocked(Windowed):
    """conv2d of as many groups as channels on blocked data: each lane by itself.

    Operands x[N,Cb,H,W,c], w[Cb,KH,KW,c] of ``pack_depthwise_weight`` and, if there is one,
    bias[1,Cb,1,1,c]. The reduction runs over (r, s). Of 8-bit integers as ``conv2d``.
    """

    channels: int = field(kw_only=True)
    zero_point: int = 0

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 2, 3)
        x, w = operands[:2]
        expect_blocked(self, x, self.channels)
        expect_rank(self, w, 4)
        cb, kh, kw, c = w.static_shape
        check(x.shape[1::3] == (cb, c), f"{self.name} of {x} has weights {w}")
        expect_bias(self, operands, (1, cb, 1, 1, c))
        shape = (x.shape[0], cb, *self.window_outputs(x, (kh, kw)), c)
        return (TensorType(shape, sums_of(self, operands)),)

    def compute(self, x: Any, w: Any, bias: Any = None) -> Any:
        cb, kh, kw, c = shape_of(w)
        x = centred(x, self.zero_point)
        padded = self.padded(x)
        r, s = te.reduce_axis((0, kh), "r"), te.reduce_axis((0, kw), "s")
        anchor = te.compute(
            (shape_of(x)[0], cb, *self.window_shape(x, (kh, kw)), c),
            lambda b, out, h, w_, lane: te.sum(
                padded[(b, out, *self.at(h, w_, r, s), lane)]
                * convert(w[out, r, s, lane], dtype_of(x)),
                axis=[r, s],
            ),
            name="anchor",
        )
        return biased(anchor, bias, lambda b, out, h, w_, lane: bias[0, out, 0, 0, lane])

    def evaluate(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> Any:
        if x.dtype.name in SMALL:
            x, w = x.astype(np.int32) - np.int32(self.zero_point), w.astype(np.int32)
        padded = pad_array(x, self.pads)
        cb, kh, kw, c = w.shape
        out = self.window_shape(x, (kh, kw))
        y = np.zeros((len(x), cb, *out, c), x.dtype)
        for r, s in np.ndindex(kh, kw):
            y += self.tap(padded, r, s, out) * w[:, r, s][:, None, None]
        return y if bias is None else y + bias

    def macs(self, operands: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        n, _, h, w, _ = outputs[0].static_shape
        return n * self.channels * h * w * math.prod(operands[1].static_shape[1:3])

    @classmethod
    def samples(cls) -> list[Sample]:
        found = []
        for attributes, shape, kernel, block, bias in (
            ({"pads": (1, 1, 1, 1)}, (1, 17, 7, 5), (3, 3), 16, True),
            ({"strides": (2, 2), "pads": (2, 2, 1, 1)}, (2, 24, 9, 8), (5, 5), 8, True),
            ({"dilations": (2, 3)}, (1, 3, 6, 8), (3, 1), 4, False),
            ({"strides": (1, 3)}, (1, 5, 4, 10), (1, 3), 5, False),
        ):
            w = random((shape[1], 1, *kernel), seed=1)
            operands = [pack_array(random(shape), block), pack_depthwise_weight(w, block)]
            operands += [pack_bias(random(shape[1:2], seed=2), block)] * bias
            found.append(Sample(cls(**attributes, channels=shape[1]), tuple(operands)))  # type: ignore[arg-type]
        for dtype, zero_point in (("uint8", 9), ("int8", -3)):
            x = pack_array(random((1, 17, 5, 6), dtype), 8)
            w = pack_depthwise_weight(random((17, 1, 3, 3), "int8", 1), 8)
            added = pack_bias(random((17,), "int32", 2), 8)
            record = cls(pads=(1, 0, 1, 2), channels=17, zero_point=zero_point)
            found.append(Sample(record, (x, w, added)))
        return found
