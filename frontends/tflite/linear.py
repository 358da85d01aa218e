"""Matrix products and normalisations along the last axis."""

from __future__ import annotations

import math

import tflite

from armlet.compiler.ir import Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from .elementwise import activated
from .registry import handles


@handles("FULLY_CONNECTED", options=tflite.FullyConnectedOptions)
def fully_connected(
    b: Emitter,
    x: Value,
    w: Value,
    bias: Value | None = None,
    *,
    fused_activation_function: int = 0,
    weights_format: int = 0,
    keep_num_dims: bool = False,
    asymmetric_quantize_inputs: bool = False,
    quantized_bias_type: int = 0,
) -> Value:
    """Weights are [units, depth]."""
    rows, shape = rows_of(b, x, w, weights_format, keep_num_dims)
    y = b.call("matmul", rows, b.transpose(w, (1, 0)))
    if bias is not None:
        y = b.call("add", y, bias)
    return b.reshape(activated(b, y, fused_activation_function), shape)


def rows_of(
    b: Emitter, x: Value, w: Value, weights_format: int, keep_num_dims: bool
) -> tuple[Value, tuple[int, ...]]:
    """The rows of FULLY_CONNECTED, a matrix, and the shape of its result."""
    if weights_format:
        raise Unsupported("shuffled weights are not supported", attribute="weights_format")
    if w.type.rank != 2:
        raise Unsupported(f"its weights {w.type} are no matrix")
    units, depth = b.static(w)
    held = b.static(x)
    elements = math.prod(held)
    if not depth or elements % depth or (keep_num_dims and held[-1] != depth):
        raise Unsupported(f"its operand {x.type} has no rows of {depth}")
    rows = b.reshape(x, (elements // depth, depth))
    return rows, (*held[:-1], units) if keep_num_dims else (elements // depth, units)


@handles("BATCH_MATMUL", options=tflite.BatchMatMulOptions)
def batch_matmul(
    b: Emitter,
    x: Value,
    y: Value,
    *,
    adj_x: bool = False,
    adj_y: bool = False,
    asymmetric_quantize_inputs: bool = False,
) -> Value:
    if min(x.type.rank, y.type.rank) < 2:
        raise Unsupported(f"its operands {x.type} and {y.type} are not matrices")
    return b.call("matmul", turned(b, x) if adj_x else x, turned(b, y) if adj_y else y)


def turned(b: Emitter, x: Value) -> Value:
    """Matrices with rows and columns exchanged."""
    axes = list(range(x.type.rank))
    return b.transpose(x, (*axes[:-2], axes[-1], axes[-2]))


@handles("SOFTMAX", options=tflite.SoftmaxOptions)
def softmax(b: Emitter, x: Value, *, beta: float) -> Value:
    scaled = x if beta == 1 else b.call("mul", x, b.full(x, beta))
    return b.call("softmax", scaled, axis=b.axis(-1, x.type.rank))


@handles("LOG_SOFTMAX", options=tflite.LogSoftmaxOptions)
def log_softmax(b: Emitter, x: Value) -> Value:
    return b.call("log_softmax", x, axis=b.axis(-1, x.type.rank))


@handles("L2_NORMALIZATION", options=tflite.L2NormOptions)
def l2_normalization(b: Emitter, x: Value, *, fused_activation_function: int = 0) -> Value:
    norm = b.call("reduce_l2", x, axes=(b.axis(-1, x.type.rank),), keepdims=True)
    # the smallest divisor is that of LiteRT
    y = b.call("div", x, b.call("maximum", norm, b.full(x, 1e-6)))
    return activated(b, y, fused_activation_function)
