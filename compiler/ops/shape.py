"""Operators that move elements about by fixed rules: reshape, transpose, concat, slice, pad, …

Attributes have an entry for every axis, counted from the front; the front ends normalise
what their formats leave out. ``gather.py`` has those whose indices are data.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from armlet.compiler.ir import Dim, Dimension, Shape, TensorType

from .helpers import (
    cases,
    check,
    constant,
    dtype_of,
    expect_operands,
    expect_rank,
    joined,
    normalize_axis,
    same_dtype,
    shape_of,
)
from .lazy import te, tirx
from .registry import Fusion, Layout, Op, op


def dimensions(sizes: Iterable[Dimension | str]) -> Shape:
    """Sizes of an attribute; a ``Dim`` is text there, in the IR's text form."""
    return tuple(Dim(s) if isinstance(s, str) else s for s in sizes)


def static(shape: Shape) -> list[int]:
    """The sizes of an attribute that has no symbolic one."""
    return [*TensorType(shape).static_shape]


def flat_index(indices: Sequence[Any], shape: Sequence[int]) -> Any:
    """Where an element lies in row-major order."""
    flat: Any = 0
    for index, size in zip(indices, shape):
        flat = index if isinstance(flat, int) and flat == 0 else flat * size + index
    return flat


def unflat_index(flat: Any, shape: Sequence[int]) -> list[Any]:
    """The inverse of ``flat_index``."""
    found = []
    for axis, size in enumerate(shape):
        index = flat // math.prod(shape[axis + 1 :])
        found.append(0 if size == 1 else index % size if axis else index)
    return found


@op("reshape", fusion=Fusion.VIEW, layout=Layout.PLAIN)
class Reshape(Op):
    """ONNX Reshape, Flatten, Squeeze, Unsqueeze: the same elements in row-major order."""

    shape: Shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", dimensions(self.shape))

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,) = operands
        result = x.with_shape(self.shape)
        if x.is_static and result.is_static:
            check(x.elements == result.elements, f"{self.name} cannot turn {x} into {result}")
        return (result,)

    def compute(self, x: Any) -> Any:
        shape, source = static(self.shape), shape_of(x)
        return te.compute(
            shape, lambda *i: x[tuple(unflat_index(flat_index(i, shape), source))], name="reshape"
        )

    def evaluate(self, x: np.ndarray) -> Any:
        return x.reshape(static(self.shape))

    samples = cases(
        ({"shape": (3, 35)}, (5, 3, 7)),
        ({"shape": (1, 17, 1)}, (17,)),
        ({"shape": (2, 3, 4)}, (4, 3, 2)),
        ({"shape": ()}, (1, 1)),
    )


@op("transpose", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class Transpose(Op):
    """ONNX Transpose: axis i of the result is axis perm[i] of the operand."""

    perm: tuple[int, ...]

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,) = operands
        check(sorted(self.perm) == list(range(x.rank)), f"{self.name} by {self.perm} of {x}")
        return (x.with_shape(x.shape[p] for p in self.perm),)

    def compute(self, x: Any) -> Any:
        shape = shape_of(x)
        back = [self.perm.index(axis) for axis in range(len(shape))]
        return te.compute(
            [shape[p] for p in self.perm], lambda *i: x[tuple(i[b] for b in back)], name="transpose"
        )

    def evaluate(self, x: np.ndarray) -> Any:
        return np.ascontiguousarray(x.transpose(self.perm)).reshape([x.shape[p] for p in self.perm])

    samples = cases(
        ({"perm": (1, 0)}, (5, 17)),
        ({"perm": (0, 2, 3, 1)}, (2, 3, 5, 7)),
        ({"perm": (2, 0, 1)}, (1, 13, 3)),
        ({"perm": (0, 1, 4, 2, 3)}, (1, 3, 2, 5, 4)),
    )


@op("concat", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class Concat(Op):
    """ONNX Concat: the operands one after the other along an axis."""

    axis: int

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1, len(operands))
        same_dtype(self, operands)
        first = operands[0]
        axis = normalize_axis(self, self.axis, first.rank)
        total: Dimension = 0
        for x in operands:
            expect_rank(self, x, first.rank)
            others = zip(_without(x.shape, axis), _without(first.shape, axis))
            fits = all(a == b or isinstance(a, Dim) or isinstance(b, Dim) for a, b in others)
            check(fits, f"{self.name} on axis {axis} cannot join {first} and {x}")
            total = x.shape[axis] + total
        return (first.with_shape((*first.shape[:axis], total, *first.shape[axis + 1 :])),)

    def compute(self, *tensors: Any) -> Any:
        shapes = [shape_of(t) for t in tensors]
        axis = self.axis % len(shapes[0])
        starts = list(itertools.accumulate((s[axis] for s in shapes), initial=0))

        def element(*i: Any) -> Any:
            def part(n: int) -> Any:
                return tensors[n][(*i[:axis], i[axis] - starts[n], *i[axis + 1 :])]

            value = part(len(tensors) - 1)
            for n in reversed(range(len(tensors) - 1)):
                value = tirx.if_then_else(i[axis] < starts[n + 1], part(n), value)
            return value

        shape = (*shapes[0][:axis], starts[-1], *shapes[0][axis + 1 :])
        return te.compute(shape, element, name="concat")

    def evaluate(self, *arrays: np.ndarray) -> Any:
        return np.concatenate(arrays, axis=self.axis)

    samples = cases(
        ({"axis": 1}, (2, 3, 5), (2, 1, 5), (2, 17, 5)),
        ({"axis": -1}, (3, 7), (3, 4)),
        ({"axis": 0}, (5,)),
        ({"axis": 1}, (1, 2, 3, 3, 4), (1, 1, 3, 3, 4)),
    )


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


