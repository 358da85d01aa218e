"""Operators that read or write at indices."""

from __future__ import annotations

import math

import numpy as np
import tflite

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported, dimensions

from .registry import handles


@handles("GATHER", options=tflite.GatherOptions)
def gather(b: Emitter, x: Value, indices: Value, *, axis: int = 0, batch_dims: int = 0) -> Value:
    place = b.axis(axis, x.type.rank)
    batches = batch_dims % (indices.type.rank + 1)
    if batches:
        if place != batches:
            raise Unsupported(f"axis {axis} after {batches} batches", attribute="batch_dims")
        lone = b.reshape(indices, (*indices.type.shape, 1))
        return b.call("gather_nd", x, lone, batch_dims=batches)
    if isinstance(indices, Const) and indices.data.size:
        size = b.static(x)[place]
        if not 0 <= indices.data.min() <= indices.data.max() < size:
            raise Unsupported(f"an index lies outside axis {place} of {x.type}")
        if indices.data.size == 1:
            part = b.slice(x, place, int(indices.data.item()), 1)
            held = x.type.shape
            return b.reshape(part, (*held[:place], *indices.type.shape, *held[place + 1 :]))
    return b.call("gather", x, indices, axis=place)


@handles("EMBEDDING_LOOKUP")
def embedding_lookup(b: Emitter, indices: Value, x: Value) -> Value:
    return b.call("gather", x, indices, axis=0)


@handles("GATHER_ND", options=tflite.GatherNdOptions)
def gather_nd(b: Emitter, x: Value, indices: Value) -> Value:
    return b.call("gather_nd", x, indices, batch_dims=0)


@handles("ONE_HOT", options=tflite.OneHotOptions)
def one_hot(
    b: Emitter, indices: Value, depth: Const, on: Value, off: Value, *, axis: int = -1
) -> Value:
    (size,) = dimensions(depth)
    values = b.concat([b.reshape(off, (1,)), b.reshape(on, (1,))], 0)
    rank = indices.type.rank
    # TFLite has no rows for indices below zero, which count from the end in ours
    indices = b.call(
        "where", b.call("less", indices, b.full(indices, 0)), b.full(indices, size), indices
    )
    return b.call("one_hot", indices, values, depth=size, axis=b.axis(axis, rank + 1))


@handles("REVERSE_SEQUENCE", options=tflite.ReverseSequenceOptions)
def reverse_sequence(
    b: Emitter, x: Value, lengths: Const, *, seq_dim: int, batch_dim: int = 0
) -> Value:
    """The first elements of each batch are taken backwards."""
    held = b.static(x)
    along, batch = b.axis(seq_dim, len(held)), b.axis(batch_dim, len(held))
    counts = dimensions(lengths)
    if (
        len(counts) != held[batch]
        or along == batch
        or not 0 <= min(counts) <= max(counts) <= held[along]
    ):
        raise Unsupported(f"lengths {counts} for {x.type}")
    rows = np.arange(held[along])
    table = np.array([[*rows[:n][::-1], *rows[n:]] for n in counts])
    ordered = table if batch < along else table.T
    shape = [n if a in (along, batch) else 1 for a, n in enumerate(held)]
    places = np.broadcast_to(ordered.reshape(shape), held)
    return b.call("gather_elements", x, b.const(places, "int64"), axis=along)


@handles("MATRIX_DIAG", options=tflite.MatrixDiagOptions)
def matrix_diag(b: Emitter, diagonal: Value) -> Value:
    size = b.static(diagonal)[-1]
    row = b.reshape(diagonal, (*diagonal.type.shape[:-1], 1, size))
    return b.call("where", b.const(np.eye(size, dtype=bool)), row, b.full(diagonal, 0))


@handles("MATRIX_SET_DIAG", options=tflite.MatrixSetDiagOptions)
def matrix_set_diag(b: Emitter, x: Value, diagonal: Value) -> Value:
    *lead, rows, columns = b.static(x)
    size = min(rows, columns)
    column = b.reshape(diagonal, (*lead, size, 1))
    if size < rows:
        edges = [0] * len(lead)
        column = b.call("pad", column, before=(*edges, 0, 0), after=(*edges, rows - size, 0))
    return b.call("where", b.const(np.eye(rows, columns, dtype=bool)), column, x)


@handles("DYNAMIC_UPDATE_SLICE", options=tflite.DynamicUpdateSliceOptions)
def dynamic_update_slice(b: Emitter, x: Value, update: Value, start: Const) -> Value:
    """A part of x is replaced; it is moved inside where it would reach beyond."""
    held, part = b.static(x), b.static(update)
    if len(dimensions(start)) != len(held) or any(p > n for p, n in zip(part, held)):
        raise Unsupported(f"{update.type} does not fit into {x.type}")
    before = tuple(min(max(s, 0), n - p) for s, p, n in zip(dimensions(start), part, held))
    after = tuple(n - p - s for s, p, n in zip(before, part, held))
    inside = np.zeros(held, bool)
    inside[tuple(slice(s, s + p) for s, p in zip(before, part))] = True
    spread = b.call("pad", update, before=before, after=after)
    return b.call("where", b.const(inside), spread, x)


@handles("SEGMENT_SUM", options=tflite.SegmentSumOptions)
def segment_sum(b: Emitter, x: Value, segments: Const) -> Value:
    """Sums of the rows of equal numbers, as a product by a matrix of zeros and ones."""
    held, numbers = b.static(x), dimensions(segments)
    if len(numbers) != held[0] or min(numbers, default=0) < 0:
        raise Unsupported(f"{len(numbers)} segment numbers for {x.type}")
    count = max(numbers, default=-1) + 1
    chosen = np.zeros((count, held[0]), x.type.dtype)
    chosen[numbers, np.arange(held[0])] = 1
    rows = b.reshape(x, (held[0], math.prod(held[1:])))
    return b.reshape(b.call("matmul", b.const(chosen), rows), (count, *held[1:]))
