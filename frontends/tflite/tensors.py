"""TFLite tensors as NumPy arrays, dense and sparse."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from armlet.errors import ModelFileError
from armlet.frontends.operands import Unsupported

from .model import Sparsity, Tensor

#: TFLite's types that the IR has -> dtype name
DTYPES = {
    "FLOAT32": "float32", "FLOAT16": "float16", "FLOAT64": "float64",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
    "BOOL": "bool",
    # four bits in the file
    "INT4": "int8",
}  # fmt: skip
#: types of quantised numbers -> the smallest and the largest
INTEGER_BITS = {
    "INT8": (-128, 127), "UINT8": (0, 255), "INT16": (-32768, 32767), "INT4": (-8, 7),
}  # fmt: skip


def dtype_of(tensor: Tensor) -> str:
    """The dtype of a tensor; types that the IR lacks are refused."""
    if tensor.type in DTYPES:
        return DTYPES[tensor.type]
    if tensor.type == "RESOURCE":
        raise Unsupported(
            "variables that keep their value from run to run are not supported",
            way_out="make them inputs and outputs of the model",
        )
    raise Unsupported(
        f"tensors of type {tensor.type} are not supported", way_out="convert the model in float32"
    )


def array_of(tensor: Tensor, path: Path) -> np.ndarray:
    """The data of a constant tensor: a view of the file's bytes where they are dense."""
    assert tensor.data is not None
    dtype = np.dtype(dtype_of(tensor))
    if tensor.sparsity is not None:
        values = tensor.data[: tensor.data.size // dtype.itemsize * dtype.itemsize].view(dtype)
        return _dense(tensor, values, tensor.sparsity, path)
    half = tensor.type == "INT4"
    count = math.prod(tensor.shape)
    need = (count + 1) // 2 if half else count * dtype.itemsize
    if min(tensor.shape, default=0) < 0 or tensor.data.size != need:
        raise ModelFileError(
            f"tensor {tensor.name!r} of shape {list(tensor.shape)} needs {need} bytes, but has "
            f"{tensor.data.size}",
            where=str(path),
        )
    if half:
        return _unpacked(tensor.data)[:count].reshape(tensor.shape)
    return tensor.data.view(dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(tensor.shape)


def _unpacked(data: np.ndarray) -> np.ndarray:
    """Numbers of four bits, the first of a byte in its lower half."""
    halves = np.stack([data & 15, data >> 4], axis=-1).reshape(-1)
    return (halves ^ 8).astype(np.int8) - np.int8(8)


def _dense(tensor: Tensor, values: np.ndarray, sparsity: Sparsity, path: Path) -> np.ndarray:
    """A sparse tensor with its zeros: positions level by level, then blocks in their place."""

    def damaged(why: str) -> ModelFileError:
        return ModelFileError(f"sparse tensor {tensor.name!r}: {why}", where=str(path))

    rank, order = len(tensor.shape), sparsity.order
    blocks = len(sparsity.blocked)
    if sorted(order) != list(range(rank + blocks)) or len(sparsity.axes) != rank + blocks:
        raise damaged("its levels are not its axes")
    if any(not 0 <= axis < rank for axis in sparsity.blocked):
        raise damaged("a block lies along no axis")
    total = math.prod(tensor.shape)
    parents = np.zeros(1, np.int64)
    coordinates: list[np.ndarray] = []
    for axis in sparsity.axes:
        if axis.segments is None or axis.indices is None:
            if len(parents) * axis.size > max(total, 1):
                raise damaged("it has more elements than its shape")
            counts = np.full(len(parents), axis.size)
            own = np.tile(np.arange(axis.size), len(parents))
        else:
            counts = np.diff(axis.segments)
            if (
                len(counts) != len(parents)
                or (counts < 0).any()
                or counts.sum() != len(axis.indices)
            ):
                raise damaged("its segments do not fit its indices")
            own = axis.indices
        coordinates = [np.repeat(c, counts) for c in coordinates]
        coordinates.append(own)
        parents = np.arange(len(own))
    if len(parents) != len(values):
        raise damaged(f"it has {len(values)} values for {len(parents)} places")
    places = dict(zip(order, coordinates))
    sizes = {level: axis.size for level, axis in zip(order, sparsity.axes)}
    for number, axis_index in enumerate(sparsity.blocked):
        inner = places[rank + number]
        places[axis_index] = places[axis_index] * sizes[rank + number] + inner
    found = np.zeros(tensor.shape, values.dtype)
    chosen = tuple(places[axis] for axis in range(rank))
    if any(((p < 0) | (p >= size)).any() for p, size in zip(chosen, tensor.shape)):
        raise damaged("an index lies outside")
    found[chosen] = values
    return found
