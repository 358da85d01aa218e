"""Resize of the axes 2 and 3, on [N,C,H,W] and [N,C/c,H,W,c] alike.

Coordinates are float32 in ONNX Runtime's order of operations, so that ties round as they do
there. In kernels an index is integer arithmetic wherever a line through its table exists
(``line_through``), so that schedules see what is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from armlet.compiler.ir import TensorType

from .helpers import (
    FLOATS,
    cases,
    check,
    dtype_of,
    expect_dtype,
    expect_operands,
    expect_rank,
    joined,
    shape_of,
)
from .lazy import te, tirx
from .registry import Fusion, Layout, Op, op


def _symmetric(i: Any, scale: float, size: int, out: int) -> Any:
    single = np.float32
    adjustment = single(out) / (single(scale) * single(size))
    offset = single(size) / single(2) * (single(1) - adjustment)
    return (i + 0.5) / scale + float(offset) - 0.5


#: (output index, scale, sizes of input and output) -> coordinate in the input. The index is a
#: float32 array or expression, and the scale is exact in float32.
COORDINATES: dict[str, Callable[[Any, float, int, int], Any]] = {
    "asymmetric": lambda i, scale, size, out: i / scale,
    "half_pixel": lambda i, scale, size, out: (i + 0.5) / scale - 0.5,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda i, scale, size, out: (
        (i + 0.5) / scale - 0.5 if out > 1 else i * 0.0
    ),
    "align_corners": lambda i, scale, size, out: (
        i * float(size - 1) / float(out - 1) if out > 1 else i * 0.0
    ),
}

#: coordinate -> whole coordinate; (array or expression, its floor and ceil)
NEAREST: dict[str, Callable[[Any, Any, Any], Any]] = {
    "round_prefer_floor": lambda x, floor, ceil: ceil(x - 0.5),
    "round_prefer_ceil": lambda x, floor, ceil: floor(x + 0.5),
    "floor": lambda x, floor, ceil: floor(x),
    "ceil": lambda x, floor, ceil: ceil(x),
}


def simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of smallest denominator in the open interval (Stern and Brocot's tree)."""
    whole = low.numerator // low.denominator
    if whole + 1 < high:
        return Fraction(whole + 1)
    low, high = low - whole, high - whole
    if low == 0:
        return whole + Fraction(1, high.denominator // high.numerator + 1)
    return whole + 1 / simplest_between(1 / high, 1 / low)


def line_through(table: np.ndarray) -> tuple[int, int, int] | None:
    """Integers (a, b, d) with table[i] == (a * i + b) // d for every i, if there are any.

    table[i] <= slope * i + offset < table[i] + 1 bounds the slope by each pair of entries.
    """
    table = table.astype("int64")
    low, high = Fraction(-1), Fraction(int(table.max() - table.min()) + 2)
    for step in range(1, len(table)):
        rises = table[step:] - table[:-step]
        low = max(low, Fraction(int(rises.max()) - 1, step))
        high = min(high, Fraction(int(rises.min()) + 1, step))
        if low >= high:
            return None
    slope = simplest_between(low, high)
    a, d = slope.numerator, slope.denominator
    line = a * np.arange(len(table))
    b = int((table * d - line).max())
    return (a, b, d) if np.abs(line + b).max() < 2**31 else None


@dataclass(frozen=True)
class Axis:
    """One axis of a resize."""

    size: int
    out: int
    scale: float
    coordinate_mode: str
    #: how ``whole`` rounds; "floor" for interpolation
    nearest_mode: str

    @property
    def identity(self) -> bool:
        return self.size == self.out and self.scale == 1

    def coordinate(self, index: Any) -> Any:
        """Of a float32 array or expression."""
        scale = float(np.float32(self.scale))
        return COORDINATES[self.coordinate_mode](index, scale, self.size, self.out)

    @cached_property
    def coordinates(self) -> np.ndarray:
        return self.coordinate(np.arange(self.out, dtype=np.float32))

    @cached_property
    def wholes(self) -> np.ndarray:
        """The rounded coordinates as int64, which may lie outside."""
        return NEAREST[self.nearest_mode](self.coordinates, np.floor, np.ceil).astype("int64")

    @cached_property
    def line(self) -> tuple[int, int, int] | None:
        return line_through(self.wholes)

    def whole(self, index: Any) -> Any:
        """``wholes`` at an index that is an expression."""
        if self.line is None:
            x = self.coordinate(index.astype("float32"))
            return NEAREST[self.nearest_mode](x, tirx.floor, tirx.ceil).astype("int32")
        a, b, d = self.line
        return index * a + b if d == 1 else tirx.floordiv(index * a + b, d)

    def inside(self, whole: Any, offset: int = 0) -> Any:
        """``whole + offset``, an expression, clamped where it needs to be."""
        shifted = whole + offset if offset else whole
        if self.wholes.max() + offset >= self.size:
            shifted = tirx.min(shifted, self.size - 1)
        return tirx.max(shifted, 0) if self.wholes.min() + offset < 0 else shifted

    def clip(self, wholes: np.ndarray) -> np.ndarray:
        return np.clip(wholes, 0, self.size - 1)


def cubic_weights(t: Any, a: float) -> list[Any]:
    """Keys' weights of the four points around a fraction ``t`` past the second."""

    def near(u: Any) -> Any:
        return ((a + 2) * u - (a + 3)) * u * u + 1.0

    def far(u: Any) -> Any:
        return ((a * u - 5 * a) * u + 8 * a) * u - 4 * a

    return [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]


def _resizes(mode: str) -> list[tuple[dict[str, Any], tuple[int, ...]]]:
    """Rows of samples: every way of coordinates and rounding, with sizes up, down and odd."""
    rows: list[tuple[dict[str, Any], tuple[int, ...]]] = [
        (_to((1, 3, 5, 7), (2.0, 2.0), mode, coordinate_mode="asymmetric", nearest_mode="floor")),
        (_to((1, 1, 4, 3), (3.0, 1.0), mode)),
        (_to((2, 5, 13, 7), (0.6, 1.7), mode, coordinate_mode="pytorch_half_pixel")),
        (_to((1, 17, 1, 5), (4.0, 0.3), mode, coordinate_mode="align_corners")),
        (_to((1, 2, 6, 11), (1.3, 0.5), mode, coordinate_mode="half_pixel_symmetric")),
        (_to((1, 2, 5, 3, 4), (2.0, 2.5), mode)),
    ]
    for rounding in NEAREST if mode == "nearest" else ():
        rows.append(_to((1, 1, 9, 10), (0.7, 2.5), mode, nearest_mode=rounding))
    if mode == "cubic":
        rows.append(_to((1, 1, 5, 4), (1.5, 2.0), mode, exclude_outside=True, cubic_coeff_a=-0.5))
    return rows


def _to(
    shape: tuple[int, ...], scale: tuple[float, float], mode: str, **attributes: Any
) -> tuple[dict[str, Any], tuple[int, ...]]:
    size = tuple(max(1, int(n * s)) for n, s in zip(shape[2:4], scale))
    return {"size": size, "scale": scale, "mode": mode, **attributes}, shape


@op("resize", fusion=Fusion.ANCHOR, layout=Layout.SPATIAL)
class Resize(Op):
    """ONNX Resize and Upsample of two spatial axes to ``size``.

    ``scale`` is what the model gives (or size / input size): coordinates depend on it.
    """

    size: tuple[int, int]
    scale: tuple[float, float]
    mode: str = "nearest"
    coordinate_mode: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    cubic_coeff_a: float = -0.75
    exclude_outside: bool = False

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,) = operands
        expect_rank(self, x, 4, 5)
        for value, known in (
            (self.mode, ("nearest", "linear", "cubic")),
            (self.coordinate_mode, COORDINATES),
            (self.nearest_mode, NEAREST),
        ):
            check(value in known, f"{self.name} knows {', '.join(known)}, not {value!r}")
        if self.mode != "nearest":
            expect_dtype(self, x, FLOATS)
        check(min(self.size) > 0 and min(self.scale) > 0, f"{self.name} to size {self.size}")
        return (x.with_shape((*x.shape[:2], *self.size, *x.shape[4:])),)

    def axes(self, shape: Sequence[int]) -> tuple[Axis, Axis]:
        rounding = self.nearest_mode if self.mode == "nearest" else "floor"
        height, width = (
            Axis(shape[2 + a], self.size[a], self.scale[a], self.coordinate_mode, rounding)
            for a in (0, 1)
        )
        return height, width

    # -- what an output element reads along one axis: [(index, weight)] -----------------------

    def _weights(self, axis: Axis, t: Any, wholes: Any, select: Any) -> list[Any]:
        """Of the points around; ``t`` is the fraction past ``wholes``."""
        if self.mode == "linear":
            return [1.0 - t, t]
        weights = cubic_weights(t, self.cubic_coeff_a)
        if not self.exclude_outside:
            return weights
        places = [wholes + offset for offset in self._offsets]
        kept = [select(p, axis.size, w) for p, w in zip(places, weights)]
        total = kept[0] + kept[1] + kept[2] + kept[3]
        return [w / total for w in kept]

    @property
    def _offsets(self) -> Sequence[int]:
        return {"nearest": (0,), "linear": (0, 1), "cubic": (-1, 0, 1, 2)}[self.mode]

    def _reads(self, axis: Axis, index: Any, dtype: str) -> list[tuple[Any, Any]]:
        """As expressions."""
        if axis.identity:
            return [(index, None)]
        whole = axis.whole(index)
        if self.mode == "nearest":
            return [(axis.inside(whole), None)]
        x = axis.coordinate(index.astype("float32"))
        if self.mode == "linear":
            # beyond the border the nearest element counts alone
            x = tirx.max(tirx.min(x, float(axis.size - 1)), 0.0)
            whole = axis.inside(whole)
        t = x - whole.astype("float32")
        weights = self._weights(
            axis, t, whole, lambda p, n, w: tirx.Select(tirx.all(p >= 0, p < n), w, 0.0 * w)
        )
        places = [axis.inside(whole, offset) for offset in self._offsets]
        return [(p, w.astype(dtype)) for p, w in zip(places, weights)]

    def _tables(self, axis: Axis) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """As arrays over the output's indices."""
        if self.mode == "nearest" or axis.identity:
            return [(np.arange(axis.out) if axis.identity else axis.clip(axis.wholes), None)]
        x, wholes = axis.coordinates, axis.wholes
        if self.mode == "linear":
            x, wholes = np.clip(x, np.float32(0), np.float32(axis.size - 1)), axis.clip(wholes)
        t = x - wholes.astype(np.float32)
        weights = self._weights(
            axis, t, wholes, lambda p, n, w: np.where((p >= 0) & (p < n), w, np.float32(0))
        )
        return [(axis.clip(wholes + offset), w) for offset, w in zip(self._offsets, weights)]

    # -- the operator -------------------------------------------------------------------------

    def compute(self, x: Any) -> Any:
        shape, dtype = shape_of(x), dtype_of(x)
        height, width = self.axes(shape)

        def element(*i: Any) -> Any:
            columns = self._reads(width, i[3], dtype)

            def row(h: Any) -> Any:
                return _weighted([(x[(*i[:2], h, w, *i[4:])], weight) for w, weight in columns])

            return _weighted([(row(h), weight) for h, weight in self._reads(height, i[2], dtype)])

        return te.compute((*shape[:2], *self.size, *shape[4:]), element, name="anchor")

    def evaluate(self, x: np.ndarray) -> Any:
        for a, axis in zip((2, 3), self.axes(x.shape)):
            shape = [1] * x.ndim
            shape[a] = axis.out
            x = _weighted(
                [
                    (x.take(index, a), None if w is None else w.astype(x.dtype).reshape(shape))
                    for index, w in self._tables(axis)
                ]
            )
        return x

    samples = joined(
        cases(*_resizes("nearest"), *_resizes("linear")),
        cases(*_resizes("cubic"), tolerance=1e-4),
        cases(*_resizes("nearest")[:2], dtype="uint8"),
    )


def _weighted(terms: Sequence[tuple[Any, Any]]) -> Any:
    if terms[0][1] is None:
        return terms[0][0]
    total = terms[0][0] * terms[0][1]
    for value, weight in terms[1:]:
        total = total + value * weight
    return total
