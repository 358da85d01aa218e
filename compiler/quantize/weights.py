"""A layer's weights and bias as integers: symmetric, with a scale for each output channel.

By the means of what a convolution reads, its bias also makes up for what rounding the weights moves
its results by on average (Nagel et al., ICCV'19).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from armlet.compiler.ops.nn import Conv2d

from .layers import Layer
from .recipe import MOST, Scaled, Weights

#: units of a bias, with room for the sums
LARGEST_BIAS = float(1 << 30)


def quantized_weights(layer: Layer, x: Scaled, mean: np.ndarray) -> Weights:
    """``mean`` is that of each channel of the input."""
    data, axis = layer.weight.data, layer.axis
    others = tuple(a for a in range(data.ndim) if a != axis)
    scale = (np.abs(data).max(axis=others) / MOST).astype(np.float32)
    scale[scale == 0] = 1
    bias = None if layer.bias is None else layer.bias.data.astype(np.float64)
    if bias is not None:
        # a channel whose weights are next to nothing beside its bias
        scale = np.maximum(scale, (np.abs(bias) / (x.scale * LARGEST_BIAS)).astype(np.float32))
    spread = scale.reshape(-1, *[1] * (data.ndim - 1 - axis))
    whole = np.clip(np.rint(data / spread), -MOST, MOST).astype(np.int8)
    made = Weights(whole, scale, axis)
    if isinstance(layer.call.op, Conv2d):
        moved = _moved(made.numbers() - data, mean, layer.call.op.group)
        corrected = (0.0 if bias is None else bias) - moved
        units = np.rint(corrected / (np.float64(x.scale) * scale))
        limit = 2 * LARGEST_BIAS
        made = replace(made, bias=np.clip(units, -limit, limit - 1).astype(np.int32))
    return made


def _moved(error: np.ndarray, mean: np.ndarray, group: int) -> np.ndarray:
    """What an error of a convolution's weights adds to its results on average."""
    per_channel = error.sum(axis=(2, 3), dtype=np.float64).reshape(group, -1, error.shape[1])
    return np.einsum("gok,gk->go", per_channel, mean.reshape(group, -1)).reshape(-1)
