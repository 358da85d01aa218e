"""Convolutions and matrix products on plain row-major data (``blocked.py`` has the fast forms)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from armlet.compiler.ir import Dim, Dimension, TensorType

from .helpers import (
    FLOATS,
    cases,
    check,
    constant,
    convert,
    dtype_of,
    expect_dtype,
    expect_operands,
    expect_rank,
    joined,
    random,
    same_dtype,
    shape_of,
    te_map,
)
from .lazy import te, tirx
from .registry import Fusion, Layout, Op, op
from .window import Windowed, biased, pad_array, plus

#: integers whose products are added up in int32
SMALL = ("int8", "uint8")
#: bytes of unfolded windows that ``evaluate`` makes at a time
UNFOLDED = 1 << 26


def _check_bias(op: Op, operands: Sequence[TensorType], channels: Dimension) -> None:
    if len(operands) == 3:
        bias = operands[2]
        check(bias.shape == (channels,), f"{op.name} has bias {bias} for {channels} channels")


def sums_of(op: Op, operands: Sequence[TensorType]) -> str:
    """The dtype that products are added up in, and that of a bias: int32 of small integers."""
    x, w, *bias = operands
    if x.dtype in SMALL and w.dtype in (*SMALL, "int16"):
        dtypes = {b.dtype for b in bias}
        check(dtypes <= {"int32"}, f"{op.name} of {x} adds up in int32, and has bias of {dtypes}")
        return "int32"
    expect_dtype(op, x, (*FLOATS, "int32"))
    return same_dtype(op, operands)


def centred(x: Any, zero_point: int) -> Any:
    """Small integers as int32, less their zero point; of floats, the tensor itself."""
    if dtype_of(x) not in SMALL:
        return x
    zero = constant(zero_point, "int32")
    return te_map(lambda v: convert(v, "int32") - zero, x, name="centred")


def _expect_images(op: Op, operands: Sequence[TensorType]) -> tuple[TensorType, TensorType]:
    expect_operands(op, operands, 2, 3)
    x, w = operands[:2]
    expect_rank(op, x, 4)
    expect_rank(op, w, 4)
    check(w.is_static and w.elements, f"{op.name} takes weights of known sizes, not {w}")
    check(op.group > 0, f"{op.name} has {op.group} groups")  # type: ignore[attr-defined]
    return x, w


_CONV_SAMPLES = cases(
    ({}, (1, 3, 7, 5), (5, 3, 1, 1)),
    ({}, (2, 17, 3, 3), (24, 17, 3, 3), (24,)),
    ({"strides": (2, 2), "pads": (1, 1, 1, 1)}, (1, 5, 11, 13), (17, 5, 3, 3), (17,)),
    ({"strides": (3, 2), "pads": (0, 2, 1, 0)}, (2, 3, 13, 11), (4, 3, 5, 3)),
    ({"dilations": (2, 3), "pads": (2, 3, 2, 3)}, (1, 1, 9, 10), (3, 1, 3, 3), (3,)),
    ({"pads": (0, 1, 0, 1)}, (1, 24, 5, 7), (5, 24, 1, 3)),
    ({"group": 4, "pads": (1, 0, 1, 0), "strides": (1, 2)}, (1, 20, 6, 5), (8, 5, 3, 1), (8,)),
    ({"group": 17, "pads": (2, 2, 2, 2)}, (1, 17, 7, 7), (17, 1, 5, 5), (17,)),
    ({"group": 3, "strides": (2, 2), "pads": (1, 1, 0, 0)}, (2, 3, 6, 6), (6, 1, 3, 3)),
)


@op("conv2d", fusion=Fusion.ANCHOR, layout=Layout.ANCHOR)
class Conv2d(Windowed):
    """ONNX Conv: y[n,o,h,w] = bias[o] + sum of x[n,k, h*stride + r*dilation - pad, …] * w[o,k,r,s].

    Operands x[N,C,H,W], w[O,C/group,KH,KW] and, if there is one, bias[O]. Output channel o
    reads the input channels of its group only. Of 8-bit integers the sums are in int32, and x
    stands for x - ``zero_point``, which is 0 in the padding.
    """

    group: int = 1
    zero_point: int = 0
    #: of float16: whether sums are in float32 from block to block
    wide_sums: bool = False

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        x, w = _expect_images(self, operands)
        channels, (out, depth) = x.shape[1], w.static_shape[:2]
        check(
            isinstance(channels, Dim) or channels == self.group * depth,
            f"{self.name} has {channels} channels for weights {w} of {self.group} groups",
        )
        check(out % self.group == 0, f"{self.name} cannot cut {w} into {self.group} groups")
        _check_bias(self, operands, out)
        shape = (x.shape[0], out, *self.window_outputs(x, w.static_shape[2:]))
        return (TensorType(shape, sums_of(self, operands)),)

    def compute(self, x: Any, w: Any, bias: Any = None) -> Any:
        out, depth, *kernel = shape_of(w)
        per_group = out // self.group
        x = centred(x, self.zero_point)
        padded = self.padded(x)
        k, r, s = (te.reduce_axis((0, n), name) for n, name in zip((depth, *kernel), "krs"))

        def channel(o: Any) -> Any:
            return k if self.group == 1 else o // per_group * depth + k

        shape = (shape_of(x)[0], out, *self.window_shape(x, kernel))
        anchor = te.compute(
            shape,
            lambda n, o, h, w_: te.sum(
                padded[(n, channel(o), *self.at(h, w_, r, s))]
                * convert(w[o, k, r, s], dtype_of(x)),
                axis=[k, r, s],
            ),
            name="anchor",
        )
        return biased(anchor, bias, lambda n, o, h, w_: bias[o])

    def evaluate(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> Any:
        if x.dtype.name in SMALL:
            # in float64, whose sums of such products are exact, as NumPy is quick in it
            exact = replace(self, zero_point=0)
            wide = exact.evaluate(x - np.float64(self.zero_point), w.astype(np.float64))
            sums = wide.astype(np.int64) + (0 if bias is None else bias[:, None, None])
            return sums.astype(np.int32)
        padded = pad_array(x, self.pads)
        out = self.window_shape(x, w.shape[2:])
        y = self._depthwise(padded, w, out) if w.shape[1] == 1 else self._unfolded(padded, w, out)
        return (y if bias is None else y + bias[:, None, None]).astype(x.dtype)

    def _depthwise(self, x: np.ndarray, w: np.ndarray, out: Sequence[int]) -> np.ndarray:
        grouped = w.reshape(self.group, -1, *w.shape[2:])
        y = np.zeros((len(x), *grouped.shape[:2], *out), x.dtype)
        for r, s in np.ndindex(*w.shape[2:]):
            y += self.tap(x, r, s, out)[:, :, None] * grouped[:, :, r, s, None, None]
        return y.reshape(len(x), -1, *out)

    def _unfolded(self, x: np.ndarray, w: np.ndarray, out: tuple[int, int]) -> np.ndarray:
        """A matrix product a group, over as many rows at a time as ``UNFOLDED`` allows."""
        (rows, columns), taps = out, list(np.ndindex(*w.shape[2:]))
        n, channels = x.shape[:2]
        matrix = w.reshape(self.group, len(w) // self.group, -1)
        step = max(1, UNFOLDED // (n * channels * len(taps) * columns * x.itemsize))
        bands = []
        for start in range(0, rows, step):
            band = (min(step, rows - start), columns)
            below = x[:, :, start * self.strides[0] :]
            windows = np.stack([self.tap(below, r, s, band) for r, s in taps], axis=2)
            product = matrix @ windows.reshape(n, self.group, matrix.shape[2], -1)
            bands.append(product.reshape(n, -1, *band))
        return bands[0] if len(bands) == 1 else np.concatenate(bands, axis=2)

    def macs(self, operands: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].elements * math.prod(operands[1].static_shape[1:])

    samples = joined(
        _CONV_SAMPLES,
        cases(
            *(
                (
                    {"zero_point": z, "pads": (1, 0, 1, 2), "group": g},
                    random((2, 6, 5, 7), dtype),
                    random((4, 6 // g, 3, 3), weights, 1),
                    random((4,), "int32", 2),
                )
                for dtype, weights, z, g in (
                    ("int8", "int8", 3, 1), ("uint8", "int8", 9, 2), ("uint8", "uint8", 0, 1),
                    ("int8", "int16", -4, 1),
                )
            )
        ),
    )  # fmt: skip


@op("conv_transpose2d", fusion=Fusion.ANCHOR, layout=Layout.PLAIN)
class ConvTranspose2d(Windowed):
    """ONNX ConvTranspose: each x[n,k,h,w] adds x * w[k,o,:,:] to y[n,o, h*stride - pad …].

    Operands x[N,C,H,W], w[C,O/group,KH,KW] and, if there is one, bias[O].
    ``subpixel.py`` has a form that multiplies by no inserted zeros.
    """

    group: int = 1
    output_padding: tuple[int, int] = (0, 0)

    def _size(self, size: Dimension, kernel: int, axis: int) -> Dimension:
        span = (kernel - 1) * self.dilations[axis] + 1
        pads = self.pads[axis] + self.pads[axis + 2]
        stride = self.strides[axis]
        return plus(size * stride, span - stride - pads + self.output_padding[axis])

    def sizes(self, spatial: Sequence[Dimension], kernel: Sequence[int]) -> tuple[Dimension, ...]:
        """The output's sizes along the axes 2 and 3, from the input's."""
        return tuple(self._size(spatial[a], kernel[a], a) for a in (0, 1))

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        x, w = _expect_images(self, operands)
        expect_dtype(self, x, FLOATS)
        same_dtype(self, operands)
        channels, per_group = w.static_shape[:2]
        check(
            isinstance(x.shape[1], Dim) or x.shape[1] == channels,
            f"{self.name} has {x.shape[1]} channels for weights {w}",
        )
        check(channels % self.group == 0, f"{self.name} cannot cut {w} into {self.group} groups")
        out = per_group * self.group
        _check_bias(self, operands, out)
        sizes = self.sizes(x.shape[2:], w.static_shape[2:])
        for size in sizes:
            check(isinstance(size, Dim) or size > 0, f"{self.name} has pads larger than its output")
        return (x.with_shape((x.shape[0], out, *sizes)),)

    def _static_sizes(self, x: Any, kernel: Sequence[int]) -> tuple[int, ...]:
        return TensorType(self.sizes(shape_of(x)[2:], kernel)).static_shape

    def _spread(self, x: Any, kernel: Sequence[int], sizes: Sequence[int]) -> Any:
        """Zeros between the rows and columns of x, and around them."""
        n, channels, height, width = shape_of(x)
        spans = [(k - 1) * d for k, d in zip(kernel, self.dilations)]
        (sh, sw), top, left = self.strides, spans[0] - self.pads[0], spans[1] - self.pads[1]

        def element(b: Any, c: Any, h: Any, w: Any) -> Any:
            h, w = h - top, w - left
            inside = tirx.all(h >= 0, h < height * sh, w >= 0, w < width * sw)
            on_grid = tirx.all(tirx.floormod(h, sh) == 0, tirx.floormod(w, sw) == 0)
            value = x[b, c, tirx.floordiv(h, sh), tirx.floordiv(w, sw)]
            return tirx.if_then_else(tirx.all(inside, on_grid), value, constant(0, dtype_of(x)))

        shape = (n, channels, sizes[0] + spans[0], sizes[1] + spans[1])
        return te.compute(shape, element, name="pad")

    def compute(self, x: Any, w: Any, bias: Any = None) -> Any:
        channels, per_group, *kernel = shape_of(w)
        depth = channels // self.group
        sizes = self._static_sizes(x, kernel)
        spread = self._spread(x, kernel, sizes)
        k, r, s = (te.reduce_axis((0, n), name) for n, name in zip((depth, *kernel), "krs"))
        dh, dw = self.dilations

        def element(n: Any, o: Any, h: Any, w_: Any) -> Any:
            channel = k if self.group == 1 else o // per_group * depth + k
            weight = w[channel, o % per_group, kernel[0] - 1 - r, kernel[1] - 1 - s]
            return te.sum(spread[n, channel, h + r * dh, w_ + s * dw] * weight, axis=[k, r, s])

        shape = (shape_of(x)[0], per_group * self.group, *sizes)
        anchor = te.compute(shape, element, name="anchor")
        return biased(anchor, bias, lambda n, o, h, w_: bias[o])

    def evaluate(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> Any:
        n, channels, height, width = x.shape
        per_group, *kernel = w.shape[1:]
        top, left = self.pads[:2]
        (sh, sw), (dh, dw) = self.strides, self.dilations
        sizes = self._static_sizes(x, kernel)
        matrix = w.reshape(self.group, channels // self.group, -1).transpose(0, 2, 1)
        parts = matrix @ x.reshape(n, self.group, channels // self.group, -1)
        parts = parts.reshape(n, self.group * per_group, *kernel, height, width)
        full = np.zeros(
            (
                *parts.shape[:2],
                max((height - 1) * sh + (kernel[0] - 1) * dh + 1, sizes[0] + top),
                max((width - 1) * sw + (kernel[1] - 1) * dw + 1, sizes[1] + left),
            ),
            x.dtype,
        )
        for r, s in np.ndindex(*kernel):
            rows = slice(r * dh, r * dh + (height - 1) * sh + 1, sh)
            columns = slice(s * dw, s * dw + (width - 1) * sw + 1, sw)
            full[:, :, rows, columns] += parts[:, :, r, s]
        y = full[:, :, top : top + sizes[0], left : left + sizes[1]]
        return y.copy() if bias is None else y + bias[:, None, None]

    def macs(self, operands: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return operands[0].elements * math.prod(operands[1].static_shape[1:])

    samples = cases(
        ({"strides": (2, 2)}, (1, 3, 4, 5), (3, 5, 2, 2), (5,)),
        ({"strides": (2, 2), "pads": (1, 1, 1, 1)}, (2, 5, 3, 4), (5, 4, 4, 4)),
        (
            {"strides": (2, 3), "pads": (1, 0, 0, 2), "output_padding": (1, 2)},
            (1, 4, 5, 3),
            (4, 3, 3, 3),
            (3,),
        ),
        ({"dilations": (2, 1), "pads": (0, 1, 2, 0)}, (1, 1, 7, 5), (1, 3, 3, 3)),
        ({"strides": (3, 2), "group": 2}, (1, 6, 3, 3), (6, 2, 1, 3), (4,)),
        ({"strides": (2, 2), "group": 5, "pads": (1, 1, 0, 0)}, (1, 5, 4, 4), (5, 1, 3, 3)),
        ({"strides": (1, 2), "pads": (4, 4, 4, 4)}, (1, 2, 9, 9), (2, 17, 3, 3)),
    )


@op("batch_norm", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class BatchNorm(Op):
    """ONNX BatchNormalization at inference: (x - mean) / sqrt(variance + epsilon) * scale + bias.

    Operands x[N,C,…], scale[C], bias[C], mean[C], variance[C].
    """

    half = False  # variances are small, and what is divided by them is a difference

    epsilon: float = 1e-5

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 5)
        x = operands[0]
        expect_dtype(self, x, FLOATS)
        same_dtype(self, operands)
        check(x.rank >= 2, f"{self.name} takes a tensor with channels, not {x}")
        for part in operands[1:]:
            fits = part.rank == 1 and (part.shape[0] == x.shape[1] or isinstance(x.shape[1], Dim))
            check(fits, f"{self.name} of {x} has statistics {part}")
        return (x,)

    def compute(self, x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
        epsilon = constant(self.epsilon, dtype_of(x))

        def element(*i: Any) -> Any:
            c = i[1]
            return (x[i] - mean[c]) * (scale[c] / tirx.sqrt(variance[c] + epsilon)) + bias[c]

        return te.compute(shape_of(x), element, name="batch_norm")

    def evaluate(self, x: np.ndarray, *statistics: np.ndarray) -> Any:
        scale, bias, mean, variance = (s.reshape(-1, *[1] * (x.ndim - 2)) for s in statistics)
        epsilon = np.asarray(self.epsilon, x.dtype)
        return (x - mean) * (scale / np.sqrt(variance + epsilon)) + bias

    samples = cases(
        *(
            ({"epsilon": e}, shape, (shape[1],), (shape[1],), (shape[1],), v)
            for e, shape, v in (
                (1e-5, (2, 3, 5, 7), np.array([0.5, 2.0, 1e-3], "f")),
                (1e-2, (1, 5), np.linspace(0.1, 3, 5, dtype="f")),
                (1e-3, (2, 1, 3), np.array([0.7], "f")),
            )
        )
    )
