"""TFLite files built in code: tensors and operators, then the flatbuffer's bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite

TYPES = {
    "float32": "FLOAT32", "float16": "FLOAT16", "int32": "INT32", "int64": "INT64",
    "uint8": "UINT8", "int8": "INT8", "int16": "INT16", "bool": "BOOL",
}  # fmt: skip
#: built-in operators above it go into a wider field
OLD_CODES = 127
#: of operators that LiteRT has no first version of
VERSIONS = {"BROADCAST_TO": 2}


@dataclass
class _Tensor:
    name: str
    type: int
    shape: tuple[int, ...]
    data: np.ndarray | None
    signature: tuple[int, ...] = ()
    variable: bool = False
    quantization: tuple[Sequence[float], Sequence[int], int] | None = None


@dataclass
class _Operator:
    kind: str
    inputs: list[int]
    outputs: list[int]
    options: type | None
    values: dict[str, Any]


@dataclass
class Graph:
    """One graph. Methods return the indices of tensors; -1 is an input that is not given."""

    tensors: list[_Tensor] = field(default_factory=list)
    operators: list[_Operator] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def tensor(
        self, shape: Sequence[int], dtype: str = "float32", name: str = "", **more: Any
    ) -> int:
        type = getattr(tflite.TensorType, TYPES.get(dtype, dtype))
        name = name or f"t{len(self.tensors)}"
        self.tensors.append(_Tensor(name, type, tuple(shape), more.pop("data", None), **more))
        return len(self.tensors) - 1

    def input(self, shape: Sequence[int], dtype: str = "float32", **more: Any) -> int:
        self.inputs.append(self.tensor(shape, dtype, **more))
        return self.inputs[-1]

    def constant(self, data: Any, **more: Any) -> int:
        data = np.asarray(data)
        return self.tensor(data.shape, data.dtype.name, data=data, **more)

    def op(
        self,
        kind: str,
        inputs: Sequence[int],
        shapes: Sequence[Sequence[int]] = (),
        options: type | None = None,
        dtypes: Sequence[str] = ("float32",),
        scales: Sequence[Any] = (),
        **values: Any,
    ) -> list[int]:
        """The outputs, one for each dtype; of most operators LiteRT finds the shapes by itself.

        ``scales`` has a scale, a zero point and an axis for each output, or None.
        """
        given, scales = shapes or [()] * len(dtypes), scales or [None] * len(dtypes)
        outputs = [
            self.tensor(shape, dtype, quantization=scale)
            for shape, dtype, scale in zip(given, dtypes, scales)
        ]
        self.operators.append(_Operator(kind, list(inputs), outputs, options, values))
        return outputs


def _vector(b: flatbuffers.Builder, numbers: Sequence[int], kind: str = "Int32") -> int:
    array = np.asarray(numbers, {"Int32": np.int32, "Int64": np.int64, "Float32": np.float32}[kind])
    return b.CreateNumpyVector(array)


def _offsets(b: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()


def _table(b: flatbuffers.Builder, name: str, **values: Any) -> int:
    """A table of the schema's class ``name``; fields by the names of its Add functions."""
    getattr(tflite, f"{name}Start")(b)
    for key, value in values.items():
        if value is not None:
            getattr(tflite, f"{name}Add{key}")(b, value)
    return getattr(tflite, f"{name}End")(b)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _options(b: flatbuffers.Builder, operator: _Operator) -> dict[str, Any]:
    if operator.options is None:
        return {}
    values = {}
    for key, value in operator.values.items():
        if isinstance(value, str):
            value = b.CreateString(value)
        elif isinstance(value, (tuple, list)):
            value = _vector(b, value, "Float32" if isinstance(value[0], float) else "Int32")
        values[_camel(key)] = value
    name = operator.options.__name__
    table = _table(b, name, **values)
    return {"BuiltinOptionsType": getattr(tflite.BuiltinOptions, name), "BuiltinOptions": table}


def _tensor(b: flatbuffers.Builder, tensor: _Tensor, buffer: int) -> int:
    name, shape = b.CreateString(tensor.name), _vector(b, tensor.shape)
    signature = _vector(b, tensor.signature) if tensor.signature else None
    quantization = None
    if tensor.quantization is not None:
        scale, zero, axis = tensor.quantization
        scales, zeros = _vector(b, scale, "Float32"), _vector(b, zero, "Int64")
        quantization = _table(
            b, "QuantizationParameters", Scale=scales, ZeroPoint=zeros, QuantizedDimension=axis
        )
    return _table(
        b, "Tensor", Shape=shape, Type=tensor.type, Buffer=buffer, Name=name,
        IsVariable=tensor.variable, ShapeSignature=signature, Quantization=quantization,
    )  # fmt: skip


def _graph(
    b: flatbuffers.Builder, graph: Graph, codes: list[str], buffers: list[np.ndarray]
) -> int:
    tensors = []
    for tensor in graph.tensors:
        if tensor.data is not None:
            buffers.append(np.frombuffer(tensor.data.tobytes(), np.uint8))
        tensors.append(_tensor(b, tensor, len(buffers) - 1 if tensor.data is not None else 0))
    operators = []
    for operator in graph.operators:
        if operator.kind not in codes:
            codes.append(operator.kind)
        options = _options(b, operator)
        inputs, outputs = _vector(b, operator.inputs), _vector(b, operator.outputs)
        index = codes.index(operator.kind)
        operators.append(
            _table(b, "Operator", OpcodeIndex=index, Inputs=inputs, Outputs=outputs, **options)
        )
    return _table(
        b, "SubGraph", Tensors=_offsets(b, tensors), Inputs=_vector(b, graph.inputs),
        Outputs=_vector(b, graph.outputs), Operators=_offsets(b, operators),
        Name=b.CreateString("main"),
    )  # fmt: skip


def _code(b: flatbuffers.Builder, kind: str) -> int:
    number = getattr(tflite.BuiltinOperator, kind, None)
    if number is None:
        custom = b.CreateString(kind)
        number = tflite.BuiltinOperator.CUSTOM
        return _table(
            b, "OperatorCode", DeprecatedBuiltinCode=number, CustomCode=custom, BuiltinCode=number
        )
    old = min(number, OLD_CODES)
    version = VERSIONS.get(kind, 1)
    return _table(b, "OperatorCode", DeprecatedBuiltinCode=old, BuiltinCode=number, Version=version)


def file_of(*graphs: Graph, version: int = 3) -> bytes:
    """The model's bytes; the first graph is run."""
    b = flatbuffers.Builder(1024)
    codes: list[str] = []
    buffers: list[np.ndarray] = [np.empty(0, np.uint8)]
    subgraphs = [_graph(b, graph, codes, buffers) for graph in graphs]
    kinds = [_code(b, kind) for kind in codes]
    held = []
    for data in buffers:
        vector = b.CreateNumpyVector(data) if data.size else None
        held.append(_table(b, "Buffer", Data=vector))
    model = _table(
        b, "Model", Version=version, OperatorCodes=_offsets(b, kinds),
        Subgraphs=_offsets(b, subgraphs), Description=b.CreateString("built in code"),
        Buffers=_offsets(b, held),
    )  # fmt: skip
    b.Finish(model, b"TFL3")
    return bytes(b.Output())
