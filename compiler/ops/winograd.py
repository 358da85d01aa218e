"""Winograd's convolution F(m, 3) on channel-blocked data: fewer products, transformed operands.

Its products per output and channel are ((m+2)/m)^2 instead of 9: 4, 2.25, 1.78 for m = 2, 4, 6.
``pack_winograd_weight`` makes the weights that it reads, at compile time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np

from armlet.compiler.ir import TensorType

from .blocked import blocks, expect_bias, expect_blocked, pack_array, pack_bias, unpack_array
from .helpers import (
    check,
    constant,
    dtype_of,
    expect_operands,
    expect_rank,
    random,
    same_dtype,
    shape_of,
)
from .lazy import te, tirx
from .registry import Fusion, Layout, Op, Sample, op
from .toom_cook import POINTS, TAPS, Matrix, array, transforms
from .window import biased, output_size, pad_array, pad_stage


def pack_winograd_weight(w: np.ndarray, tile: int, out_block: int) -> np.ndarray:
    """[O, C, 3, 3] -> [(m+2)^2, ceil(O/o), C, o] with m = ``tile``; zeros beyond O.

    Transformed in float64 and rounded once.
    """
    out, depth = w.shape[:2]
    g = array(transforms(tile).g)
    u = np.einsum("ir,ocrs,js->ijoc", g, w.astype(np.float64), g).reshape(-1, out, depth)
    padded = np.pad(u, ((0, 0), (0, -out % out_block), (0, 0)))
    split = padded.reshape(len(u), -1, out_block, depth)
    return np.ascontiguousarray(split.transpose(0, 1, 3, 2), w.dtype)


@op("conv2d_winograd", fusion=Fusion.ANCHOR, layout=Layout.PLAIN)
class Conv2dWinograd(Op):
    """conv2d of 3x3 kernels, stride 1, by tiles of ``tile`` x ``tile`` outputs.

    Operands x[N,Cb,H,W,c], u[(m+2)^2,Ob,C,o] of ``pack_winograd_weight`` and, if there is one,
    bias[1,Ob,1,1,o]; result [N,Ob,OH,OW,o]. No lane beyond ``in_channels`` is reduced over.
    """

    tile: int = field(kw_only=True)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    in_channels: int = field(kw_only=True)
    out_channels: int = field(kw_only=True)

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 2, 3)
        x, u = operands[:2]
        same_dtype(self, operands)
        check(self.tile in POINTS, f"{self.name} has tiles of {self.tile}")
        check(len(self.pads) == 4 and min(self.pads) >= 0, f"{self.name} has pads {self.pads}")
        expect_blocked(self, x, self.in_channels)
        expect_rank(self, u, 4)
        places, ob, depth, o = u.static_shape
        check(
            (places, depth) == ((self.tile + TAPS - 1) ** 2, self.in_channels)
            and ob == blocks(self.out_channels, o),
            f"{self.name} of {self.in_channels} to {self.out_channels} channels has weights {u}",
        )
        expect_bias(self, operands, (1, ob, 1, 1, o))
        top, left, bottom, right = self.pads
        h = output_size(x.shape[2], TAPS, 1, top, bottom, 1)
        w = output_size(x.shape[3], TAPS, 1, left, right, 1)
        check(all(not isinstance(n, int) or n > 0 for n in (h, w)), f"{self.name} of small {x}")
        return (x.with_shape((x.shape[0], ob, h, w, o)),)

    def _sizes(self, x: Any, u: Any) -> tuple[int, ...]:
        """n, output blocks, output height and width, lanes; tiles down and across."""
        types = [TensorType(shape_of(v)) for v in (x, u)]
        n, ob, h, w, o = self.infer(types)[0].static_shape
        return n, ob, h, w, o, -(-h // self.tile), -(-w // self.tile)

    def compute(self, x: Any, u: Any, bias: Any = None) -> Any:
        m, t = self.tile, transforms(self.tile)
        n, ob, h, w, o, down, across = self._sizes(x, u)
        block, edge = shape_of(x)[4], m + TAPS - 1
        top, left, bottom, right = self.pads
        more = (down * m - h, across * m - w)
        padded = pad_stage(x, (top, left, bottom + more[0], right + more[1]), 0.0)
        tiled = te.compute(
            (edge, edge, n, self.in_channels, down, across),
            lambda i, j, b, k, y, z: _twice(
                t.b, i, j, lambda r, s: padded[b, k // block, y * m + r, z * m + s, k % block]
            ),
            name="tiled",
        )
        k = te.reduce_axis((0, self.in_channels), "k")
        products = te.compute(
            (edge, edge, n, ob, down, across, o),
            lambda i, j, b, out, y, z, v: te.sum(
                tiled[i, j, b, k, y, z] * u[i * edge + j, out, k, v], axis=k
            ),
            name="products",
        )
        anchor = te.compute(
            (n, ob, h, w, o),
            lambda b, out, y, z, v: _twice(
                t.a, y % m, z % m, lambda r, s: products[r, s, b, out, y // m, z // m, v]
            ),
            name="anchor",
        )
        return biased(anchor, bias, lambda b, out, y, z, v: bias[0, out, 0, 0, v])

    def evaluate(self, x: np.ndarray, u: np.ndarray, bias: np.ndarray | None = None) -> Any:
        """The plain algorithm in float64."""
        m, t = self.tile, transforms(self.tile)
        n, ob, h, w, o, down, across = self._sizes(x, u)
        a, b, edge = array(t.a), array(t.b), m + TAPS - 1
        top, left, bottom, right = self.pads
        bottom, right = bottom + down * m - h, right + across * m - w
        plain = unpack_array(x, self.in_channels).astype(np.float64)
        padded = pad_array(plain, (top, left, bottom, right))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (edge, edge), axis=(2, 3))
        tiled = np.einsum("ir,nkyzrs,js->ijnyzk", b, windows[:, :, ::m, ::m], b, optimize=True)
        weights = u.transpose(0, 2, 1, 3).reshape(edge, edge, 1, 1, self.in_channels, ob * o)
        products = tiled @ weights.astype(np.float64)
        y = np.einsum("ir,rsnyzo,js->noyizj", a, products, a, optimize=True)
        y = y.reshape(n, ob * o, down * m, across * m)[:, :, :h, :w]
        y = pack_array(y.astype(x.dtype), o)
        return y if bias is None else y + bias

    def macs(self, operands: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Those of direct convolution, so that algorithms compare."""
        n, _, h, w, _ = outputs[0].static_shape
        return n * self.out_channels * h * w * self.in_channels * TAPS**2

    @classmethod
    def samples(cls) -> list[Sample]:
        found = []
        for tile, pads, shape, out, block, out_block, bias in (
            (2, (1, 1, 1, 1), (1, 17, 7, 5), 5, 16, 8, True),
            (4, (0, 0, 0, 0), (2, 5, 9, 10), 24, 8, 16, False),
            (4, (1, 0, 2, 1), (1, 8, 6, 3), 8, 4, 4, True),
            (6, (1, 1, 1, 1), (1, 3, 7, 13), 4, 3, 4, True),
        ):
            x, w = random(shape), random((out, shape[1], TAPS, TAPS), seed=1)
            packed = pack_array(x, block)
            packed[:, -1, :, :, (shape[1] - 1) % block + 1 :] = np.nan
            operands = [packed, pack_winograd_weight(w, tile, out_block)]
            operands += [pack_bias(random((out,), seed=2), out_block)] * bias
            made = cls(tile=tile, pads=pads, in_channels=shape[1], out_channels=out)
            found.append(Sample(made, tuple(operands)))
        return found


def _combined(matrix: Matrix, row: Any, value: Any) -> Any:
    """sum over c of matrix[row][c] * value(c), for a ``row`` known at run time."""
    rows = []
    for coefficients in matrix:
        terms = [
            value(c) * constant(float(f), dtype_of(value(c)))
            for c, f in enumerate(coefficients)
            if f
        ]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        rows.append(total)
    chosen = rows[-1]
    for i in reversed(range(len(rows) - 1)):
        chosen = tirx.Select(row == i, rows[i], chosen)
    return chosen


def _twice(matrix: Matrix, i: Any, j: Any, value: Any) -> Any:
    """Element (i, j) of ``matrix`` x value x its transpose."""
    return _combined(matrix, i, lambda r: _combined(matrix, j, lambda s: value(r, s)))
