"""Layers of bytes as an ONNX model with QuantizeLinear and DequantizeLinear around each (QDQ).

Bytes are unsigned there, weights int8 with a scale for each channel. Inputs and outputs are bytes,
named by their place: ``input_0``, ``output_0``. Vendors' compilers that read ONNX take the scales
as they are given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from armlet.compiler.ir import Value

from .int8 import Graph, Layer

_OPSET, _IR_VERSION = 13, 8


def write(graph: Graph) -> bytes:
    """The model; ``input_i`` and ``output_i`` are the region's, in order, shapes included."""
    return _Writer(graph).write()


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.names: dict[Value, str] = {v: f"input_{i}" for i, v in enumerate(graph.params)}
        self.names.update((v, f"output_{i}") for i, v in enumerate(graph.results))

    def write(self) -> bytes:
        for layer in self.graph.layers:
            self._layer(layer)
        inputs, outputs = (
            [helper.make_tensor_value_info(self.names[v], TensorProto.UINT8, v.type.static_shape)
             for v in values]
            for values in (self.graph.params, self.graph.results)
        )  # fmt: skip
        graph = helper.make_graph(self.nodes, "region", inputs, outputs, self.constants)
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)
        return model.SerializeToString(deterministic=True)

    def _layer(self, layer: Layer) -> None:
        op: Any = layer.anchor.op
        inputs = [self._floats(v) for v in layer.inputs]
        if layer.weights is not None:
            window = {"strides": op.strides, "pads": op.pads, "dilations": op.dilations}
            made = self._node(
                "Conv", [*inputs, *self._weights(layer)], group=op.group,
                kernel_shape=layer.weights.shape[2:], **window,
            )  # fmt: skip
            if layer.anchor.output.type.shape != layer.output.type.shape:
                made = self._reshape(made, layer.output)
        elif layer.kind == "add":
            made = self._node("Add", inputs)
        elif layer.kind == "reduce_mean":
            made = self._node("GlobalAveragePool", inputs)
            if not op.keepdims:
                made = self._reshape(made, layer.output)
        elif layer.kind == "max_pool2d":
            made = self._node(
                "MaxPool", inputs, kernel_shape=op.kernel, strides=op.strides, pads=op.pads
            )
        elif layer.kind == "concat":
            made = self._node("Concat", inputs, axis=1)
        else:
            made = self._reshape(inputs[0], layer.output)
        if layer.limits[0] == self.graph.of[layer.output].zero != -128:
            made = self._node("Relu", [made])
        self._node("QuantizeLinear", [made, *self._meaning(layer.output)], self._name(layer.output))

    def _weights(self, layer: Layer) -> list[str]:
        assert layer.weights is not None
        scales = self.graph.weight_scales(layer)
        zeros, x = np.zeros(len(scales), np.int8), self.graph.of[layer.inputs[0]]
        parts = [self._constant(layer.weights), self._constant(scales), self._constant(zeros)]
        found = [self._node("DequantizeLinear", parts, axis=0)]
        if layer.bias is not None:
            data, factor = layer.bias.astype(np.int32), scales * np.float32(x.scale)
            parts = [self._constant(data), self._constant(factor)]
            parts.append(self._constant(zeros.astype(np.int32)))
            found.append(self._node("DequantizeLinear", parts, axis=0))
        return found

    def _floats(self, value: Value) -> str:
        return self._node("DequantizeLinear", [self._name(value), *self._meaning(value)])

    def _meaning(self, value: Value) -> list[str]:
        """The names of a tensor's scale and zero point."""
        meaning = self.graph.of[value]
        zero = np.array(meaning.zero + 128, np.uint8)
        return [self._constant(np.array(meaning.scale, np.float32)), self._constant(zero)]

    def _reshape(self, x: str, like: Value) -> str:
        shape = self._constant(np.array(like.type.static_shape, np.int64))
        return self._node("Reshape", [x, shape])

    def _name(self, value: Value) -> str:
        return self.names.setdefault(value, f"tensor_{len(self.names)}")

    def _constant(self, data: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(data), name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or f"value_{len(self.nodes)}"
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output
