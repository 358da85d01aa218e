"""ONNX Runtime's own quantised operators of whole layers: softmax, attention, packed weights."""

from __future__ import annotations

import math

import numpy as np

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from .linear import matmul as float_matmul
from .microsoft import DOMAIN, like, matmul_integer_to_float
from .quantize import dequantize_linear, dequantized, quantize_linear
from .registry import handles


@handles("QLinearSoftmax", domain=DOMAIN)
def qlinear_softmax(
    b: Emitter, x: Value, x_scale: Value, x_zero: Value | None, y_scale: Value,
    y_zero: Value | None = None, *, axis: int, opset: int,
) -> Value:  # fmt: skip
    """Before opset 13, over all axes from ``axis`` on."""
    real = dequantized(b, x, x_scale, x_zero)
    place, shape = b.axis(axis, x.type.rank), x.type.shape
    if opset < 13:
        held = b.static(x)
        rows = (math.prod(held[:place]), math.prod(held[place:]))
        y = b.reshape(b.call("softmax", b.reshape(real, rows), axis=1), shape)
    else:
        y = b.call("softmax", real, axis=place)
    return quantize_linear(b, y, y_scale, like(b, y_zero, x))


@handles("QLinearWhere", domain=DOMAIN)
def qlinear_where(
    b: Emitter, condition: Value, x: Value, x_scale: Value, x_zero: Value, y: Value, y_scale: Value,
    y_zero: Value, z_scale: Value, z_zero: Value,
) -> Value:  # fmt: skip
    parts = dequantized(b, x, x_scale, x_zero), dequantized(b, y, y_scale, y_zero)
    return quantize_linear(b, b.call("where", condition, *parts), z_scale, z_zero)


@handles("QuantizeLinear", domain=DOMAIN)
def quantize(
    b: Emitter, x: Value, scale: Value, zero: Value | None = None, *, axis: int = 1
) -> Value:
    return quantize_linear(b, x, scale, zero, axis=axis)


@handles("DequantizeLinear", domain=DOMAIN)
def dequantize(
    b: Emitter, x: Value, scale: Value, zero: Value | None = None, *, axis: int = 1
) -> Value:
    return dequantize_linear(b, x, scale, zero, axis=axis)


@handles("QAttention", domain=DOMAIN)
def qattention(
    b: Emitter,
    x: Value,
    w: Value,
    bias: Value,
    x_scale: Value,
    w_scale: Value,
    mask: Value | None = None,
    x_zero: Value | None = None,
    w_zero: Value | None = None,
    past: Value | None = None,
    *,
    num_heads: int,
    unidirectional: int = 0,
    do_rotary: int = 0,
    mask_filter_value: float = -10000.0,
    past_present_share_buffer: int = 0,
    scale: float | None = None,
) -> Value:
    """Self-attention of x [N, T, C]; w [C, 3 * H] has queries, keys and values side by side."""
    if mask is not None or past is not None or unidirectional or do_rotary:
        raise Unsupported("masks, past values and rotations of QAttention are not supported")
    batch, steps, _ = b.static(x)
    hidden = b.static(w)[1] // 3
    if not num_heads or hidden % num_heads:
        raise Unsupported(f"{hidden} columns for {num_heads} heads")
    y = matmul_integer_to_float(b, x, w, x_scale, w_scale, x_zero, w_zero, bias)
    depth = hidden // num_heads
    heads = b.reshape(y, (batch, steps, 3, num_heads, depth))
    heads = b.transpose(heads, (2, 0, 3, 1, 4))
    q, k, v = (
        b.reshape(b.slice(heads, 0, part, 1), (batch, num_heads, steps, depth)) for part in range(3)
    )
    factor = 1 / math.sqrt(depth) if scale is None else scale
    scores = b.call("matmul", q, b.transpose(k, (0, 1, 3, 2)))
    weights = b.call("softmax", b.call("mul", scores, b.full(scores, factor)), axis=3)
    found = b.transpose(b.call("matmul", weights, v), (0, 2, 1, 3))
    return b.reshape(found, (batch, steps, hidden))


@handles("MatMulNBits", domain=DOMAIN)
def matmul_nbits(
    b: Emitter,
    x: Value,
    w: Const,
    scales: Const,
    zeros: Const | None = None,
    groups: Const | None = None,
    bias: Value | None = None,
    *,
    K: int,
    N: int,
    bits: int = 4,
    block_size: int,
    accuracy_level: int = 0,
    weight_prepacked: int = 0,
) -> Value:
    """A product by constant weights [N, K] of 2, 4 or 8 bits, with a scale for each block of K."""
    if groups is not None or bits not in (2, 4, 8) or weight_prepacked:
        raise Unsupported(f"weights of {bits} bits, packed by groups or for a processor")
    blocks = -(-K // block_size)
    numbers = _unpacked(w.data.reshape(N, -1), bits)[:, : blocks * block_size]
    if numbers.shape[1] != blocks * block_size or scales.data.size != N * blocks:
        raise Unsupported(f"weights {w.type} and scales {scales.type} for {N} x {K} in blocks")
    middle: np.ndarray = np.full((N, blocks), 1 << (bits - 1), np.float32)
    if zeros is not None and zeros.data.dtype == np.uint8:
        middle = _unpacked(zeros.data.reshape(N, -1), bits)[:, :blocks].astype(np.float32)
    elif zeros is not None:
        middle = zeros.data.reshape(N, blocks).astype(np.float32)
    centred = numbers.reshape(N, blocks, block_size) - middle[..., None]
    real = centred * scales.data.reshape(N, blocks, 1).astype(np.float32)
    matrix = real.reshape(N, -1)[:, :K].T.astype(x.type.dtype)
    y = float_matmul(b, x, b.const(np.ascontiguousarray(matrix)))
    return y if bias is None else b.call("add", y, bias)


def _unpacked(data: np.ndarray, bits: int) -> np.ndarray:
    """Numbers of each row, the first of a byte in its lowest bits."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    found = (data[..., None] >> shifts) & ((1 << bits) - 1)
    return found.reshape(len(data), -1).astype(np.float32)
