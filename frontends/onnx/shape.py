"""Operators that move elements: reshape and its kin, slices, padding, gathering."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from armlet.compiler.ir import Const, Dim, Dimension, Shape, Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import FreeDimension, Known, Unsupported, dimensions

from .constants import static_sizes
from .registry import handles


def resolve_shape(held: Shape, wanted: Sequence[Dimension], allowzero: bool) -> Shape:
    """ONNX's Reshape: 0 keeps a dimension (unless ``allowzero``), -1 takes what is left."""
    shape = list(wanted)
    for axis, size in enumerate(shape):
        if size == 0 and not allowzero:
            if axis >= len(held):
                raise Unsupported(f"axis {axis} of the new shape {shape} copies no axis")
            shape[axis] = held[axis]
    if shape.count(-1) > 1:
        raise Unsupported(f"{shape} leaves more than one size open")
    if -1 in shape:
        axis = shape.index(-1)
        shape[axis] = _remaining(held, shape[:axis] + shape[axis + 1 :])
    return tuple(shape)


def _remaining(held: Shape, others: Sequence[Dimension]) -> Dimension:
    """What ``held`` has beyond ``others``; equal free dimensions cancel."""
    left = list(held)
    for dim in [d for d in others if isinstance(d, Dim)]:
        if dim not in left:
            raise FreeDimension("the size that is left open depends on", [dim])
        left.remove(dim)
    total = math.prod(d for d in left if isinstance(d, int))
    divisor = math.prod(d for d in others if isinstance(d, int))
    if divisor == 0 or total % divisor:
        shown = ",".join(map(str, held))
        raise Unsupported(f"[{shown}] cannot be divided into {list(map(str, others))} and a rest")
    rest: Dimension = total // divisor
    for dim in [d for d in left if isinstance(d, Dim)]:
        rest = dim * rest
    return rest


@handles("Reshape")
def reshape(b: Emitter, data: Value, shape: Known, *, allowzero: int = 0) -> Value:
    return b.reshape(data, resolve_shape(data.type.shape, dimensions(shape), bool(allowzero)))


@handles("Flatten")
def flatten(b: Emitter, x: Value, *, axis: int = 1) -> Value:
    rank = x.type.rank
    axis = axis if axis == rank else b.axis(axis, rank)
    return b.reshape(x, (_product(x.type.shape[:axis]), _product(x.type.shape[axis:])))


def _product(shape: Shape) -> Dimension:
    product: Dimension = 1
    for dimension in shape:
        product = dimension * product
    return product


@handles("Squeeze")
def squeeze(b: Emitter, data: Value, axes: Const | None = None) -> Value:
    shape = data.type.shape
    if axes is None:
        free = [d for d in shape if isinstance(d, Dim)]
        if free:
            raise FreeDimension("which axes vanish depends on", free)
        gone = tuple(a for a, d in enumerate(shape) if d == 1)
    else:
        gone = b.axes(dimensions(axes), len(shape))
    free = [d for a in gone if isinstance(d := shape[a], Dim)]
    if free:
        raise FreeDimension("whether an axis may vanish depends on", free)
    if any(shape[a] != 1 for a in gone):
        raise Unsupported(f"axes {list(gone)} of {data.type} are not all 1", attribute="axes")
    return b.reshape(data, (d for a, d in enumerate(shape) if a not in gone))


@handles("Unsqueeze")
def unsqueeze(b: Emitter, data: Value, axes: Const) -> Value:
    added = dimensions(axes)
    rank = data.type.rank + len(added)
    places = b.axes(added, rank)
    left = iter(data.type.shape)
    return b.reshape(data, tuple(1 if a in places else next(left) for a in range(rank)))


@handles("Transpose")
def transpose(b: Emitter, data: Value, *, perm: tuple[int, ...] | None = None) -> Value:
    axes = tuple(range(data.type.rank))
    chosen = axes[::-1] if perm is None else tuple(perm)
    if tuple(sorted(chosen)) != axes:
        raise Unsupported(
            f"{list(chosen)} does not order the axes of {data.type}", attribute="perm"
        )
    return b.transpose(data, chosen)


