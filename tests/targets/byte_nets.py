"""Small functions of bytes, as ``integer_arithmetic`` leaves them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from armlet.compiler.ir import Builder, Function, TensorType, Value
from armlet.compiler.ops.binary import Add
from armlet.compiler.ops.nn import Conv2d
from armlet.compiler.ops.pool import MaxPool2d
from armlet.compiler.ops.quantize import Dequantize, Quantize, Requantize
from armlet.compiler.ops.reduce import ReduceMean
from armlet.compiler.ops.shape import Concat, Reshape


class Net:
    """Adds layers; each method returns its bytes."""

    def __init__(self, shape: Sequence[int] = (1, 8, 10, 12), dtype: str = "uint8") -> None:
        self.b, self.rng, self.dtype = Builder(source="layer"), np.random.default_rng(0), dtype
        self.x = self.b.param("x", TensorType(tuple(shape), dtype))

    def zero(self, number: int) -> Value:
        """``number`` is that of int8."""
        data = np.array(number + (128 if self.dtype == "uint8" else 0), self.dtype)
        return self.b.const(data, "zero")

    def conv(self, x: Value, out: int, kernel: int, zero: int = 0, low=None, **options) -> Value:
        channels = x.type.static_shape[1]
        depth = channels // options.get("group", 1)
        w = self.rng.integers(-127, 128, (out, depth, kernel, kernel)).astype(np.int8)
        bias = self.rng.integers(-2000, 2000, out).astype(np.int32)
        offset = 128 if self.dtype == "uint8" else 0
        op = Conv2d(zero_point=zero + offset, **options)
        sums = self.b.call(op, x, self.b.const(w, "w"), self.b.const(bias, "b"))
        reach = 60.0 / (127 * 74 * np.sqrt(depth * kernel * kernel))
        factor = (reach * self.rng.uniform(0.5, 1.5, (out, 1, 1))).astype(np.float32)
        limits = {} if low is None else {"low": low + offset}
        return self.b.call(Requantize(**limits), sums, self.b.const(factor, "m"), self.zero(-5))

    def dequantize(self, x: Value, scale: float, zero: int) -> Value:
        return self.b.call(Dequantize(), x, self.scale(scale), self.zero(zero))

    def scale(self, number: float) -> Value:
        return self.b.const(np.float32(number), "scale")

    def quantize(self, x: Value, scale: float, zero: int, **limits) -> Value:
        return self.b.call(Quantize(**limits), x, self.scale(scale), self.zero(zero))

    def add(self, x: Value, y: Value, zeros=(-5, -5), scales=(0.02, 0.031)) -> Value:
        a, b = (self.dequantize(v, s, z) for v, s, z in zip((x, y), scales, zeros))
        return self.quantize(self.b.call(Add(), a, b), 0.04, 3)

    def mean(self, x: Value, zero: int, scale: float = 0.04) -> Value:
        floats = self.dequantize(x, scale, zero)
        mean = self.b.call(ReduceMean(axes=(2, 3), keepdims=True), floats)
        return self.quantize(mean, scale / 8, -7)

    def pool(self, x: Value) -> Value:
        return self.b.call(MaxPool2d(kernel=(2, 2), strides=(2, 2)), x)

    def concat(self, *parts: Value) -> Value:
        return self.b.call(Concat(1), *parts)

    def flat(self, x: Value) -> Value:
        return self.b.call(Reshape((1, x.type.elements)), x)

    def function(self, *results: Value) -> Function:
        return self.b.function([self.x], results, "region")


def layers(dtype: str = "uint8") -> dict[str, Function]:
    """Functions of one layer, or of few."""
    found = {}

    def keep(name: str, make) -> None:
        net = Net(dtype=dtype)
        found[name] = net.function(make(net))

    same, odd = {"pads": (1, 1, 1, 1)}, {"pads": (1, 1, 1, 1), "strides": (2, 2)}
    keep("pointwise", lambda n: n.conv(n.x, 5, 1))
    keep("same", lambda n: n.conv(n.x, 6, 3, zero=7, **same))
    keep("padded by itself", lambda n: n.conv(n.x, 6, 3, zero=7, **odd))
    keep("dilated", lambda n: n.conv(n.x, 4, 3, dilations=(2, 2)))
    keep("depthwise", lambda n: n.conv(n.x, 8, 3, group=8, **same))
    keep("clamped", lambda n: n.conv(n.x, 6, 3, low=-5))
    keep("add", lambda n: n.add(n.x, n.x, zeros=(4, 4), scales=(0.02, 0.02)))
    keep("mean", lambda n: n.mean(n.conv(n.x, 40, 3), -5))
    keep("pool", lambda n: n.pool(n.x))
    keep("concat", lambda n: n.concat(n.x, n.x))
    keep("flat", lambda n: n.flat(n.conv(n.x, 30, 10, pads=(0, 0, 0, 0), strides=(10, 3))))
    return found


def residual(dtype: str = "uint8") -> Function:
    """Convolutions beside one another, added, pooled and averaged: every kind of layer."""
    net = Net((1, 8, 24, 20), dtype)
    a = net.conv(net.x, 16, 3, zero=2, pads=(1, 1, 1, 1), strides=(2, 2))
    b = net.conv(a, 16, 3, zero=-5, group=16, pads=(1, 1, 1, 1))
    c = net.add(a, net.conv(b, 16, 1, zero=-5))
    d = net.pool(net.concat(c, c))
    return net.function(net.conv(net.mean(d, 3), 10, 1, zero=-7))
