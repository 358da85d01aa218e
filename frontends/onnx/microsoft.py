"""ONNX Runtime's own quantised operators, which its quantiser and its optimiser write."""

from __future__ import annotations

from armlet.compiler.ir import Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from .linear import gemm
from .linear import matmul as float_matmul
from .pool import average_pool, global_average_pool
from .quantize import dequantized, dynamic_quantize_linear, quantize_linear
from .registry import handles

DOMAIN = "com.microsoft"


def _binary(operator: str) -> None:
    @handles(f"QLinear{operator.capitalize()}", domain=DOMAIN)
    def binary(
        b: Emitter, x: Value, x_scale: Value, x_zero: Value | None, y: Value, y_scale: Value,
        y_zero: Value | None, z_scale: Value, z_zero: Value | None = None,
    ) -> Value:  # fmt: skip
        left, right = dequantized(b, x, x_scale, x_zero), dequantized(b, y, y_scale, y_zero)
        return quantize_linear(b, b.call(operator, left, right), z_scale, like(b, z_zero, x))


for _operator in ("add", "mul"):
    _binary(_operator)


def like(b: Emitter, zero: Value | None, x: Value) -> Value:
    """A zero point, by default 0 of the dtype of ``x``."""
    return b.const(0, x.type.dtype) if zero is None else zero


@handles("QLinearSigmoid", domain=DOMAIN)
def qlinear_sigmoid(
    b: Emitter, x: Value, x_scale: Value, x_zero: Value | None, y_scale: Value,
    y_zero: Value | None = None,
) -> Value:  # fmt: skip
    y = b.call("sigmoid", dequantized(b, x, x_scale, x_zero))
    return quantize_linear(b, y, y_scale, like(b, y_zero, x))


@handles("QLinearLeakyRelu", domain=DOMAIN)
def qlinear_leaky_relu(
    b: Emitter, x: Value, x_scale: Value, x_zero: Value | None, y_scale: Value,
    y_zero: Value | None = None, *, alpha: float = 0.01,
) -> Value:  # fmt: skip
    y = b.call("leaky_relu", dequantized(b, x, x_scale, x_zero), alpha=alpha)
    return quantize_linear(b, y, y_scale, like(b, y_zero, x))


@handles("QLinearGlobalAveragePool", domain=DOMAIN)
def qlinear_global_average_pool(
    b: Emitter, x: Value, x_scale: Value, x_zero: Value, y_scale: Value, y_zero: Value, *,
    channels_last: int = 0,
) -> Value:  # fmt: skip
    if channels_last:
        raise Unsupported("channels come last", attribute="channels_last")
    y = global_average_pool(b, dequantized(b, x, x_scale, x_zero))
    return quantize_linear(b, y, y_scale, y_zero)


@handles("QLinearAveragePool", domain=DOMAIN)
def qlinear_average_pool(
    b: Emitter,
    x: Value,
    x_scale: Value,
    x_zero: Value | None,
    y_scale: Value,
    y_zero: Value | None = None,
    *,
    kernel_shape: tuple[int, ...],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    channels_last: int = 0,
    count_include_pad: int = 0,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Value:
    if channels_last:
        raise Unsupported("channels come last", attribute="channels_last")
    y = average_pool(
        b, dequantized(b, x, x_scale, x_zero), kernel_shape=kernel_shape, auto_pad=auto_pad,
        ceil_mode=ceil_mode, count_include_pad=count_include_pad, pads=pads, strides=strides,
    )  # fmt: skip
    return quantize_linear(b, y, y_scale, like(b, y_zero, x))


@handles("QLinearConcat", domain=DOMAIN)
def qlinear_concat(b: Emitter, y_scale: Value, y_zero: Value, *parts: Value, axis: int) -> Value:
    """``parts`` are tensor, scale and zero point of each operand."""
    if not parts or len(parts) % 3:
        raise Unsupported(f"{len(parts)} inputs are no tensors with scales and zero points")
    triples = zip(parts[::3], parts[1::3], parts[2::3])
    floats = [dequantized(b, x, scale, zero) for x, scale, zero in triples]
    joined = b.concat(floats, b.axis(axis, floats[0].type.rank))
    return quantize_linear(b, joined, y_scale, y_zero)


@handles("MatMulIntegerToFloat", domain=DOMAIN)
def matmul_integer_to_float(
    b: Emitter, x: Value, w: Value, x_scale: Value, w_scale: Value, x_zero: Value | None = None,
    w_zero: Value | None = None, bias: Value | None = None,
) -> Value:  # fmt: skip
    left = dequantized(b, x, x_scale, x_zero, -2)
    y = float_matmul(b, left, dequantized(b, w, w_scale, w_zero, -1))
    return y if bias is None else b.call("add", y, bias)


@handles("DynamicQuantizeMatMul", domain=DOMAIN)
def dynamic_quantize_matmul(
    b: Emitter, x: Value, w: Value, w_scale: Value, w_zero: Value | None = None,
    bias: Value | None = None,
) -> Value:  # fmt: skip
    small, scale, zero = dynamic_quantize_linear(b, x)
    return matmul_integer_to_float(b, small, w, scale, w_scale, zero, w_zero, bias)


@handles("QGemm", domain=DOMAIN)
def qgemm(
    b: Emitter,
    x: Value,
    x_scale: Value,
    x_zero: Value,
    w: Value,
    w_scale: Value,
    w_zero: Value,
    bias: Value | None = None,
    y_scale: Value | None = None,
    y_zero: Value | None = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Value:
    """Without a scale for y, y stays in float."""
    left = dequantized(b, x, x_scale, x_zero)
    right = dequantized(b, w, w_scale, w_zero, 0 if transB else 1)
    if bias is not None:
        product = b.call("mul", b.reshape(x_scale, ()), w_scale)
        scale = b.call("mul", product, b.full(product, alpha)) if alpha != 1 else product
        bias = dequantized(b, bias, scale, None, bias.type.rank - 1)
    y = gemm(b, left, right, bias, alpha=alpha, transA=transA, transB=transB)
    return y if y_scale is None else quantize_linear(b, y, y_scale, y_zero)
