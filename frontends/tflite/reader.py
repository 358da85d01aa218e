"""From a path to a ``ModelFile`` whose indices, offsets and sizes were all looked at.

Everything is read at once, so that whatever is wrong with the bytes is one error, here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from armlet.errors import ModelFileError, UnsupportedModelError
from armlet.frontends.emitter import MAX_ELEMENTS
from armlet.frontends.files import read_bytes
from armlet.frontends.operands import MAX_RANK

from .model import Graph, ModelFile, Operator, Quantization, SparseAxis, Sparsity, Tensor
from .tables import UNSOUND, Damaged, Tables, names_of

#: the file identifier, at byte 4
MAGIC = b"TFL3"
#: the version of the schema
VERSION = 3

_EXPORT_AGAIN = "export or download the model again"
#: the vectors that sparse tensors keep their indices in
_INDEX_VECTORS = tflite.SparseIndexVector


def is_tflite(head: bytes) -> bool:
    return head[4:8] == MAGIC


def read(path: Path) -> ModelFile:
    """The model in a file."""
    return parse(read_bytes(path, ".tflite"), path)


def parse(data: bytes, path: Path) -> ModelFile:
    """The model in bytes."""
    if not is_tflite(data):
        raise ModelFileError("this is not a TFLite model", where=str(path), way_out=_EXPORT_AGAIN)
    try:
        model = tflite.Model.GetRootAs(data, 0)
        version = model.Version()
        found = _Reader(data, model).model() if version == VERSION else None
    except UNSOUND as error:
        why = str(error) if isinstance(error, Damaged) else "an offset in it leads nowhere"
        raise ModelFileError(
            f"the TFLite model is truncated or damaged: {why}",
            where=str(path),
            way_out=_EXPORT_AGAIN,
        ) from None
    if found is None:
        raise UnsupportedModelError(
            f"the file is of schema version {version}; {VERSION} is known",
            where=str(path),
            way_out=_EXPORT_AGAIN,
        )
    return found


def _within(indices: Iterable[int], count: int, what: str, least: int = 0) -> tuple[int, ...]:
    """The indices, each of which must be below ``count``."""
    found = tuple(indices)
    for index in found:
        if not least <= index < count:
            raise Damaged(f"{what} {index} of {count} is named")
    return found


class _Reader:
    def __init__(self, data: bytes, model: Any) -> None:
        self.data, self.root = data, model
        self.tables = Tables(data)
        self.kinds: list[tuple[str, bool, int]] = []
        self.buffers: list[np.ndarray] = []

    def model(self) -> ModelFile:
        read = self.tables
        self.kinds = [self._kind(code) for code in read.vector(self.root, "OperatorCodes")]
        self.buffers = [self._buffer(b) for b in read.vector(self.root, "Buffers")]
        graphs = tuple(self._graph(g) for g in read.vector(self.root, "Subgraphs"))
        if not graphs:
            raise Damaged("it has no graph")
        if not graphs[0].outputs:
            raise Damaged("its graph has no outputs")
        return ModelFile(read.text(self.root.Description()), graphs)

    def _kind(self, code: Any) -> tuple[str, bool, int]:
        """An operator's name, whether it is a custom one, and its version."""
        # numbers from 127 on do not fit into the old field
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = names_of(tflite.BuiltinOperator).get(number, f"number {number}")
        if name == "CUSTOM":
            return self.tables.text(code.CustomCode()) or "without a name", True, code.Version()
        return name, False, code.Version()

    def _buffer(self, buffer: Any) -> np.ndarray:
        """Bytes, never copied. Those of files over 2 GB lie behind the flatbuffer."""
        offset, size = buffer.Offset(), buffer.Size()
        if offset > 1:
            if offset + size > len(self.data):
                raise Damaged(f"a buffer ends at byte {offset + size} of {len(self.data)}")
            return np.frombuffer(self.data, np.uint8, size, offset)
        if buffer.DataIsNone():
            return np.empty(0, np.uint8)
        return np.asarray(buffer.DataAsNumpy())

    # -- graphs -----------------------------------------------------------------------------------

    def _graph(self, graph: Any) -> Graph:
        read = self.tables
        tensors = tuple(self._tensor(t) for t in read.vector(graph, "Tensors"))
        count = len(tensors)
        inputs = _within(read.integers(graph, "Inputs"), count, "tensor")
        outputs = _within(read.integers(graph, "Outputs"), count, "tensor")
        operators = tuple(self._operator(o, count) for o in read.vector(graph, "Operators"))
        made = set(inputs)
        if len(made) < len(inputs):
            raise Damaged("an input of its graph is listed twice")
        for operator in operators:
            for index in operator.inputs:
                if index >= 0 and index not in made and not _stands_alone(tensors[index]):
                    name = tensors[index].name
                    raise Damaged(f"{operator.kind} reads tensor {name!r} before it is made")
            for index in operator.outputs:
                if index in made:
                    raise Damaged(f"tensor {tensors[index].name!r} is made twice")
                made.add(index)
        for index in outputs:
            if index not in made and not _stands_alone(tensors[index]):
                raise Damaged(f"nothing makes its output {tensors[index].name!r}")
        return Graph(read.text(graph.Name()), tensors, inputs, outputs, operators)

    def _operator(self, operator: Any, tensors: int) -> Operator:
        read = self.tables
        (code,) = _within([operator.OpcodeIndex()], len(self.kinds), "operator code")
        kind, custom, version = self.kinds[code]
        inputs = _within(read.integers(operator, "Inputs"), tensors, "tensor", least=-1)
        outputs = _within(read.integers(operator, "Outputs"), tensors, "tensor")
        options = (
            {"custom_options": read.numbers(operator, "CustomOptions").tobytes()}
            if custom
            else self._options(operator)
        )
        return Operator(kind, custom, version, inputs, outputs, options)

    def _options(self, operator: Any) -> dict[str, Any]:
        for holder, number, table in (
            (tflite.BuiltinOptions, operator.BuiltinOptionsType(), operator.BuiltinOptions()),
            (tflite.BuiltinOptions2, operator.BuiltinOptions2Type(), operator.BuiltinOptions2()),
        ):
            found = self.tables.union(holder, number, table)
            if found is not None and not type(found).__name__.startswith("Stable"):
                return self.tables.fields(found)
        return {}

    # -- tensors ----------------------------------------------------------------------------------

    def _tensor(self, tensor: Any) -> Tensor:
        read = self.tables
        name = read.text(tensor.Name())
        type = names_of(tflite.TensorType).get(tensor.Type(), f"number {tensor.Type()}")
        shape = read.integers(tensor, "Shape")
        signature = read.integers(tensor, "ShapeSignature")
        if signature and len(signature) != len(shape):
            raise Damaged(f"tensor {name!r} has two shapes, {list(shape)} and {list(signature)}")
        if len(shape) > MAX_RANK:
            raise Damaged(f"tensor {name!r} has {len(shape)} axes")
        if min(shape, default=0) < 0 or min(signature, default=0) < -1:
            raise Damaged(f"tensor {name!r} has a negative size: {list(shape)}")
        if math.prod(shape) > MAX_ELEMENTS:
            raise Damaged(f"tensor {name!r} has more than 2^31 elements: {list(shape)}")
        (index,) = _within([tensor.Buffer()], max(1, len(self.buffers)), "buffer")
        data = self.buffers[index] if index else None
        return Tensor(
            name,
            type,
            signature or shape,
            data if data is not None and (data.size or 0 in shape) else None,
            self._quantization(tensor.Quantization()),
            self._sparsity(tensor.Sparsity()),
            bool(tensor.IsVariable()),
        )

    def _quantization(self, given: Any) -> Quantization | None:
        if given is None:
            return None
        scale = self.tables.numbers(given, "Scale")
        zero_point = self.tables.numbers(given, "ZeroPoint")
        if not scale.size:
            return None
        if zero_point.size not in (0, 1, scale.size):
            raise Damaged(f"{scale.size} scales, but {zero_point.size} zero points")
        zeros = np.resize(zero_point, scale.size) if zero_point.size else np.zeros(scale.size, int)
        return Quantization(scale, zeros, int(given.QuantizedDimension()))

    def _sparsity(self, given: Any) -> Sparsity | None:
        if given is None:
            return None
        read = self.tables
        axes = tuple(self._sparse_axis(a) for a in read.vector(given, "DimMetadata"))
        order = read.integers(given, "TraversalOrder")
        return Sparsity(order, read.integers(given, "BlockMap"), axes)

    def _sparse_axis(self, given: Any) -> SparseAxis:
        if given.Format() == tflite.DimensionType.DENSE:
            return SparseAxis(int(given.DenseSize()))
        parts = []
        for number, table in (
            (given.ArraySegmentsType(), given.ArraySegments()),
            (given.ArrayIndicesType(), given.ArrayIndices()),
        ):
            vector = self.tables.union(_INDEX_VECTORS, number, table)
            if vector is None:
                raise Damaged("a sparse tensor lacks its indices")
            parts.append(self.tables.numbers(vector, "Values").astype(np.int64))
        return SparseAxis(0, *parts)


def _stands_alone(tensor: Tensor) -> bool:
    """Whether a tensor has a value without an operator that makes it."""
    return tensor.data is not None or tensor.is_variable
