"""Layers of bytes as an int8 TFLite file: the form that most vendors' compilers read.

Images are [N, H, W, C] there, and all bytes signed: whoever runs it turns them at its borders.
Windows are padded as "SAME" and "VALID" where these say it, else by PAD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite

from armlet.compiler.ir import Value

from .int8 import Graph, Layer, Quantization

_BUILTIN, _OPTIONS = tflite.BuiltinOperator, tflite.BuiltinOptions
_TYPES = {"int8": tflite.TensorType.INT8, "int32": tflite.TensorType.INT32}
#: kind of layer -> (operator, options, version of the operator that takes int8)
_OPERATORS = {
    "conv2d": (_BUILTIN.CONV_2D, "Conv2DOptions", 3),
    "depthwise_conv2d": (_BUILTIN.DEPTHWISE_CONV_2D, "DepthwiseConv2DOptions", 3),
    "add": (_BUILTIN.ADD, "AddOptions", 2),
    "reduce_mean": (_BUILTIN.MEAN, "ReducerOptions", 2),
    "max_pool2d": (_BUILTIN.MAX_POOL_2D, "Pool2DOptions", 2),
    "concat": (_BUILTIN.CONCATENATION, "ConcatenationOptions", 2),
    "reshape": (_BUILTIN.RESHAPE, "ReshapeOptions", 1),
    "pad": (_BUILTIN.PAD, "PadOptions", 2),
}
_NONE, _RELU = tflite.ActivationFunctionType.NONE, tflite.ActivationFunctionType.RELU
#: the schema that operators' versions are of, and how files of it begin
_VERSION, _MAGIC = 3, b"TFL3"


def channels_last(shape: Sequence[int]) -> tuple[int, ...]:
    """[N, C, H, W] -> [N, H, W, C]; other shapes as they are."""
    return (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else tuple(shape)


def refused(layer: Layer) -> str:
    """Why TFLite cannot say what a layer does; "" if it can."""
    low, high = layer.limits
    if (low, high) != (-128, 127) and (low, high) != (layer.zeros.get(layer.output), 127):
        return f"it limits results to {low} .. {high}"
    return ""


def write(graph: Graph) -> bytes:
    """The file; inputs and outputs are the region's, in order."""
    return _Writer(graph).write()


