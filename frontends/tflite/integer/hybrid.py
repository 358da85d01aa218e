"""Weights in integers beside numbers in float: LiteRT quantises what it reads, run by run.

A scale and a zero point are found for each image, or for each row of a matrix, by its range; the
products are of bytes, and their sums are made real again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from .scales import Weights


class Quantised:
    """x as bytes, with a scale (float32) and a zero point (int32, or None) for each part."""

    def __init__(self, data: Value, scale: Value, zero: Value | None) -> None:
        self.data, self.scale, self.zero = data, scale, zero


def quantised(b: Emitter, x: Value, axes: Sequence[int], asymmetric: bool) -> Quantised:
    """Of float32; one scale for all elements along ``axes``."""
    if x.type.dtype != "float32":
        raise Unsupported(f"its operand {x.type} is not float32 beside weights in integers")
    ranges = {"axes": tuple(axes), "keepdims": True}
    least, most = b.call("reduce_min", x, **ranges), b.call("reduce_max", x, **ranges)
    return _asymmetric(b, x, least, most) if asymmetric else _symmetric(b, x, least, most)


def _symmetric(b: Emitter, x: Value, least: Value, most: Value) -> Quantised:
    size = b.call("maximum", b.call("abs", least), b.call("abs", most))
    flat = b.call("equal", size, b.full(size, 0))
    safe = b.call("where", flat, b.full(size, 127), size)
    moved = b.call("mul", x, b.call("div", b.full(size, 127), safe))
    data = b.call("quantize", moved, b.full(x, 1), b.const(0, "int8"), low=-127, away=True)
    return Quantised(data, b.call("div", safe, b.full(size, 127)), None)


def _asymmetric(b: Emitter, x: Value, least: Value, most: Value) -> Quantised:
    """From -128 to 127, with 0 among the integers; computed in float64 as LiteRT does."""
    zero = b.full(x, 0)
    low = b.cast(b.call("minimum", least, zero), "float64")
    high = b.cast(b.call("maximum", most, zero), "float64")
    flat = b.call("equal", low, high)
    reach = b.call("where", flat, b.full(low, 255), b.call("sub", high, low))
    exact = b.call("div", reach, b.full(low, 255))
    below, above = b.call("div", low, exact), b.call("div", high, exact)
    # by the end of the range that is nearer, as it is rounded less
    nearer = b.call("less", b.call("sub", b.full(low, 128), below),
                    b.call("add", above, b.full(low, 127)))  # fmt: skip
    point = b.call("where", nearer, b.call("sub", b.full(low, -128), below),
                   b.call("sub", b.full(low, 127), above))  # fmt: skip
    held = b.call("minimum", b.call("maximum", point, b.full(low, -128)), b.full(low, 127))
    size = b.call("floor", b.call("add", b.call("abs", held), b.full(low, 0.5)))
    offset = b.call("mul", size, b.call("sign", held))
    offset = b.cast(b.call("where", flat, b.full(low, 0), offset), "float32")
    scale = b.cast(exact, "float32")
    moved = b.call("add", offset, b.call("mul", x, b.call("div", b.full(x, 1), scale)))
    data = b.call("quantize", moved, b.full(x, 1), b.const(0, "int8"), away=True)
    return Quantised(data, scale, b.cast(offset, "int32"))


def real_sums(
    b: Emitter, x: Quantised, w: Weights, bias: Value | None, scales_first: bool, **window: Any
) -> Value:
    """A convolution of [N, C, H, W] in float32; what is beside the image is the real 0.

    ``scales_first``: whether LiteRT multiplies the scales with each other before the sums.
    """
    if not isinstance(w.value, Const) or w.value.type.dtype != "int8":
        raise Unsupported("weights beside numbers in float must be constants in int8 around 0")
    sums = b.call("conv2d", x.data, w.value, **window)
    if x.zero is not None:
        held = b.static(x.data)
        ones = b.const(np.ones((1, *held[1:]), np.int8))
        # how much a zero point adds to the sums, which is less at the edges
        edges = b.call("conv2d", ones, w.value, **window)
        assert isinstance(edges, Const)
        if (edges.data == edges.data[..., :1, :1]).all():
            edges = b.const(edges.data[..., :1, :1])
        sums = b.call("sub", sums, b.call("mul", x.zero, edges))
    real = b.cast(sums, "float32")
    scale = b.const(w.scale.reshape(-1, 1, 1) if w.scale.size > 1 else w.scale.reshape(()))
    if scales_first:
        real = b.call("mul", real, b.call("mul", scale, x.scale))
    else:
        real = b.call("mul", b.call("mul", real, scale), x.scale)
    if bias is None:
        return real
    return b.call("add", real, b.reshape(bias, (*b.static(bias), 1, 1)))