@handles("Concat")
def concat(b: Emitter, first: Value, *rest: Value, axis: int) -> Value:
    return b.concat([first, *rest], b.axis(axis, first.type.rank))


@handles("Slice")
def slice_(
    b: Emitter,
    data: Value,
    starts: Const,
    ends: Const,
    axes: Const | None = None,
    steps: Const | None = None,
) -> Value:
    first, last = dimensions(starts), dimensions(ends)
    rank = data.type.rank
    chosen = range(len(first)) if axes is None else [b.axis(a, rank) for a in dimensions(axes)]
    strides = [1] * len(first) if steps is None else dimensions(steps)
    if not len(first) == len(last) == len(chosen) == len(strides) == len(set(chosen)):
        raise Unsupported("starts, ends, axes and steps do not belong together")
    begins, sizes, every = [0] * rank, list(data.type.shape), [1] * rank
    for start, end, axis, step in zip(first, last, chosen, strides):
        begins[axis], sizes[axis], every[axis] = _slice_axis(
            data.type.shape[axis], start, end, step
        )
    if tuple(sizes) == data.type.shape and every == [1] * rank:
        return data
    return b.call("slice", data, starts=tuple(begins), sizes=tuple(sizes), steps=tuple(every))


def _slice_axis(held: Dimension, start: int, end: int, step: int) -> tuple[int, Dimension, int]:
    """Where a slice of one axis starts, how many elements it has, and its step."""
    if step == 0:
        raise Unsupported("a step is 0", attribute="steps")
    if isinstance(held, Dim):
        if start == 0 and step == 1 and end >= 2**31 - 1:
            return 0, held, 1
        raise FreeDimension("the part that it takes depends on", [held])
    indices = range(held)[start:end:step]
    return (indices.start if len(indices) else 0), len(indices), step


