"""Sliding windows over the axes 2 and 3, which convolutions and pools share.

``pads`` are (top, left, bottom, right). Everything works on [N, C, H, W] and on
[N, C/c, H, W, c] alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from armlet.compiler.ir import Dim, Dimension, TensorType

from .helpers import check, constant, dtype_of, shape_of
from .lazy import te, tirx
from .registry import Op


def plus(size: Dimension, n: int) -> Dimension:
    """``size + n``, without a sum of a negative number in the text of a ``Dim``."""
    return size - -n if isinstance(size, Dim) and n < 0 else size + n


def output_size(
    size: Dimension, kernel: int, stride: int, before: int, after: int, dilation: int
) -> Dimension:
    """How many windows fit."""
    span = (kernel - 1) * dilation + 1
    return plus(size, before + after - span + stride) // stride


@dataclass(frozen=True)
class Windowed(Op):
    """The attributes of an operator that slides a window."""

    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)

    def window_outputs(self, x: TensorType, kernel: Sequence[int]) -> tuple[Dimension, Dimension]:
        """The output's sizes along the axes 2 and 3."""
        lengths = (len(self.strides), len(self.pads), len(self.dilations), len(kernel))
        check(lengths == (2, 4, 2, 2), f"{self.name} takes windows of two axes: {self}")
        top, left, bottom, right = self.pads
        check(min(kernel) > 0, f"{self.name} has windows of {tuple(kernel)}")
        check(min(self.strides) > 0, f"{self.name} has strides {self.strides}")
        check(min(self.dilations) > 0, f"{self.name} has dilations {self.dilations}")
        check(min(self.pads) >= 0, f"{self.name} has negative pads {self.pads}")
        h = output_size(x.shape[2], kernel[0], self.strides[0], top, bottom, self.dilations[0])
        w = output_size(x.shape[3], kernel[1], self.strides[1], left, right, self.dilations[1])
        for size in (h, w):
            check(
                isinstance(size, Dim) or size > 0,
                f"{self.name} has a window of {tuple(kernel)} that does not fit into {x}",
            )
        return h, w

    def window_shape(self, x: Any, kernel: Sequence[int]) -> tuple[int, int]:
        """As ``window_outputs``, of a ``te.Tensor`` or an array."""
        h, w = self.window_outputs(TensorType(shape_of(x)), kernel)
        return h, w  # type: ignore[return-value]

    def padded(self, x: Any, value: float = 0.0) -> Any:
        """The stage "pad" where there are pads, else ``x`` itself."""
        return pad_stage(x, self.pads, value)

    def at(self, h: Any, w: Any, r: Any, s: Any) -> tuple[Any, Any]:
        """Where tap (r, s) of the window of output (h, w) lies in the padded input."""
        return (
            h * self.strides[0] + r * self.dilations[0],
            w * self.strides[1] + s * self.dilations[1],
        )

    def tap(self, x: np.ndarray, r: int, s: int, out: Sequence[int]) -> np.ndarray:
        """Tap (r, s) of every window of a padded array."""
        (h, w), (sh, sw), (dh, dw) = out, self.strides, self.dilations
        rows = slice(r * dh, r * dh + (h - 1) * sh + 1, sh)
        return x[:, :, rows, s * dw : s * dw + (w - 1) * sw + 1 : sw]


def pad_stage(x: Any, pads: Sequence[int], value: float) -> Any:
    top, left, bottom, right = pads
    if not any(pads):
        return x
    n, c, height, width, *lanes = shape_of(x)

    def element(*i: Any) -> Any:
        h, w = i[2] - top, i[3] - left
        inside = [h >= 0] * (top > 0) + [h < height] * (bottom > 0)
        inside += [w >= 0] * (left > 0) + [w < width] * (right > 0)
        return tirx.if_then_else(
            tirx.all(*inside), x[(i[0], i[1], h, w, *i[4:])], constant(value, dtype_of(x))
        )

    shape = (n, c, height + top + bottom, width + left + right, *lanes)
    return te.compute(shape, element, name="pad")


def pad_array(x: np.ndarray, pads: Sequence[int], value: float = 0.0) -> np.ndarray:
    top, left, bottom, right = pads
    if not any(pads):
        return x
    axes = [(0, 0), (0, 0), (top, bottom), (left, right), *[(0, 0)] * (x.ndim - 4)]
    return np.pad(x, axes, constant_values=value)


def biased(anchor: Any, bias: Any, element: Callable[..., Any]) -> Any:
    """The stage "biased", which adds ``element(*indices)`` of a bias, if there is one."""
    if bias is None:
        return anchor
    return te.compute(shape_of(anchor), lambda *i: anchor[i] + element(*i), name="biased")