@op("slice", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class Slice(Op):
    """ONNX Slice: element i of the result is element starts + i * steps, on every axis.

    The front end has resolved ends, negative starts and axes; a step may be negative.
    """

    starts: tuple[int, ...]
    sizes: Shape
    steps: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", dimensions(self.sizes))

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,) = operands
        lengths = {len(self.starts), len(self.sizes), len(self.steps)}
        check(lengths == {x.rank}, f"{self.name} takes starts, sizes, steps for all axes of {x}")
        for start, size, step, held in zip(self.starts, self.sizes, self.steps, x.shape):
            if isinstance(size, int) and isinstance(held, int):
                last = start + (size - 1) * step
                inside = size == 0 or (0 <= start < held and 0 <= last < held)
                check(step and size >= 0 and inside, f"{self.name} reaches beyond {x}")
        return (x.with_shape(self.sizes),)

    def compute(self, x: Any) -> Any:
        def element(*i: Any) -> Any:
            ranges = zip(i, self.starts, self.steps)
            return x[tuple(index * step + start for index, start, step in ranges)]

        return te.compute(static(self.sizes), element, name="slice")

    def evaluate(self, x: np.ndarray) -> Any:
        def one(start: int, size: int, step: int) -> slice:
            end = start + size * step
            return slice(start, end if end >= 0 else None, step) if size else slice(0, 0)

        return x[tuple(map(one, self.starts, static(self.sizes), self.steps))].copy()

    samples = cases(
        ({"starts": (0, 1), "sizes": (2, 3), "steps": (1, 1)}, (3, 5)),
        ({"starts": (4, 0, 1), "sizes": (5, 1, 3), "steps": (-1, 1, 3)}, (5, 3, 8)),
        ({"starts": (12,), "sizes": (4,), "steps": (-4,)}, (13,)),
        ({"starts": (0, 3, 0, 0), "sizes": (1, 14, 2, 3), "steps": (1, 1, 2, 2)}, (1, 17, 3, 5)),
    )


