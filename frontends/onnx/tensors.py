"""ONNX tensors as NumPy arrays: weights in the file, or beside it (mapped, never copied)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx

from armlet.errors import ExternalDataError, ModelFileError
from armlet.frontends.operands import MAX_RANK, Unsupported

_T = onnx.TensorProto

#: ONNX data type -> dtype name, of the types that the IR has
DTYPES: dict[int, str] = {
    _T.FLOAT: "float32", _T.DOUBLE: "float64", _T.FLOAT16: "float16",
    _T.INT8: "int8", _T.INT16: "int16", _T.INT32: "int32", _T.INT64: "int64",
    _T.UINT8: "uint8", _T.UINT16: "uint16", _T.UINT32: "uint32", _T.UINT64: "uint64",
    _T.BOOL: "bool",
}  # fmt: skip

#: integers of less than a byte, of which several lie in one -> (dtype that holds one, bits)
NARROW: dict[int, tuple[str, int]] = {
    _T.INT4: ("int8", 4), _T.UINT4: ("uint8", 4), _T.INT2: ("int8", 2), _T.UINT2: ("uint8", 2),
}  # fmt: skip

#: the field of TensorProto that holds elements of a type when ``raw_data`` does not
_FIELDS: dict[int, str] = {
    _T.FLOAT: "float_data", _T.DOUBLE: "double_data", _T.INT64: "int64_data",
    _T.UINT32: "uint64_data", _T.UINT64: "uint64_data",
}  # fmt: skip


def type_name(data_type: int) -> str:
    """ONNX's name of a data type: ``BFLOAT16``, ``INT4``, …"""
    try:
        return str(_T.DataType.Name(data_type))
    except ValueError:
        return f"number {data_type}"


def dtype_of(data_type: int) -> str:
    """The dtype of an ONNX data type; those that the IR lacks are refused."""
    if data_type in DTYPES:
        return DTYPES[data_type]
    if data_type == _T.UNDEFINED:
        raise Unsupported("a tensor's data type is not given")
    raise Unsupported(
        f"tensors of type {type_name(data_type)} are not supported",
        way_out="export the model in float32",
    )


def held_dtype(data_type: int) -> str:
    """As ``dtype_of``; integers of less than a byte are held in bytes."""
    return NARROW[data_type][0] if data_type in NARROW else dtype_of(data_type)


def _unpacked(data: np.ndarray, data_type: int) -> np.ndarray:
    """Integers of less than a byte, the first of each byte in its lowest bits."""
    dtype, bits = NARROW[data_type]
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    found = (data.astype(np.uint8)[:, None] >> shifts) & ((1 << bits) - 1)
    if dtype == "uint8":
        return found.reshape(-1)
    sign = 1 << (bits - 1)
    return ((found ^ sign).astype(np.int8) - np.int8(sign)).reshape(-1)