@handles("Split")
def split(
    b: Emitter, x: Value, split: Const | None = None, *, axis: int = 0, num_outputs: int
) -> tuple[Value, ...]:
    axis = b.axis(axis, x.type.rank)
    length = b.static(x, "the sizes of its parts depend on")[axis]
    if split is None:
        part = -(-length // num_outputs)
        sizes = [min(part, max(0, length - part * i)) for i in range(num_outputs)]
    else:
        sizes = dimensions(split)
    if sum(sizes) != length or min(sizes, default=0) < 0:
        raise Unsupported(f"parts of {sizes} do not make up axis {axis} of {x.type}")
    ends = np.cumsum(sizes)
    return tuple(b.slice(x, axis, int(end) - size, size) for end, size in zip(ends, sizes))


@handles("Pad")
def pad(
    b: Emitter,
    data: Value,
    pads: Const,
    constant_value: Const | None = None,
    axes: Const | None = None,
    *,
    mode: str = "constant",
) -> Value:
    rank = data.type.rank
    chosen = list(range(rank)) if axes is None else [b.axis(a, rank) for a in dimensions(axes)]
    amounts = dimensions(pads)
    if len(amounts) != 2 * len(chosen):
        raise Unsupported(f"{amounts} are not two for each padded axis", attribute="pads")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise Unsupported(f"{mode!r} is unknown", attribute="mode")
    before, after = [0] * rank, [0] * rank
    for axis, low, high in zip(chosen, amounts, amounts[len(chosen) :]):
        before[axis], after[axis] = low, high
    for axis in range(rank):
        data = _crop(b, data, axis, max(0, -before[axis]), max(0, -after[axis]))
    low = tuple(max(0, n) for n in before)
    high = tuple(max(0, n) for n in after)
    if not any(low + high):
        return data
    value = 0.0 if constant_value is None else constant_value.data.item()
    if mode != "constant":
        return b.call("pad", data, before=low, after=high, mode=mode)
    return b.call("pad", data, before=low, after=high, value=float(value))


def _crop(b: Emitter, x: Value, axis: int, before: int, after: int) -> Value:
    if not before and not after:
        return x
    length = b.static(x, "a negative pad depends on")[axis]
    if before + after > length:
        raise Unsupported(f"more is cropped than {x.type} has", attribute="pads")
    return b.slice(x, axis, before, length - before - after)


@handles("Expand", since=8)
def expand(b: Emitter, x: Value, shape: Known) -> Value:
    wanted: list[Dimension] = dimensions(shape)
    held = x.type.shape
    rank = max(len(wanted), len(held))
    pairs = zip([1] * (rank - len(held)) + [*held], [1] * (rank - len(wanted)) + wanted)
    result = tuple(h if w == 1 else w for h, w in pairs)
    return x if result == held else b.call("expand", x, shape=result)


@handles("Tile")
def tile(b: Emitter, x: Value, repeats: Const) -> Value:
    times = tuple(dimensions(repeats))
    return x if set(times) <= {1} else b.call("tile", x, repeats=times)


def _not_negative(b: Emitter, indices: Value, size: Dimension) -> Value:
    """Constant indices counted from the front."""
    if isinstance(indices, Const) and isinstance(size, int) and (indices.data < 0).any():
        return b.const(np.where(indices.data < 0, indices.data + size, indices.data))
    return indices


@handles("Gather")
def gather(b: Emitter, data: Value, indices: Value, *, axis: int = 0) -> Value:
    axis = b.axis(axis, data.type.rank)
    size = data.type.shape[axis]
    indices = _not_negative(b, indices, size)
    if isinstance(indices, Const) and isinstance(size, int):
        if indices.data.size and not 0 <= indices.data.min() <= indices.data.max() < size:
            raise Unsupported(f"an index lies outside axis {axis} of {data.type}")
        if indices.data.size == 1 and data.type.is_static:
            part = b.slice(data, axis, int(indices.data.item()), 1)
            shape = data.type.shape
            return b.reshape(part, (*shape[:axis], *indices.type.shape, *shape[axis + 1 :]))
    return b.call("gather", data, indices, axis=axis)


@handles("GatherElements", since=11)
def gather_elements(b: Emitter, data: Value, indices: Value, *, axis: int = 0) -> Value:
    axis = b.axis(axis, data.type.rank)
    indices = _not_negative(b, indices, data.type.shape[axis])
    return b.call("gather_elements", data, indices, axis=axis)


@handles("GatherND", since=11)
def gather_nd(b: Emitter, data: Value, indices: Value, *, batch_dims: int = 0) -> Value:
    return b.call("gather_nd", data, indices, batch_dims=batch_dims)


@handles("DepthToSpace")
def depth_to_space(b: Emitter, x: Value, *, blocksize: int, mode: str = "DCR") -> Value:
    return b.call("depth_to_space", x, blocksize=blocksize, mode=mode)


@handles("SpaceToDepth")
def space_to_depth(b: Emitter, x: Value, *, blocksize: int, mode: str = "DCR") -> Value:
    if mode != "DCR":
        raise Unsupported(f"{mode!r} is not supported", attribute="mode")
    return b.call("space_to_depth", x, blocksize=blocksize)


@handles("Trilu", since=14)
def trilu(b: Emitter, x: Value, k: Const | None = None, *, upper: int = 1) -> Value:
    return b.call("trilu", x, upper=bool(upper), k=0 if k is None else int(k.data.item()))


@handles("OneHot", since=9)
def one_hot(b: Emitter, indices: Value, depth: Const, values: Value, *, axis: int = -1) -> Value:
    axis = b.axis(axis, indices.type.rank + 1)
    return b.call("one_hot", indices, values, depth=int(depth.data.item()), axis=axis)


@handles("CenterCropPad", since=18)
def center_crop_pad(
    b: Emitter, x: Value, shape: Known, *, axes: tuple[int, ...] | None = None
) -> Value:
    rank = x.type.rank
    chosen = range(rank) if axes is None else [b.axis(a, rank, "axes") for a in axes]
    before, after = [0] * rank, [0] * rank
    for axis, size in zip(chosen, static_sizes(shape)):
        length = b.static(x)[axis]
        if size <= length:
            x = b.slice(x, axis, (length - size) // 2, size)
        else:
            before[axis] = (size - length) // 2
            after[axis] = size - length - before[axis]
    if not any(before + after):
        return x
    return b.call("pad", x, before=tuple(before), after=tuple(after))
