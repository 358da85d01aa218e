"""Convolutions of 8-bit integers on channel-blocked data, four products at a time.

Processors that multiply bytes add up four products of neighbours in each lane of int32. So
weights hold *quads*: of every output lane the weights of four neighbouring input channels (or,
depthwise, of four neighbouring columns of the kernel). Lanes of x beyond its channels may hold
anything, as the weights there are zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np

from armlet.compiler.ir import TensorType

from .blocked import (
    DepthwiseConv2dBlocked,
    blocks,
    can_block,
    expect_bias,
    expect_blocked,
    pack_array,
    pack_bias,
    unpack_array,
)
from .helpers import check, convert, dtype_of, expect_operands, expect_rank, random, shape_of
from .lazy import te
from .nn import SMALL, Conv2d
from .registry import Fusion, Layout, Sample, op
from .window import Windowed, biased

#: products that are added up together
QUAD = 4


def pack_quads(w: np.ndarray, block: int, out_block: int, order: str = "quads") -> np.ndarray:
    """[O, C/g, KH, KW] -> [ceil(O/o), ceil(C/g/c), KH, KW, c/4, …], zeros beyond O and C.

    The last axes of "quads" are [o, 4], in int8; of "pairs" [2, o, 2], in int16: the even
    members of each quad, then its odd ones; of "singles" [4, o], in int16.
    """
    out, depth, kh, kw = w.shape
    padded = np.pad(w, ((0, -out % out_block), (0, -depth % block), (0, 0), (0, 0)))
    split = padded.reshape(-1, out_block, padded.shape[1] // block, block // QUAD, QUAD, kh, kw)
    packed = split.transpose(0, 2, 5, 6, 3, 1, 4)
    if order == "pairs":
        packed = np.moveaxis(packed.reshape(*packed.shape[:-1], 2, 2), -1, -3)
    if order == "singles":
        packed = packed.swapaxes(-1, -2)
    return np.ascontiguousarray(packed, np.int8 if order == "quads" else np.int16)


def order_of(w: Any) -> str:
    """How weights are packed, by their rank and dtype."""
    if len(w.shape) == 8:
        return "pairs"
    return "quads" if dtype_of(w) == "int8" else "singles"


def unpack_quads(w: np.ndarray) -> np.ndarray:
    """The inverse of ``pack_quads``, with the channels beyond O and C."""
    order = order_of(w)
    if order == "pairs":
        w = np.moveaxis(w, -3, -1)
        w = w.reshape(*w.shape[:-2], QUAD)
    elif order == "singles":
        w = w.swapaxes(-1, -2)
    ob, chunks, kh, kw, q, o, _ = w.shape
    return w.transpose(0, 5, 1, 4, 6, 2, 3).reshape(ob * o, chunks * q * QUAD, kh, kw)


def sizes_of(w: Any) -> tuple[int, int, int, int, int, int]:
    """Of packed weights: output blocks, chunks, kernel's height and width, quads, output lanes."""
    shape = tuple(map(int, w.shape))
    return (*shape[:5], shape[-1 if order_of(w) == "singles" else -2])  # type: ignore[return-value]


