"""Operators that move elements or change shapes, and those known at compile time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tflite

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import MAX_ELEMENTS, Emitter
from armlet.frontends.operands import Unsupported, dimensions

from .elementwise import activated
from .model import Tensor
from .reduce import index_dtype
from .registry import handles


@handles("RESHAPE", options=tflite.ReshapeOptions)
def reshape(
    b: Emitter,
    x: Value,
    shape: Value | None = None,
    *,
    new_shape: tuple[int, ...] = (),
    outputs: tuple[Tensor, ...],
) -> Value:
    """By its second input, else by the option; where neither is known, as the file declares."""
    wanted = dimensions(shape) if isinstance(shape, Const) else list(new_shape)
    if shape is not None and not isinstance(shape, Const):
        wanted = list(outputs[0].shape)
    held = b.static(x)
    if wanted.count(-1) > 1 or min(wanted, default=1) < -1:
        raise Unsupported(f"{wanted} leaves more than one size open")
    if -1 in wanted:
        rest = math.prod(d for d in wanted if d != -1)
        if not rest or math.prod(held) % rest:
            raise Unsupported(f"{x.type} cannot be divided into {wanted}")
        wanted[wanted.index(-1)] = math.prod(held) // rest
    return b.reshape(x, wanted)


@handles("SQUEEZE", options=tflite.SqueezeOptions)
def squeeze(b: Emitter, x: Value, *, squeeze_dims: tuple[int, ...] = ()) -> Value:
    held = b.static(x)
    gone = b.axes(squeeze_dims, len(held)) or tuple(a for a, d in enumerate(held) if d == 1)
    if any(held[a] != 1 for a in gone):
        raise Unsupported(f"axes {list(gone)} of {x.type} are not all 1", attribute="squeeze_dims")
    return b.reshape(x, [d for a, d in enumerate(held) if a not in gone])


@handles("EXPAND_DIMS", options=tflite.ExpandDimsOptions)
def expand_dims(b: Emitter, x: Value, axis: Const) -> Value:
    (chosen,) = dimensions(axis)
    place = b.axis(chosen, x.type.rank + 1)
    return b.reshape(x, (*x.type.shape[:place], 1, *x.type.shape[place:]))


@handles("TRANSPOSE", options=tflite.TransposeOptions)
def transpose(b: Emitter, x: Value, perm: Const) -> Value:
    chosen = [a % max(1, x.type.rank) for a in dimensions(perm)]
    if sorted(chosen) != list(range(x.type.rank)):
        raise Unsupported(f"{dimensions(perm)} does not order the axes of {x.type}")
    return b.transpose(x, chosen)


@handles("CONCATENATION", options=tflite.ConcatenationOptions)
def concatenation(
    b: Emitter, first: Value, *rest: Value, axis: int, fused_activation_function: int = 0
) -> Value:
    joined = b.concat([first, *rest], b.axis(axis, first.type.rank))
    return activated(b, joined, fused_activation_function)


@handles("PACK", options=tflite.PackOptions)
def pack(b: Emitter, first: Value, *rest: Value, values_count: int, axis: int = 0) -> Value:
    place = b.axis(axis, first.type.rank + 1)
    parts = [
        b.reshape(v, (*v.type.shape[:place], 1, *v.type.shape[place:])) for v in (first, *rest)
    ]
    return b.concat(parts, place)


@handles("UNPACK", options=tflite.UnpackOptions)
def unpack(b: Emitter, x: Value, *, num: int, axis: int = 0) -> tuple[Value, ...]:
    place = b.axis(axis, x.type.rank)
    held = b.static(x)
    if held[place] != num:
        raise Unsupported(f"{num} parts of {x.type}", attribute="num")
    rest = held[:place] + held[place + 1 :]
    return tuple(b.reshape(b.slice(x, place, i, 1), rest) for i in range(num))


@handles("SPLIT", options=tflite.SplitOptions)
def split(b: Emitter, axis: Const, x: Value, *, num_splits: int) -> tuple[Value, ...]:
    (chosen,) = dimensions(axis)
    place = b.axis(chosen, x.type.rank)
    length = b.static(x)[place]
    if num_splits < 1 or length % num_splits:
        raise Unsupported(f"{num_splits} parts of {x.type}", attribute="num_splits")
    return _parts(b, x, place, [length // num_splits] * num_splits)


@handles("SPLIT_V", options=tflite.SplitVOptions)
def split_v(
    b: Emitter, x: Value, sizes: Const, axis: Const, *, num_splits: int
) -> tuple[Value, ...]:
    (chosen,) = dimensions(axis)
    place = b.axis(chosen, x.type.rank)
    wanted = dimensions(sizes)
    if wanted.count(-1) == 1:
        wanted[wanted.index(-1)] = b.static(x)[place] - sum(d for d in wanted if d != -1)
    if min(wanted, default=0) < 0 or sum(wanted) != b.static(x)[place]:
        raise Unsupported(f"parts of {wanted} do not make up axis {place} of {x.type}")
    return _parts(b, x, place, wanted)


def _parts(b: Emitter, x: Value, axis: int, sizes: Sequence[int]) -> tuple[Value, ...]:
    starts = np.cumsum([0, *sizes])
    return tuple(b.slice(x, axis, int(start), size) for start, size in zip(starts, sizes))


@handles("SLICE", options=tflite.SliceOptions)
def slice_(b: Emitter, x: Value, begin: Const, size: Const) -> Value:
    held, starts, sizes = b.static(x), dimensions(begin), dimensions(size)
    if not len(held) == len(starts) == len(sizes):
        raise Unsupported(f"{starts} and {sizes} are not one for each axis of {x.type}")
    sizes = [n - s if d == -1 else d for n, s, d in zip(held, starts, sizes)]
    if any(s < 0 or d < 0 or s + d > n for n, s, d in zip(held, starts, sizes)):
        raise Unsupported(f"{sizes} from {starts} on is more than {x.type} has")
    return _sliced(b, x, starts, sizes, [1] * len(held))


def _sliced(
    b: Emitter, x: Value, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]
) -> Value:
    if tuple(sizes) == x.type.shape and set(steps) <= {1}:
        return x
    return b.call("slice", x, starts=tuple(starts), sizes=tuple(sizes), steps=tuple(steps))


@handles("STRIDED_SLICE", options=tflite.StridedSliceOptions)
def strided_slice(
    b: Emitter,
    x: Value,
    begin: Const,
    end: Const,
    strides: Const,
    *,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    offset: bool = False,
) -> Value:
    """NumPy's subscripts; bit i of a mask says what entry i is."""
    first, last, every = dimensions(begin), dimensions(end), dimensions(strides)
    held = b.static(x)
    if not len(first) == len(last) == len(every):
        raise Unsupported("begin, end and strides do not belong together")
    if offset:
        last = [low + size for low, size in zip(first, last)]
    places = range(len(first))
    dots = [i for i in places if ellipsis_mask >> i & 1]
    added = [i for i in places if new_axis_mask >> i & 1 and i not in dots]
    spread = len(held) - (len(first) - len(dots) - len(added))
    if len(dots) > 1 or spread < 0:
        raise Unsupported(f"{len(first)} subscripts for {x.type}")
    parts: list[tuple[int, int, int]] = []
    shape: list[int] = []
    for i in places:
        if i in dots:
            kept = held[len(parts) : len(parts) + spread]
            parts += [(0, n, 1) for n in kept]
            shape += kept
        elif i in added:
            shape.append(1)
        elif shrink_axis_mask >> i & 1:
            parts.append(_element(held[len(parts)], first[i]))
        else:
            low = None if begin_mask >> i & 1 else first[i]
            high = None if end_mask >> i & 1 else last[i]
            parts.append(_part(held[len(parts)], low, high, every[i]))
            shape.append(parts[-1][1])
    rest = held[len(parts) :]
    parts += [(0, n, 1) for n in rest]
    starts, sizes, steps = zip(*parts) if parts else ((), (), ())
    return b.reshape(_sliced(b, x, starts, sizes, steps), (*shape, *rest))