@dataclass
class _Writer:
    graph: Graph
    b: flatbuffers.Builder = field(default_factory=lambda: flatbuffers.Builder(1 << 16))
    #: offsets of what has been written
    tensors: list[int] = field(default_factory=list)
    operators: list[int] = field(default_factory=list)
    buffers: list[np.ndarray] = field(default_factory=lambda: [np.zeros(0, np.uint8)])
    kinds: list[str] = field(default_factory=list)
    index: dict[Value, int] = field(default_factory=dict)

    def write(self) -> bytes:
        for value in self.graph.params:
            self._value(value)
        for layer in self.graph.layers:
            self._layer(layer)
        inputs, outputs = (
            [self.index[v] for v in values] for values in (self.graph.params, self.graph.results)
        )
        main = self._table(
            "SubGraph", Tensors=self._offsets(self.tensors), Inputs=self._ints(inputs),
            Outputs=self._ints(outputs), Operators=self._offsets(self.operators),
        )  # fmt: skip
        buffers = [self._buffer(data) for data in self.buffers]
        model = self._table(
            "Model", Version=_VERSION, OperatorCodes=self._offsets([*map(self._code, self.kinds)]),
            Subgraphs=self._offsets([main]), Buffers=self._offsets(buffers),
        )  # fmt: skip
        self.b.Finish(model, _MAGIC)
        return bytes(self.b.Output())

    # -- layers ---------------------------------------------------------------------------------

    def _layer(self, layer: Layer) -> None:
        op: Any = layer.anchor.op
        inputs = [self._value(v) for v in layer.inputs]
        options: dict[str, Any] = {}
        if layer.kind in ("conv2d", "depthwise_conv2d", "max_pool2d"):
            inputs[0], options = self._window(layer, inputs[0])
        if layer.weights is not None:
            inputs += self._weights(layer)
        if layer.kind == "reduce_mean":
            inputs.append(self._constant(np.array([1, 2], np.int32)))
            options["KeepDims"] = bool(op.keepdims)
        if layer.kind == "reshape":
            inputs.append(self._shape(layer.output))
        if layer.kind == "concat":
            options["Axis"] = layer.output.type.rank - 1
        if layer.kind not in ("reduce_mean", "reshape"):
            zero = self.graph.of[layer.output].zero
            clamped = layer.limits == (zero, 127) and zero != -128
            options["FusedActivationFunction"] = _RELU if clamped else _NONE
        made = layer.anchor.output if layer.weights is not None else layer.output
        shape = channels_last(made.type.static_shape)
        if layer.weights is not None and made.type.shape != layer.output.type.shape:
            image = self._tensor(f"{layer.output.name}/image", shape, self.graph.of[layer.output])
            self._operator(layer.kind, inputs, image, options)
            flat = [image, self._shape(layer.output)]
            self._operator("reshape", flat, self._value(layer.output), {})
        else:
            self._operator(layer.kind, inputs, self._value(layer.output), options)

    def _shape(self, value: Value) -> int:
        return self._constant(np.array(value.type.static_shape, np.int32))

    def _window(self, layer: Layer, x: int) -> tuple[int, dict[str, Any]]:
        """The input, padded if need be, and the options of a window."""
        op: Any = layer.anchor.op
        kernel = (
            layer.anchor.operands[1].type.static_shape[2:]
            if layer.weights is not None
            else op.kernel
        )
        options = {"StrideH": op.strides[0], "StrideW": op.strides[1]}
        if layer.kind == "max_pool2d":
            options |= {"FilterHeight": kernel[0], "FilterWidth": kernel[1]}
        else:
            options |= {"DilationHFactor": op.dilations[0], "DilationWFactor": op.dilations[1]}
        if layer.kind == "depthwise_conv2d":
            options["DepthMultiplier"] = 1
        size = layer.inputs[0].type.static_shape[2:]
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, op.dilations)]
        if not any(op.pads):
            return x, {**options, "Padding": tflite.Padding.VALID}
        if tuple(op.pads) == _same(size, reach, op.strides):
            return x, {**options, "Padding": tflite.Padding.SAME}
        top, left, bottom, right = op.pads
        amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        n, h, w, c = channels_last(layer.inputs[0].type.static_shape)
        padded = self._tensor(
            f"{layer.output.name}/padded", (n, h + top + bottom, w + left + right, c),
            self.graph.of[layer.inputs[0]],
        )  # fmt: skip
        self._operator("pad", [x, self._constant(amounts)], padded, {})
        return padded, {**options, "Padding": tflite.Padding.VALID}

    def _weights(self, layer: Layer) -> list[int]:
        assert layer.weights is not None
        scales, x = self.graph.weight_scales(layer), self.graph.of[layer.inputs[0]]
        if layer.kind == "depthwise_conv2d":
            data, axis = layer.weights.transpose(1, 2, 3, 0), 3
        else:
            data, axis = layer.weights.transpose(0, 2, 3, 1), 0
        bias = layer.bias if layer.bias is not None else np.zeros(len(scales), np.int32)
        return [
            self._constant(np.ascontiguousarray(data), scales, axis),
            self._constant(bias.astype(np.int32), scales * np.float32(x.scale), 0),
        ]

    # -- tables ---------------------------------------------------------------------------------

    def _value(self, value: Value) -> int:
        if value not in self.index:
            shape = channels_last(value.type.static_shape)
            self.index[value] = self._tensor(value.name, shape, self.graph.of[value])
        return self.index[value]

    def _tensor(self, name: str, shape: Sequence[int], meaning: Quantization) -> int:
        scales = np.array([meaning.scale], np.float32)
        return self._add(name, shape, "int8", 0, scales, meaning.zero, 0)

    def _constant(self, data: np.ndarray, scales: np.ndarray | None = None, axis: int = 0) -> int:
        self.buffers.append(np.frombuffer(data.tobytes(), np.uint8))
        name, place = f"c{len(self.tensors)}", len(self.buffers) - 1
        return self._add(name, data.shape, data.dtype.name, place, scales, 0, axis)

    def _add(
        self, name: str, shape: Sequence[int], dtype: str, buffer: int,
        scales: np.ndarray | None, zero: int, axis: int,
    ) -> int:  # fmt: skip
        quantization = None
        if scales is not None:
            zeros = self.b.CreateNumpyVector(np.full(len(scales), zero, np.int64))
            quantization = self._table(
                "QuantizationParameters", Scale=self.b.CreateNumpyVector(scales), ZeroPoint=zeros,
                QuantizedDimension=axis,
            )  # fmt: skip
        text, sizes = self.b.CreateString(name), self._ints(shape)
        self.tensors.append(
            self._table(
                "Tensor", Shape=sizes, Type=_TYPES[dtype], Buffer=buffer, Name=text,
                Quantization=quantization,
            )
        )  # fmt: skip
        return len(self.tensors) - 1

    def _operator(
        self, kind: str, inputs: Sequence[int], output: int, options: dict[str, Any]
    ) -> None:
        if kind not in self.kinds:
            self.kinds.append(kind)
        name = _OPERATORS[kind][1]
        self.operators.append(
            self._table(
                "Operator", OpcodeIndex=self.kinds.index(kind), Inputs=self._ints(inputs),
                Outputs=self._ints([output]), BuiltinOptionsType=getattr(_OPTIONS, name),
                BuiltinOptions=self._table(name, **options),
            )
        )  # fmt: skip

    def _code(self, kind: str) -> int:
        code, _, version = _OPERATORS[kind]
        return self._table(
            "OperatorCode", DeprecatedBuiltinCode=code, BuiltinCode=code, Version=version
        )

    def _buffer(self, data: np.ndarray) -> int:
        return self._table("Buffer", Data=self.b.CreateNumpyVector(data) if data.size else None)

    def _ints(self, numbers: Sequence[int]) -> int:
        return self.b.CreateNumpyVector(np.asarray(numbers, np.int32))

    def _offsets(self, offsets: Sequence[int]) -> int:
        self.b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.b.PrependUOffsetTRelative(offset)
        return self.b.EndVector()

    def _table(self, name: str, **values: Any) -> int:
        """A table of the schema's class ``name``; fields by the names of its Add functions."""
        getattr(tflite, f"{name}Start")(self.b)
        for key, value in values.items():
            if value is not None:
                getattr(tflite, f"{name}Add{key}")(self.b, value)
        return getattr(tflite, f"{name}End")(self.b)


def _same(size: Sequence[int], reach: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """The pads that "SAME" stands for."""
    begin, end = [], []
    for n, k, s in zip(size, reach, strides):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        begin.append(total // 2)
        end.append(total - total // 2)
    return (*begin, *end)