@op("conv2d_quads", fusion=Fusion.ANCHOR, layout=Layout.PLAIN)
class Conv2dQuads(Windowed):
    """conv2d of 8-bit integers on blocked data: x[N,Cb,H,W,c] -> int32 [N,Ob,OH,OW,o].

    Operands x, w of ``pack_quads`` and, if there is one, bias[1,Ob,1,1,o] in int32. The padding
    holds ``pad_value``. A zero point of x is to be in the bias: -zero_point * the sum of weights.
    """

    in_channels: int = field(kw_only=True)
    out_channels: int = field(kw_only=True)
    group: int = 1
    pad_value: int = 0

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 2, 3)
        x, w = operands[:2]
        expect_blocked(self, x, self.in_channels)
        expect_rank(self, w, 7, 8)
        ob, chunks, kh, kw, quads, o = sizes_of(w)
        check(
            x.dtype in SMALL and (w.dtype == "int16" or (w.dtype, w.rank) == ("int8", 7)),
            f"{self.name} cannot multiply {x} by {w}",
        )
        check(
            can_block(self.out_channels, self.group, o)
            and quads * QUAD == x.shape[4]
            and (self.group == 1 or self.in_channels // self.group % (quads * QUAD) == 0)
            and chunks == blocks(self.in_channels // self.group, quads * QUAD)
            and ob == blocks(self.out_channels, o),
            f"{self.name} of {self.in_channels} to {self.out_channels} channels has weights {w}",
        )
        expect_bias(self, operands, (1, ob, 1, 1, o))
        shape = (x.shape[0], ob, *self.window_outputs(x, (kh, kw)), o)
        return (TensorType(shape, "int32"),)

    def compute(self, x: Any, w: Any, bias: Any = None) -> Any:
        ob, chunks, kh, kw, quads, o = sizes_of(w)
        padded, per_group = self.padded(x, self.pad_value), ob // self.group
        chunk, r, s, q, b = (
            te.reduce_axis((0, size), name)
            for size, name in ((chunks, "chunk"), (kh, "r"), (kw, "s"), (quads, "q"), (QUAD, "b"))
        )

        def element(n: Any, out: Any, h: Any, w_: Any, lane: Any) -> Any:
            at = chunk if self.group == 1 else out // per_group * chunks + chunk
            value = padded[(n, at, *self.at(h, w_, r, s), q * QUAD + b)]
            members = {"quads": (lane, b), "pairs": (b % 2, lane, b // 2), "singles": (b, lane)}
            member = members[order_of(w)]
            weight = w[(out, chunk, r, s, q, *member)]
            return te.sum(convert(value, "int32") * convert(weight, "int32"), [chunk, r, s, q, b])

        shape = (shape_of(x)[0], ob, *self.window_shape(x, (kh, kw)), o)
        anchor = te.compute(shape, element, name="anchor")
        return biased(anchor, bias, lambda n, out, h, w_, lane: bias[0, out, 0, 0, lane])

    def evaluate(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> Any:
        ob, *_, o = sizes_of(w)
        shift = np.float64(self.pad_value)
        wide, weights = x - shift, unpack_quads(w).astype(np.float64)
        plain = Conv2d(self.strides, self.pads, self.dilations, self.group)
        channels = weights.shape[1] * self.group
        y = plain.evaluate(unpack_array(wide, channels), weights)
        y += shift * weights.sum((1, 2, 3))[:, None, None]
        y = pack_array(y.astype(np.int64), o).reshape(y.shape[0], ob, *y.shape[2:], o)
        return (y + (0 if bias is None else bias)).astype(np.int32)

    def macs(self, operands: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        n, _, h, w, _ = outputs[0].static_shape
        _, chunks, kh, kw, quads, _ = sizes_of(operands[1])
        return n * self.out_channels * h * w * chunks * quads * QUAD * kh * kw

    @classmethod
    def samples(cls) -> list[Sample]:
        found = []
        for attributes, shape, w_shape, block, o, order, dtype in (
            ({}, (1, 3, 5, 7), (5, 3, 1, 1), 4, 4, "quads", "int8"),
            ({"pads": (1, 1, 1, 1), "pad_value": 7}, (1, 8, 5, 7), (16, 8, 3, 3), 8, 16, "pairs",
             "uint8"),
            ({"strides": (2, 3), "pads": (0, 1, 2, 0), "pad_value": -2}, (2, 17, 7, 8),
             (9, 17, 3, 3), 8, 8, "singles", "int8"),
            ({"group": 2, "dilations": (1, 2)}, (1, 16, 4, 6), (8, 8, 1, 3), 8, 4, "quads",
             "uint8"),
        ):  # fmt: skip
            x = pack_array(random(shape, dtype), block)
            x[:, -1, :, :, (shape[1] - 1) % block + 1 :] = 77
            w = random(w_shape, "int8", 1)
            bias = pack_bias(random(w_shape[:1], "int32", 2), o)
            made: Any = cls
            record = made(**attributes, in_channels=shape[1], out_channels=w_shape[0])
            found.append(Sample(record, (x, pack_quads(w, block, o, order), bias)))
        return found


def pack_depthwise_quads(w: np.ndarray, block: int) -> np.ndarray:
    """[C, 1, KH, KW] -> [ceil(C/c), KH, ceil(KW/4), c, 4]; zeros beyond C and KW."""
    channels, _, kh, kw = w.shape
    padded = np.pad(w[:, 0], ((0, -channels % block), (0, 0), (0, -kw % QUAD)))
    split = padded.reshape(-1, block, kh, padded.shape[2] // QUAD, QUAD)
    return np.ascontiguousarray(split.transpose(0, 2, 3, 1, 4))


@op("depthwise_conv2d_quads", fusion=Fusion.ANCHOR, layout=Layout.PLAIN)
class DepthwiseConv2dQuads(Windowed):
    """depthwise_conv2d_blocked of 8-bit integers, its weights in quads of columns.

    Operands x[N,Cb,H,W,c], w of ``pack_depthwise_quads`` for a kernel ``width`` wide, and bias
    [1,Cb,1,1,c] in int32. Padding and zero point are those of ``conv2d_quads``.
    """

    channels: int = field(kw_only=True)
    width: int = field(kw_only=True)
    pad_value: int = 0

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 3)
        x, w = operands[:2]
        expect_blocked(self, x, self.channels)
        expect_rank(self, w, 5)
        cb, kh, quads, c, _ = w.static_shape
        check(
            x.dtype in SMALL
            and w.dtype == "int8"
            and x.shape[1::3] == (cb, c)
            and quads == blocks(self.width, QUAD),
            f"{self.name} of {x} has weights {w}",
        )
        expect_bias(self, operands, (1, cb, 1, 1, c))
        shape = (x.shape[0], cb, *self.window_outputs(x, (kh, self.width)), c)
        return (TensorType(shape, "int32"),)

    def compute(self, x: Any, w: Any, bias: Any) -> Any:
        cb, kh, _, c, _ = shape_of(w)
        padded = self.padded(x, self.pad_value)
        r, s = te.reduce_axis((0, kh), "r"), te.reduce_axis((0, self.width), "s")

        def element(n: Any, b: Any, h: Any, w_: Any, lane: Any) -> Any:
            value = convert(padded[(n, b, *self.at(h, w_, r, s), lane)], "int32")
            return te.sum(value * convert(w[b, r, s // QUAD, lane, s % QUAD], "int32"), [r, s])

        shape = (shape_of(x)[0], cb, *self.window_shape(x, (kh, self.width)), c)
        anchor = te.compute(shape, element, name="anchor")
        return biased(anchor, bias, lambda n, b, h, w_, lane: bias[0, b, 0, 0, lane])

    def evaluate(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> Any:
        cb, kh, quads, c, _ = w.shape
        plain = w.transpose(0, 1, 2, 4, 3).reshape(cb, kh, quads * QUAD, c)[:, :, : self.width]
        blocked = DepthwiseConv2dBlocked(
            self.strides, self.pads, self.dilations, channels=self.channels,
            zero_point=self.pad_value,
        )  # fmt: skip
        moved = self.pad_value * plain.astype(np.int32).sum((1, 2))
        return blocked.evaluate(x, plain, bias + moved[None, :, None, None].astype(np.int32))

    def macs(self, operands: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        n, _, h, w, _ = outputs[0].static_shape
        return n * self.channels * h * w * operands[1].static_shape[1] * self.width

    @classmethod
    def samples(cls) -> list[Sample]:
        found = []
        for attributes, shape, kernel, block, dtype in (
            ({"pads": (1, 1, 1, 1), "pad_value": 7}, (1, 17, 7, 5), (3, 3), 4, "uint8"),
            ({"strides": (2, 2), "pads": (2, 2, 1, 1)}, (2, 24, 9, 8), (5, 5), 8, "int8"),
            ({"dilations": (2, 3)}, (1, 3, 6, 8), (3, 1), 4, "int8"),
        ):
            x = pack_array(random(shape, dtype), block)
            w = pack_depthwise_quads(random((shape[1], 1, *kernel), "int8", 1), block)
            bias = pack_bias(random(shape[1:2], "int32", 2), block)
            made: Any = cls
            record = made(**attributes, channels=shape[1], width=kernel[1])
            found.append(Sample(record, (x, w, bias)))
        return found


def correction(w: np.ndarray, zero_point: int, bias: np.ndarray | None) -> np.ndarray:
    """The bias [O] with what a zero point of x adds: -zero_point * the sum of weights [O, …]."""
    moved = -zero_point * w.reshape(len(w), -1).astype(np.int64).sum(1)
    return (moved + (0 if bias is None else bias)).astype(np.int32)