@op("pad", fusion=Fusion.INJECTIVE, layout=Layout.SPATIAL)
class Pad(Op):
    """ONNX Pad: ``before`` and ``after`` more elements at the ends of every axis.

    They are ``value`` (mode "constant"), the mirrored operand ("reflect"), its last element
    ("edge"), or the operand once more ("wrap").
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    mode: str = "constant"
    value: float = 0.0

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,) = operands
        check(self.mode in ("constant", "reflect", "edge", "wrap"), f"{self.name} mode {self.mode}")
        check(
            len(self.before) == len(self.after) == x.rank,
            f"{self.name} takes before and after for all axes of {x}",
        )
        for size, before, after in zip(x.shape, self.before, self.after):
            check(min(before, after) >= 0, f"{self.name} cannot crop: {self.before}, {self.after}")
            if isinstance(size, int) and self.mode != "constant":
                most = size - (self.mode == "reflect")
                fits = size > 0 if self.mode == "edge" else max(before, after) <= most
                check(
                    fits or before == after == 0, f"{self.name} by {self.mode} is too much for {x}"
                )
        sizes = zip(x.shape, self.before, self.after)
        return (x.with_shape(size + (before + after) for size, before, after in sizes),)

    def blocked(self, block: int) -> Op | None:
        """Channels must stay where they are."""
        if self.before[1] or self.after[1]:
            return None
        return dataclasses.replace(self, before=(*self.before, 0), after=(*self.after, 0))

    def compute(self, x: Any) -> Any:
        sizes = shape_of(x)
        edges = [*zip(sizes, self.before, self.after)]
        shape = [size + before + after for size, before, after in edges]
        if self.mode != "constant":
            return te.compute(
                shape, lambda *i: x[tuple(map(self._source, i, *zip(*edges)))], name="padding"
            )

        def element(*i: Any) -> Any:
            own = [a - before for a, before in zip(i, self.before)]
            inside = [a >= 0 for a, (_, before, _) in zip(own, edges) if before]
            inside += [a < size for a, (size, _, after) in zip(own, edges) if after]
            if not inside:
                return x[tuple(own)]
            outside = constant(self.value, dtype_of(x))
            return tirx.if_then_else(tirx.all(*inside), x[tuple(own)], outside)

        return te.compute(shape, element, name="padding")

    def _source(self, index: Any, size: int, before: int, after: int) -> Any:
        """Which element of an axis is repeated at ``index``."""
        if not before and not after:
            return index
        at = index - before
        if self.mode == "edge":
            return tirx.max(tirx.min(at, size - 1), 0)
        if self.mode == "wrap":
            return tirx.floormod(at, size)
        folded = tirx.max(at, -at) if before else at
        return tirx.min(folded, 2 * (size - 1) - folded) if after else folded

    def evaluate(self, x: np.ndarray) -> Any:
        edges = [*zip(self.before, self.after)]
        if self.mode == "constant":
            return np.pad(x, edges, constant_values=np.asarray(self.value).astype(x.dtype))
        return np.pad(x, edges, mode=self.mode)  # type: ignore[call-overload]

    samples = joined(
        cases(
            ({"before": (0, 0, 1, 2), "after": (0, 0, 3, 0)}, (1, 3, 5, 7)),
            ({"before": (0, 1), "after": (2, 0), "value": -1.5}, (5, 17)),
            ({"before": (0, 0), "after": (0, 0)}, (3, 4)),
            ({"before": (0, 0, 2, 1), "after": (0, 0, 1, 4), "mode": "reflect"}, (2, 1, 3, 5)),
            ({"before": (3,), "after": (0,), "mode": "reflect"}, (4,)),
            ({"before": (0, 3, 1), "after": (2, 0, 0), "mode": "edge"}, (3, 1, 4)),
            ({"before": (0, 3), "after": (2, 1), "mode": "wrap"}, (3, 5)),
            ({"before": (0, 0, 1, 1, 0), "after": (0, 0, 0, 1, 0)}, (1, 2, 3, 3, 4)),
        ),
        cases(({"before": (1, 0), "after": (1, 2), "value": 7.0}, (3, 5)), dtype="int64"),
    )


@op("expand", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class Expand(Op):
    """ONNX Expand: broadcast to ``shape``, which is the shape of the result."""

    shape: Shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", dimensions(self.shape))

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,) = operands
        check(x.rank <= len(self.shape), f"{self.name} cannot turn {x} into {self.shape}")
        for held, wanted in zip(x.shape, self.shape[len(self.shape) - x.rank :]):
            fits = held in (1, wanted) or isinstance(held, Dim) or isinstance(wanted, Dim)
            check(fits, f"{self.name} cannot turn {x} into {x.with_shape(self.shape)}")
        return (x.with_shape(self.shape),)

    def compute(self, x: Any) -> Any:
        sizes = shape_of(x)

        def element(*i: Any) -> Any:
            own = i[len(i) - len(sizes) :]
            return x[tuple(0 if size == 1 else a for a, size in zip(own, sizes))]

        return te.compute(static(self.shape), element, name="expand")

    def evaluate(self, x: np.ndarray) -> Any:
        return np.broadcast_to(x, static(self.shape)).copy()

    samples = joined(
        cases(
            ({"shape": (2, 3, 5)}, (3, 1)),
            ({"shape": (4, 1, 17)}, (1, 1, 17)),
            ({"shape": (3,)}, ()),
        ),
        cases(({"shape": (5, 7)}, (5, 1)), dtype="int64"),
    )


@op("tile", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class Tile(Op):
    """ONNX Tile: the operand repeated along each axis."""

    repeats: tuple[int, ...]

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,) = operands
        check(len(self.repeats) == x.rank, f"{self.name} takes repeats for all axes of {x}")
        check(all(r >= 0 for r in self.repeats), f"{self.name} has repeats {self.repeats}")
        return (x.with_shape(d * r for d, r in zip(x.shape, self.repeats)),)

    def compute(self, x: Any) -> Any:
        sizes = shape_of(x)

        def own(index: Any, size: int, repeat: int) -> Any:
            return 0 if size == 1 else index if repeat == 1 else index % size

        return te.compute(
            [n * r for n, r in zip(sizes, self.repeats)],
            lambda *i: x[tuple(map(own, i, sizes, self.repeats))],
            name="tile",
        )

    def evaluate(self, x: np.ndarray) -> Any:
        return np.tile(x, self.repeats)

    samples = cases(
        ({"repeats": (1, 3)}, (5, 7)),
        ({"repeats": (2, 1, 4)}, (3, 2, 1)),
        ({"repeats": (3,)}, (17,)),
    )


def _expect_blocksize(op: Op, x: TensorType, blocksize: int) -> None:
    expect_rank(op, x, 4, 5)
    check(blocksize > 0, f"{op.name} has blocksize {blocksize}")


@op("depth_to_space", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class DepthToSpace(Op):
    """ONNX DepthToSpace: b * b channels become a square of b * b pixels.

    Channels are split as [b, b, C] (mode "DCR") or as [C, b, b] ("CRD"). A fifth axis, lanes
    of a block, stays as it is.
    """

    blocksize: int
    mode: str = "DCR"

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,), b = operands, self.blocksize
        _expect_blocksize(self, x, b)
        check(self.mode in ("DCR", "CRD"), f"{self.name} has mode {self.mode!r}")
        n, channels, h, w, *lanes = x.shape
        whole = isinstance(channels, Dim) or channels % (b * b) == 0
        check(whole, f"{self.name} by {b} cannot split the channels of {x}")
        return (x.with_shape((n, channels // (b * b), h * b, w * b, *lanes)),)

    def compute(self, x: Any) -> Any:
        n, channels, height, width, *lanes = shape_of(x)
        b, depth = self.blocksize, channels // self.blocksize**2

        def element(batch: Any, c: Any, h: Any, w: Any, *lane: Any) -> Any:
            corner = h % b * b + w % b
            channel = corner * depth + c if self.mode == "DCR" else c * b * b + corner
            return x[(batch, channel, h // b, w // b, *lane)]

        shape = (n, depth, height * b, width * b, *lanes)
        return te.compute(shape, lambda *i: element(*i), name="depth_to_space")

    def place(self, indices: Sequence[Any], x: TensorType) -> list[Any]:
        """Where an element of ``x`` goes."""
        (n, channel, h, w, *lane), b = indices, self.blocksize
        depth = x.static_shape[1] // (b * b)
        inner = depth if self.mode == "DCR" else b * b
        corner, c = channel // inner, channel % inner
        if self.mode == "CRD":
            corner, c = c, corner
        return [n, c, h * b + corner // b, w * b + corner % b, *lane]

    def evaluate(self, x: np.ndarray) -> Any:
        (n, channels, h, w, *lanes), b = x.shape, self.blocksize
        depth = channels // (b * b)
        if self.mode == "DCR":
            split = x.reshape(n, b, b, depth, h, w, -1).transpose(0, 3, 4, 1, 5, 2, 6)
        else:
            split = x.reshape(n, depth, b, b, h, w, -1).transpose(0, 1, 4, 2, 5, 3, 6)
        return split.reshape(n, depth, h * b, w * b, *lanes)

    samples = cases(
        ({"blocksize": 2}, (1, 12, 3, 5)),
        ({"blocksize": 3, "mode": "CRD"}, (2, 9, 2, 1)),
        ({"blocksize": 1}, (1, 5, 3, 3)),
        ({"blocksize": 2}, (1, 8, 1, 3, 4)),
    )


@op("space_to_depth", fusion=Fusion.INJECTIVE, layout=Layout.PLAIN)
class SpaceToDepth(Op):
    """ONNX SpaceToDepth: a square of b * b pixels becomes channels, in the order [b, b, C].

    A fifth axis, lanes of a block, stays as it is.
    """

    blocksize: int

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 1)
        (x,), b = operands, self.blocksize
        _expect_blocksize(self, x, b)
        n, channels, h, w, *lanes = x.shape
        for size in (h, w):
            whole = isinstance(size, Dim) or size % b == 0
            check(whole, f"{self.name} by {b} cannot split the pixels of {x}")
        return (x.with_shape((n, channels * (b * b), h // b, w // b, *lanes)),)

    def compute(self, x: Any) -> Any:
        (n, channels, height, width, *lanes), b = shape_of(x), self.blocksize

        def element(batch: Any, c: Any, h: Any, w: Any, *lane: Any) -> Any:
            corner = c // channels
            return x[(batch, c % channels, h * b + corner // b, w * b + corner % b, *lane)]

        shape = (n, channels * b * b, height // b, width // b, *lanes)
        return te.compute(shape, lambda *i: element(*i), name="space_to_depth")

    def evaluate(self, x: np.ndarray) -> Any:
        (n, channels, h, w, *lanes), b = x.shape, self.blocksize
        split = x.reshape(n, channels, h // b, b, w // b, b, -1).transpose(0, 3, 5, 1, 2, 4, 6)
        return split.reshape(n, channels * b * b, h // b, w // b, *lanes)

    samples = cases(
        ({"blocksize": 2}, (1, 3, 6, 4)),
        ({"blocksize": 3}, (2, 5, 3, 6)),
        ({"blocksize": 1}, (1, 1, 5, 3)),
        ({"blocksize": 2}, (1, 2, 4, 2, 8)),
    )