def _element(held: int, index: int) -> tuple[int, int, int]:
    """Start, size and step of one element of an axis."""
    if not -held <= index < held:
        raise Unsupported(f"subscript {index} of an axis of {held}")
    return index % held, 1, 1


def _part(held: int, low: int | None, high: int | None, step: int) -> tuple[int, int, int]:
    """Start, size and step of a part of an axis."""
    if step == 0:
        raise Unsupported("a stride is 0")
    indices = range(held)[low:high:step]
    return (indices.start if len(indices) else 0), len(indices), step


def _edges(x: Value, paddings: Const) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What is added before and after each axis."""
    if paddings.data.shape != (x.type.rank, 2) or (paddings.data < 0).any():
        raise Unsupported(f"paddings {paddings.data.tolist()} of {x.type}")
    before, after = paddings.data.astype(np.int64).T.tolist()
    return tuple(before), tuple(after)


def padded(b: Emitter, x: Value, paddings: Const, value: float) -> Value:
    """With ``value`` around it."""
    before, after = _edges(x, paddings)
    return b.call("pad", x, before=before, after=after, value=value) if any(before + after) else x


@handles("PAD", options=tflite.PadOptions)
def pad(b: Emitter, x: Value, paddings: Const) -> Value:
    return padded(b, x, paddings, 0.0)


@handles("PADV2", options=tflite.PadV2Options)
def pad_v2(b: Emitter, x: Value, paddings: Const, value: Const) -> Value:
    return padded(b, x, paddings, float(value.data.item()))


@handles("MIRROR_PAD", options=tflite.MirrorPadOptions)
def mirror_pad(b: Emitter, x: Value, paddings: Const, *, mode: int) -> Value:
    before, after = _edges(x, paddings)
    if not any(before + after):
        return x
    if mode == tflite.MirrorPadMode.REFLECT:
        return b.call("pad", x, before=before, after=after, mode="reflect")
    for axis, (low, high) in enumerate(zip(before, after)):
        length = b.static(x)[axis]
        if max(low, high) > length:
            raise Unsupported(f"{low} and {high} mirrored elements of {x.type}")
        parts = [b.slice(x, axis, 0, low), b.slice(x, axis, length - high, high)]
        left, right = (_reversed(b, p, (axis,)) if p.type.shape[axis] else p for p in parts)
        x = b.concat([left, x, right], axis)
    return x


def _reversed(b: Emitter, x: Value, axes: Sequence[int]) -> Value:
    held = b.static(x)
    starts = tuple(n - 1 if a in axes else 0 for a, n in enumerate(held))
    steps = tuple(-1 if a in axes else 1 for a in range(len(held)))
    return b.call("slice", x, starts=starts, sizes=held, steps=steps)


@handles("REVERSE_V2", options=tflite.ReverseV2Options)
def reverse(b: Emitter, x: Value, axes: Const) -> Value:
    return _reversed(b, x, b.axes(dimensions(axes), x.type.rank))


@handles("TILE", options=tflite.TileOptions)
def tile(b: Emitter, x: Value, multiples: Const) -> Value:
    times = tuple(dimensions(multiples))
    return x if set(times) <= {1} else b.call("tile", x, repeats=times)


def sizes_of(shape: Const) -> tuple[int, ...]:
    """A shape that a tensor can have."""
    sizes = tuple(dimensions(shape))
    if min(sizes, default=0) < 0 or math.prod(sizes) > MAX_ELEMENTS:
        raise Unsupported(f"{list(sizes)} is no shape that a tensor can have")
    return sizes


@handles("BROADCAST_TO", options=tflite.BroadcastToOptions)
def broadcast_to(b: Emitter, x: Value, shape: Const) -> Value:
    wanted = sizes_of(shape)
    return x if x.type.shape == wanted else b.call("expand", x, shape=wanted)


@handles("BROADCAST_ARGS")
def broadcast_args(b: Emitter, x: Const, y: Const) -> Value:
    shape = np.broadcast_shapes(sizes_of(x), sizes_of(y))
    return b.const(shape, x.type.dtype)


@handles("FILL", options=tflite.FillOptions)
def fill(b: Emitter, dims: Const, value: Value) -> Value:
    return b.call("expand", value, shape=sizes_of(dims))


@handles("RANGE", options=tflite.RangeOptions)
def range_(b: Emitter, start: Const, limit: Const, delta: Const) -> Value:
    first, end, step = (v.data.reshape(()) for v in (start, limit, delta))
    if step == 0 or not np.isfinite([first, end, step]).all():
        raise Unsupported("the range has no end")
    count = max(0, math.ceil((end - first) / step))
    if count > MAX_ELEMENTS:
        raise Unsupported(f"the range has {count} elements")
    return b.const(first + np.arange(count).astype(first.dtype) * step, start.type.dtype)


@handles("SHAPE", options=tflite.ShapeOptions)
def shape(b: Emitter, x: Value, *, out_type: int = 2) -> Value:
    return b.const(b.static(x), index_dtype(out_type))


@handles("RANK", options=tflite.RankOptions)
def rank(b: Emitter, x: Value) -> Value:
    return b.const(x.type.rank, "int32")


@handles("WHERE", options=tflite.WhereOptions)
def where(b: Emitter, condition: Const) -> Value:
    """The places that are true, which must be known."""
    return b.const(np.argwhere(condition.data), "int64")