class Tensors:
    """Reads the tensors of one model; ``folder`` is where its external data may lie."""

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, path.parent
        self._maps: dict[Path, np.ndarray] = {}

    def array(self, tensor: onnx.TensorProto, name: str = "") -> np.ndarray:
        """The data of a tensor: a view of the file's bytes where they lie as they should."""
        name = name or tensor.name
        if tensor.data_type in NARROW:
            return self._narrow(tensor, name)
        dtype = np.dtype(dtype_of(tensor.data_type))
        shape, count = self._shape(tensor, name)
        if tensor.data_location == _T.EXTERNAL:
            data = self._external(tensor, name, count * dtype.itemsize).view(dtype)
        elif tensor.HasField("raw_data"):
            raw = tensor.raw_data
            if len(raw) != count * dtype.itemsize:
                raise self._size_error(name, shape, dtype, f"{len(raw)} bytes")
            data = np.frombuffer(raw, dtype.newbyteorder("<"))
        else:
            data = self._typed(tensor, dtype)
            if data.size != count:
                raise self._size_error(name, shape, dtype, f"{data.size} elements")
        return data.astype(dtype, copy=False).reshape(shape)

    def _shape(self, tensor: onnx.TensorProto, name: str) -> tuple[tuple[int, ...], int]:
        """A tensor's shape, which must be sound, and its number of elements."""
        shape = tuple(tensor.dims)
        if any(d < 0 for d in shape):
            raise self._error(name, f"has a negative size: {list(shape)}")
        if len(shape) > MAX_RANK:
            raise self._error(name, f"has {len(shape)} axes; at most {MAX_RANK} are possible")
        return shape, math.prod(shape)

    def _narrow(self, tensor: onnx.TensorProto, name: str) -> np.ndarray:
        """Integers of less than a byte, each in one."""
        shape, count = self._shape(tensor, name)
        held, bits = np.dtype(NARROW[tensor.data_type][0]), NARROW[tensor.data_type][1]
        size = -(-count * bits // 8)
        if tensor.data_location == _T.EXTERNAL:
            data = self._external(tensor, name, size)
        elif tensor.HasField("raw_data"):
            data = np.frombuffer(tensor.raw_data, np.uint8)
        else:
            data = np.array(tensor.int32_data, np.int64)
        if data.size != size:
            raise self._size_error(name, shape, held, f"{data.size} bytes of {8 // bits} each")
        return _unpacked(data, tensor.data_type)[:count].reshape(shape)

    def _typed(self, tensor: onnx.TensorProto, dtype: np.dtype) -> np.ndarray:
        """The elements of ``float_data`` and the like; ``int32_data`` has the small types."""
        values = getattr(tensor, _FIELDS.get(tensor.data_type, "int32_data"))
        if dtype == np.float16:
            return np.array(values, np.int64).astype(np.uint16).view(np.float16)
        wide = np.array(values, np.int64) if dtype.kind in "ib" else np.array(values)
        return wide.astype(dtype)

    def _external(self, tensor: onnx.TensorProto, name: str, size: int) -> np.ndarray:
        """The bytes of a tensor that is kept in a file of its own, mapped."""
        entries = {e.key: e.value for e in tensor.external_data}
        try:
            offset = int(entries.get("offset", 0))
            length = int(entries.get("length", size))
        except ValueError:
            raise ExternalDataError(
                f"offset and length of weight {name!r} are not numbers", where=str(self.path)
            ) from None
        if length != size or offset < 0:
            raise ExternalDataError(
                f"weight {name!r} needs {size} bytes, but {length} bytes at {offset} are named",
                where=str(self.path),
            )
        if size == 0:
            return np.empty(0, np.uint8)
        mapped = self._map(entries.get("location", ""), name)
        if offset + length > mapped.size:
            raise ExternalDataError(
                f"weight {name!r} ends at byte {offset + length} of {entries['location']}, "
                f"which has {mapped.size}",
                where=str(self.path),
                way_out="copy or download the file of weights again: it is truncated",
            )
        return mapped[offset : offset + length]

    def _map(self, location: str, name: str) -> np.ndarray:
        file = self._located(location, name)
        if file not in self._maps:
            try:
                empty = file.stat().st_size == 0
                self._maps[file] = np.empty(0, np.uint8) if empty else np.memmap(file, mode="r")
            except (OSError, ValueError) as error:
                raise ExternalDataError(
                    f"weight {name!r} lies in {location}, which cannot be read: {error}",
                    where=str(self.path),
                    way_out=f"put {location} beside the model",
                ) from None
        return self._maps[file]

    def _located(self, location: str, name: str) -> Path:
        """The file that ``location`` names, which must be inside the model's folder."""
        folder = self.folder.resolve()
        file = None if "\0" in location else (folder / location).resolve()
        if not location or file is None or not file.is_relative_to(folder):
            raise ExternalDataError(
                f"weight {name!r} lies outside the model's folder: {location!r}",
                where=str(self.path),
                way_out="keep external data beside the model, under a relative name",
            )
        if not file.is_file():
            raise ExternalDataError(
                f"weight {name!r} lies in {location}, which does not exist",
                where=str(self.path),
                way_out=f"put {location} beside the model",
            )
        return file

    def _error(self, name: str, what: str) -> ModelFileError:
        return ModelFileError(f"tensor {name!r} {what}", where=str(self.path))

    def _size_error(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype, found: str
    ) -> ModelFileError:
        need = f"{math.prod(shape)} elements of {dtype}"
        return self._error(name, f"of shape {list(shape)} needs {need}, but has {found}")
