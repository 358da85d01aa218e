"""What quantising a model comes to: integers for weights, scales for tensors, by their names.

A recipe is all that is decided. ``insert.py`` writes it into a function, and
``frontends/onnx/quantized.py`` into a model's file; both make the same numbers of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

#: integers of activations and weights, which int8 holds
LEAST, MOST = -128, 127


@dataclass(frozen=True)
class Scaled:
    """A tensor's numbers are (q - zero_point) * scale, q being int8."""

    scale: float
    zero_point: int

    @classmethod
    def of_range(cls, low: float, high: float) -> Scaled:
        """That reaches from ``low`` to ``high`` and has 0 among its numbers."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = np.float32((high - low) / (MOST - LEAST)) or np.float32(1)
        return cls(float(scale), int(np.clip(np.rint(LEAST - low / scale), LEAST, MOST)))

    def quantized(self, data: np.ndarray) -> np.ndarray:
        whole = np.rint(data / np.float32(self.scale)) + np.float32(self.zero_point)
        return np.clip(whole, LEAST, MOST).astype(np.int8)

    def rounded(self, data: np.ndarray) -> np.ndarray:
        """The nearest numbers that there are."""
        moved = self.quantized(data).astype(np.float32) - np.float32(self.zero_point)
        return moved * np.float32(self.scale)


@dataclass(frozen=True)
class Weights:
    """Those of a layer: integers with a scale for each output channel, which lie along ``axis``."""

    data: np.ndarray = field(repr=False)
    scale: np.ndarray = field(repr=False)
    axis: int
    #: int32, in units of the input's scale times ``scale``; None of a layer without one
    bias: np.ndarray | None = field(default=None, repr=False)

    def broadcast(self) -> np.ndarray:
        """The scales in a shape that broadcasts to ``data``."""
        return self.scale.reshape(-1, *[1] * (self.data.ndim - 1 - self.axis))

    def numbers(self) -> np.ndarray:
        return self.data.astype(np.float32) * self.broadcast()


@dataclass(frozen=True)
class Recipe:
    """``tensors`` and ``layers`` by the name of the value, and of the layer's result."""

    tensors: Mapping[str, Scaled]
    layers: Mapping[str, Weights]

    def without(self, layers: Collection[str], tensors: Collection[str]) -> Recipe:
        """Of fewer layers, and only the ``tensors`` that these need."""
        return replace(
            self,
            tensors={k: v for k, v in self.tensors.items() if k in tensors},
            layers={k: v for k, v in self.layers.items() if k not in layers},
        )
