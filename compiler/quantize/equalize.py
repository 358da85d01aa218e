"""Give the channels between two convolutions weights of like size, at no change of the function.

    %1 = conv2d(%x, $w1, $b1)            %1 = conv2d(%x, $w1 / s, $b1 / s)
    %2 = relu(%1)                   ->   %2 = relu(%1)
    %3 = conv2d(%2, $w2, $b2)            %3 = conv2d(%2, $w2 * s, $b2)

s makes the largest weight that writes a channel and the largest that reads it equal (Nagel et al.,
ICCV'19). Not where somebody else reads the channels, nor across activations that bend elsewhere
than at 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from armlet.compiler.ir import Call, Const, Function, Value, Var
from armlet.compiler.ops.nn import Conv2d

from .layers import Layer, layers_of

#: f(a x) = a f(x) for positive a
HOMOGENEOUS = ("relu", "leaky_relu", "prelu")
#: times over all pairs, as one convolution is in two of them
SWEEPS = 10


def equalize(function: Function) -> Function:
    """The function with other constants; values between the pairs are scaled."""
    pairs = _pairs(function)
    data = {v: v.data.astype(np.float64) for pair in pairs for layer in pair for v in _own(layer)}
    for _ in range(SWEEPS):
        for first, second in pairs:
            scale = _scale(first, second, data)
            by_row = scale.reshape(-1, 1, 1, 1)
            data[first.weight] /= by_row
            if first.bias is not None:
                data[first.bias] /= scale
            data[second.weight] *= by_row if _depthwise(second) else scale.reshape(1, -1, 1, 1)
    changed: dict[Value, Value] = {
        old: Const(old.name, new.astype(old.data.dtype)) for old, new in data.items()
    }
    calls = (
        replace(c, operands=tuple(changed.get(v, v) for v in c.operands)) for c in function.bindings
    )
    return replace(function, bindings=tuple(calls))


def _own(layer: Layer) -> list[Const]:
    return [v for v in (layer.weight, layer.bias) if v is not None]


def _pairs(function: Function) -> list[tuple[Layer, Layer]]:
    """Of convolutions whose constants nobody else reads."""
    every = {
        layer.call: layer
        for layer in layers_of(function)
        if isinstance(layer.call.op, Conv2d)
        and all(len(function.readers[v]) == 1 for v in _own(layer))
    }
    found = []
    for second in every.values():
        first = every.get(_writer(function, second.x))  # type: ignore[arg-type]
        if first and (second.call.op.group == 1 or _depthwise(second)):  # type: ignore[attr-defined]
            found.append((first, second))
    return found


def _writer(function: Function, value: Var) -> Call | None:
    """The call that makes a value but for an activation, if nobody else reads it."""
    while function.has_single_reader(value):
        call = function.producers.get(value)
        if call is None or call.op.name not in HOMOGENEOUS:
            return call
        assert isinstance(call.operands[0], Var)
        value = call.operands[0]
    return None


def _depthwise(layer: Layer) -> bool:
    shape = layer.weight.data.shape
    return bool(layer.call.op.group == shape[0] and shape[1] == 1)  # type: ignore[attr-defined]


def _scale(first: Layer, second: Layer, data: dict[Const, np.ndarray]) -> np.ndarray:
    """What each channel is divided by."""
    writes = np.abs(data[first.weight]).max(axis=(1, 2, 3))
    axes = (1, 2, 3) if _depthwise(second) else (0, 2, 3)
    reads = np.abs(data[second.weight]).max(axis=axes)
    used = (writes > 0) & (reads > 0)
    return np.sqrt(np.divide(writes, reads, where=used, out=np.ones_like(writes)))
