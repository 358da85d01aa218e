"""A transposed convolution as a convolution, a shuffle and a crop (Shi et al., arXiv 1609.07009).

With stride s, output pixel s*q + p of the uncropped result needs the inputs q, q-1, … and the
taps p, p+s, … only. So a convolution of ceil(K/s) taps makes all s*s phases of an output pixel
as channels, and ``depth_to_space`` puts them in place: no multiplication by inserted zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from armlet.compiler.ir import Dimension, Shape, TensorType

from .nn import Conv2d, ConvTranspose2d
from .shape import DepthToSpace, Slice


@dataclass(frozen=True)
class Subpixel:
    """conv_transpose2d(x, w, bias) = crop(shuffle(conv(x, weight, bias)))."""

    conv: Conv2d
    weight: np.ndarray
    bias: np.ndarray | None
    shuffle: DepthToSpace
    #: None where the shuffle's result is the answer as it is
    crop: Slice | None


def _axis(size: int, kernel: int, stride: int, before: int, out: int) -> tuple[int, int, int, int]:
    """(taps, pads before and after of the convolution, start of the crop) along one axis."""
    taps = -(-kernel // stride)
    # the phases of output pixels [first, last) of the uncropped result are needed
    first, last = before // stride, -(-(before + out) // stride)
    pad_before = max(0, taps - 1 - first)
    start = before - (taps - 1 - pad_before) * stride
    return taps, pad_before, max(0, last - size), start


def _phases(w: np.ndarray, stride: int, taps: tuple[int, int]) -> np.ndarray:
    """[C, O, KH, KW] -> [s*s*O, C, taps, taps], the order of depth_to_space's mode "DCR"."""
    channels, out, kh, kw = w.shape
    rest = [(0, t * stride - k) for t, k in zip(taps, (kh, kw))]
    padded = np.pad(w, [(0, 0), (0, 0), *rest])
    split = padded.reshape(channels, out, taps[0], stride, taps[1], stride)
    turned = split[:, :, ::-1, :, ::-1].transpose(3, 5, 1, 0, 2, 4)
    return np.ascontiguousarray(turned.reshape(-1, channels, *taps))


def subpixel(
    op: ConvTranspose2d, shape: Shape, w: np.ndarray, bias: np.ndarray | None = None
) -> Subpixel | None:
    """The form of ``op`` on an operand of ``shape``, or None: it takes equal strides above one,
    no dilation and no groups."""
    stride = op.strides[0]
    if op.strides != (stride, stride) or stride == 1 or op.dilations != (1, 1) or op.group != 1:
        return None
    sizes = [int(n) for n in shape[2:] if isinstance(n, int)]
    if len(sizes) != 2:
        return None
    outs = [*TensorType(op.sizes(sizes, w.shape[2:])).static_shape]
    (th, top, bottom, y), (tw, left, right, x) = (
        _axis(sizes[a], w.shape[2 + a], stride, op.pads[a], outs[a]) for a in (0, 1)
    )
    shuffled = [
        (size + sum(pads) - taps + 1) * stride
        for size, pads, taps in zip(sizes, ((top, bottom), (left, right)), (th, tw))
    ]
    wanted: tuple[Dimension, ...] = (shape[0], w.shape[1], *outs)
    crop = Slice((0, 0, y, x), wanted, (1, 1, 1, 1)) if shuffled != outs else None
    return Subpixel(
        Conv2d(pads=(top, left, bottom, right)),
        _phases(w, stride, (th, tw)),
        None if bias is None else np.tile(bias, stride * stride),
        DepthToSpace(stride),
        crop,
    )
