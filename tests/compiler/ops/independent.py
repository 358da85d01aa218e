"""Answers for operators that ONNX does not have, each by a formula of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from scipy import special

from armlet.compiler.ops import toom_cook

from .onnx_oracle import Node, _run

Answer = tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]


def _all(x: np.ndarray) -> np.ndarray:
    return x


def unblocked(x: np.ndarray, channels: int) -> np.ndarray:
    """Channel c of a blocked tensor is lane c % block of block c // block."""
    block = x.shape[-1]
    return np.stack([x[:, c // block, :, :, c % block] for c in range(channels)], axis=1)


def silu(op: Any, x: np.ndarray) -> Answer:
    return (x * special.expit(x.astype(np.float64))).astype(x.dtype), _all


def pack_channels(op: Any, x: np.ndarray) -> Answer:
    return x, lambda y: unblocked(y, x.shape[1])


def unpack_channels(op: Any, x: np.ndarray) -> Answer:
    return unblocked(x, op.channels), _all


def concat_blocked(op: Any, *blocked: np.ndarray) -> Answer:
    parts = [unblocked(x, c) for x, c in zip(blocked, op.channels)]
    return np.concatenate(parts, axis=1), lambda y: unblocked(y, sum(op.channels))


def arrange_blocked(op: Any, *blocked: np.ndarray) -> Answer:
    channels = [c for x, n in zip(blocked, op.channels) for c in np.moveaxis(unblocked(x, n), 1, 0)]
    plain = np.stack([channels[i] for i in op.order], axis=1)
    return plain, lambda y: unblocked(y, len(op.order))


def _conv(op: Any, group: int, *operands: np.ndarray) -> np.ndarray:
    attributes = {"strides": op.strides, "pads": op.pads, "dilations": op.dilations}
    return _run(Node("Conv", {**attributes, "group": group}), operands)


def conv2d_blocked(op: Any, x: np.ndarray, w: np.ndarray, *bias: np.ndarray) -> Answer:
    depth, out, (ki, o) = op.in_channels // op.group, op.out_channels, w.shape[4:]
    plain = np.array(
        [[w[n // o, i // ki, :, :, i % ki, n % o] for i in range(depth)] for n in range(out)]
    )
    operands = [unblocked(x, op.in_channels), plain, *(unblocked(b, out).ravel() for b in bias)]
    return _conv(op, op.group, *operands), lambda y: unblocked(y, out)


def depthwise_conv2d_blocked(op: Any, x: np.ndarray, w: np.ndarray, *bias: np.ndarray) -> Answer:
    plain = unblocked(w[None], op.channels).transpose(1, 0, 2, 3)
    operands = [
        unblocked(x, op.channels),
        plain,
        *(unblocked(b, op.channels).ravel() for b in bias),
    ]
    if x.dtype.itemsize == 1:
        operands = [v.astype("f") for v in operands]
        operands[0] -= op.zero_point
    y = _conv(op, op.channels, *operands)
    return y.astype("int32" if x.dtype.itemsize == 1 else y.dtype), lambda y: unblocked(
        y, op.channels
    )


def conv2d_winograd(op: Any, x: np.ndarray, u: np.ndarray, *bias: np.ndarray) -> Answer:
    """By ONNX Runtime's convolution, with the weights that u was made of."""
    back = np.linalg.pinv(toom_cook.array(toom_cook.transforms(op.tile).g))
    edge, o = op.tile + 2, u.shape[3]
    square = np.array([u[:, n // o, :, n % o] for n in range(op.out_channels)])
    square = square.reshape(op.out_channels, edge, edge, op.in_channels)
    plain = np.einsum("ri,oijc,sj->ocrs", back, square, back).astype(x.dtype)
    operands = [unblocked(x, op.in_channels), plain]
    operands += [unblocked(b, op.out_channels).ravel() for b in bias]
    y = _run(Node("Conv", {"pads": op.pads}), operands)
    return y, lambda y: unblocked(y, op.out_channels)


def matmul_packed(op: Any, x: np.ndarray, w: np.ndarray, *bias: np.ndarray) -> Answer:
    n = w.shape[2]
    columns = [np.einsum("...k,k", x, w[c // n, :, c % n]) for c in range(op.columns)]
    y = np.stack(columns, axis=-1)
    return y + bias[0][: op.columns] if bias else y, _all


def attention(op: Any, *operands: np.ndarray) -> Answer:
    """One score at a time."""
    q, k, v, *mask = (x.astype(np.float64) for x in operands)
    b, s, h, _ = q.shape
    t = k.shape[1]
    added = np.broadcast_to(mask[0] if mask else 0.0, (b, h, s, t))
    y = np.empty((b, s, h, v.shape[3]))
    for n, i, m in np.ndindex(b, s, h):
        scores = np.array([op.scale * q[n, i, m].dot(k[n, j, m]) for j in range(t)])
        weights = np.exp(scores + added[n, m, i] - (scores + added[n, m, i]).max())
        y[n, i, m] = (weights / weights.sum()) @ v[n, :, m]
    return y.astype(operands[0].dtype), _all


def recurrent(type: str, op: Any, operands: Sequence[np.ndarray], **attributes: Any) -> Answer:
    """ONNX Runtime's, of an input that is the share: its weights are the identity."""
    share, h, *extra, packed = operands
    rows = share.shape[2]
    r = packed.transpose(2, 0, 3, 1).reshape(op.gates, -1, packed.shape[1])[:, : packed.shape[1]]
    r = r.reshape(1, rows, -1)
    names = ["X", "W", "R", "B", "_", "h", "c", "P"]
    given = {"X": share, "W": np.eye(rows, dtype="f")[None], "R": r, "h": h[None]}
    if op.has_cell:
        given |= {"c": extra[0][None], "P": extra[1][None]}
    inputs = [n if n in given else "" for n in names[: 8 if op.has_cell else 6]]
    outputs = ["Y", "Y_h", "Y_c"][: 2 + op.has_cell]
    if op.clip:
        attributes["clip"] = op.clip
    direction = "reverse" if op.reverse else "forward"
    node = helper.make_node(
        type, inputs, outputs, hidden_size=h.shape[1], direction=direction, **attributes
    )
    infos = [helper.make_tensor_value_info(k, 1, v.shape) for k, v in given.items()]
    results = [helper.make_value_info(n, onnx.TypeProto()) for n in outputs]
    opset = [helper.make_opsetid("", 14)]
    graph = helper.make_graph([node], "one", infos, results)
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    y, _, *c = session.run(None, given)
    states = [y[:, 0], h[None]] if op.reverse else [h[None], y[:, 0]]
    return np.concatenate([*states, *(v for v in c)]), _all


def lstm(op: Any, *operands: np.ndarray) -> Answer:
    return recurrent("LSTM", op, operands)


def gru(op: Any, *operands: np.ndarray) -> Answer:
    return recurrent("GRU", op, operands, linear_before_reset=1)


def gru_reset_first(op: Any, *operands: np.ndarray) -> Answer:
    return recurrent("GRU", op, operands)


def rnn(op: Any, *operands: np.ndarray) -> Answer:
    return recurrent("RNN", op, operands)


def _broadcast(shape: tuple[int, ...], *parts: np.ndarray) -> list[list[Any]]:
    return [np.broadcast_to(p, shape).ravel().tolist() for p in parts]


def _saturated(values: list[float], zeros: list[int], zero: np.ndarray, op: Any) -> np.ndarray:
    """Python's own rounding, to even, and its own integers."""
    info = np.iinfo(zero.dtype)
    low, high = max(info.min, op.low), min(info.max, op.high)
    rounded = [round(min(max(v, -1e9), 1e9)) + z for v, z in zip(values, zeros)]
    return np.array([int(min(max(v, low), high)) for v in rounded], zero.dtype)


def quantize(op: Any, x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> Answer:
    xs, scales, zeros = _broadcast(x.shape, x, scale, zero)
    quotients = [float(np.float32(a) / np.float32(b)) for a, b in zip(xs, scales)]
    if op.away:
        quotients = [q + math.copysign(0.5, q) if q % 1 == 0.5 else q for q in quotients]
    return _saturated(quotients, zeros, zero, op).reshape(x.shape), _all


def dequantize(op: Any, x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> Answer:
    xs, scales, zeros = _broadcast(x.shape, x, scale, zero)
    moved = [(a - z) * b for a, b, z in zip(xs, scales, zeros)]
    return np.array(moved, scale.dtype).reshape(x.shape), _all


def requantize(op: Any, x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> Answer:
    xs, scales, zeros = _broadcast(x.shape, x, scale, zero)
    products = [float(np.float32(a) * np.float32(b)) for a, b in zip(xs, scales)]
    return _saturated(products, zeros, zero, op).reshape(x.shape), _all


def requantize_fixed(op: Any, *operands: np.ndarray) -> Answer:
    product, _ = multiply_fixed(op, *operands[:3])
    zero = operands[3]
    moved = product.astype(float) + zero
    return _saturated(moved.ravel().tolist(), [0] * moved.size, zero, op).reshape(moved.shape), _all


def multiply_fixed(op: Any, x: np.ndarray, *parts: np.ndarray) -> Answer:
    """gemmlowp's sources in Python's integers."""
    found = []
    for a, m, shift in zip(*_broadcast(x.shape, x, *parts)):
        high = _rounded_product(a << max(0, -shift), m)
        by = max(0, shift)
        mask = (1 << by) - 1
        found.append((high >> by) + ((high & mask) > (mask >> 1) + (high < 0)))
    return np.array(found, "int32").reshape(x.shape), _all


def multiply_wide(op: Any, x: np.ndarray, *parts: np.ndarray) -> Answer:
    found = [
        (2 * a * m + (1 << (15 + shift))) // (1 << (16 + shift))
        for a, m, shift in zip(*_broadcast(x.shape, x, *parts))
    ]
    return np.array(found, "int32").reshape(x.shape), _all


def lookup(op: Any, x: np.ndarray, table: np.ndarray) -> Answer:
    places = [min(max(int(v) - op.first, 0), len(table) - 1) for v in x.ravel()]
    return np.array([table[p] for p in places], table.dtype).reshape(x.shape), _all


def leading_zeros(op: Any, x: np.ndarray) -> Answer:
    return np.array([32 - max(int(v), 1).bit_length() for v in x.ravel()], "int32").reshape(
        x.shape
    ), _all


def reciprocal_fixed(op: Any, x: np.ndarray) -> Answer:
    """gemmlowp's sources in Python's integers, whose products are all of numbers below 2^31."""
    found = []
    for v in (max(int(v), 1) for v in x.ravel()):
        a = (v << (32 - v.bit_length())) - 2**31
        half = (a + 2**31) // 2
        y = 1515870810 + _rounded_product(half, -1010580540)
        for _ in range(3):
            y += _rounded_product(y, 2**29 - _rounded_product(half, y)) * 4
        found.append(min(2 * y, 2**31 - 1))
        assert abs(found[-1] - 2**62 / (a + 2**31)) < 64
    return np.array(found, "int32").reshape(x.shape), _all


def _rounded_product(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul, which divides towards zero."""
    nudged = a * b + (1 << 30 if a * b >= 0 else 1 - (1 << 30))
    return abs(nudged) // (1 << 31) * (1 if nudged >= 0 else -1)


def flip_sign(op: Any, x: np.ndarray) -> Answer:
    moved = x.astype("int32") + (128 if x.dtype == "int8" else -128)
    return moved.astype("uint8" if x.dtype == "int8" else "int8"), _all


def conv2d_quads(op: Any, x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> Answer:
    """A float convolution of what is padded already."""
    depth, out = op.in_channels // op.group, op.out_channels
    singles, block = w.ndim == 7 and w.dtype == "int16", x.shape[-1]
    o = w.shape[-1 if singles else -2]

    def weight(n: int, i: int) -> np.ndarray:
        q, b = divmod(i % block, 4)
        member = (n % o, b) if w.ndim == 7 else (b % 2, n % o, b // 2)
        member = (b, n % o) if singles else member
        return w[n // o, i // block, :, :, q][(..., *member)]

    plain = np.array([[weight(n, i) for i in range(depth)] for n in range(out)])
    return _padded_conv(op, op.group, unblocked(x, op.in_channels), plain, unblocked(bias, out))


def depthwise_conv2d_quads(op: Any, x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> Answer:
    c = x.shape[-1]
    plain = np.array(
        [
            np.stack([w[i // c, :, s // 4, i % c, s % 4] for s in range(op.width)], 1)
            for i in range(op.channels)
        ]
    )
    channels = op.channels
    return _padded_conv(
        op, channels, unblocked(x, channels), plain[:, None], unblocked(bias, channels)
    )


def _padded_conv(op: Any, group: int, x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> Answer:
    top, left, bottom, right = op.pads
    around = ((0, 0), (0, 0), (top, bottom), (left, right))
    padded = np.pad(x.astype("f"), around, constant_values=op.pad_value)
    attributes = {"strides": op.strides, "dilations": op.dilations, "group": group}
    y = _run(Node("Conv", attributes), [padded, w.astype("f"), bias.ravel().astype("f")])
    return y.astype(np.int32), lambda found: unblocked(found, len(w))


ANSWERS: dict[str, Callable[..., Answer]] = {
    f.__name__: f
    for f in (
        silu,
        pack_channels,
        unpack_channels,
        concat_blocked,
        arrange_blocked,
        conv2d_blocked,
        conv2d_quads,
        conv2d_winograd,
        depthwise_conv2d_quads,
        quantize,
        dequantize,
        flip_sign,
        requantize,
        requantize_fixed,
        multiply_fixed,
        multiply_wide,
        lookup,
        leading_zeros,
        reciprocal_fixed,
        depthwise_conv2d_blocked,
        matmul_packed,
        attention,
        lstm,
        gru,
        gru_reset_first,
        rnn,
    )
}


def answer(op: Any, operands: Sequence[np.ndarray]) -> Answer:
    """(the answer, what of our result to compare it with)."""
    return ANSWERS[op.name](op, *operands)
