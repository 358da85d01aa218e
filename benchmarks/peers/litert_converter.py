"""ONNX to TFLite through TensorFlow: each operator as the TensorFlow one that converts well.

Every value remembers which of its ONNX axes each stored axis is, so that pictures stay in NHWC
and a transposition costs nothing until an operator needs its operand in order. A new operator
is a method named like it. ONNX's ``Gelu`` of before opset 20 is recognised in its five nodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from onnx import numpy_helper

NHWC = (0, 2, 3, 1)


@dataclass
class Value:
    """A tensor whose stored axis ``i`` is ONNX's axis ``order[i]``."""

    tensor: Any
    order: tuple[int, ...]
    #: never negative, so that zeros are right padding for a maximum
    positive: bool = False

    def ordered(self, order: tuple[int, ...]) -> Any:
        if order == self.order:
            return self.tensor
        moves = [self.order.index(axis) for axis in order]
        if isinstance(self.tensor, np.ndarray):
            return self.tensor.transpose(moves)
        shape = self.tensor.shape
        if [m for m in moves if shape[m] > 1] == sorted(m for m in moves if shape[m] > 1):
            return tf.reshape(self.tensor, [shape[m] for m in moves])
        return tf.transpose(self.tensor, moves)

    @property
    def natural(self) -> Any:
        return self.ordered(tuple(range(len(self.order))))

    @property
    def shape(self) -> list[int]:
        """In ONNX's order."""
        return [self.tensor.shape[self.order.index(i)] for i in range(len(self.order))]


def plain(tensor: Any) -> Value:
    return Value(tensor, tuple(range(len(tensor.shape))))


def same_padding(sizes: list[int], kernel: list[int], strides: list[int]) -> list[int]:
    """ONNX's ``pads`` for what TensorFlow calls SAME."""
    totals = [max(0, (math.ceil(n / s) - 1) * s + k - n) for n, k, s in zip(sizes, kernel, strides)]
    return [t // 2 for t in totals] + [t - t // 2 for t in totals]


class Graph:
    """Computes the nodes of an ONNX graph with TensorFlow's functions."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.values: dict[str, Value] = {
            w.name: plain(numpy_helper.to_array(w)) for w in graph.initializer
        }

    def __call__(self, *inputs: Any) -> list[Any]:
        for spec, tensor in zip(self.graph.input, inputs):
            self.values[spec.name] = Value(tensor, NHWC) if tensor.ndim == 4 else plain(tensor)
        for node in fused(self.graph):
            self.node(node)
        results = [self.values[o.name] for o in self.graph.output]
        return [tf.identity(r.ordered(NHWC) if len(r.order) == 4 else r.natural) for r in results]

    def node(self, node: onnx.NodeProto) -> None:
        handler = getattr(self, node.op_type, None)
        if handler is None:
            raise NotImplementedError(f"{node.op_type} has no conversion to TFLite here")
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        found = handler(*(self.values[n] if n else None for n in node.input), **attributes)
        for name, value in zip(node.output, found if isinstance(found, list) else [found]):
            self.values[name] = value

    # Windows.

    def padded(
        self, x: Value, kernel: list[int], strides: list[int], pads: list[int]
    ) -> tuple[Any, str]:
        """The picture and TensorFlow's word for the padding that is left to do."""
        picture = x.ordered(NHWC)
        if not any(pads):
            return picture, "VALID"
        if pads == same_padding(x.shape[2:], kernel, strides):
            return picture, "SAME"
        top, left, bottom, right = pads
        return tf.pad(picture, [[0, 0], [top, bottom], [left, right], [0, 0]]), "VALID"

    def Conv(
        self, x: Value, weights: Value, bias: Value | None = None, *, kernel_shape: Any = None,
        strides: Any = (1, 1), pads: Any = (0,) * 4, group: int = 1, dilations: Any = (1, 1),
        **_: Any,
    ) -> Value:  # fmt: skip
        w, strides, dilations = weights.natural, list(strides), list(dilations)
        extent = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilations)]
        picture, padding = self.padded(x, extent, strides, list(pads))
        if group == 1:
            made = tf.nn.conv2d(
                picture, w.transpose(2, 3, 1, 0), strides, padding, dilations=dilations
            )
        elif group == x.shape[1]:
            depthwise = w.reshape(group, -1, *w.shape[2:]).transpose(2, 3, 0, 1)
            made = tf.nn.depthwise_conv2d(
                picture, depthwise, [1, *strides, 1], padding, dilations=dilations
            )
        else:
            raise NotImplementedError("grouped convolution has no conversion to TFLite here")
        return Value(made if bias is None else tf.nn.bias_add(made, bias.tensor), NHWC)

    def ConvTranspose(
        self, x: Value, weights: Value, bias: Value, *, strides: Any, **_: Any
    ) -> Value:
        _, channels, *kernel = weights.shape
        if kernel != list(strides):
            raise NotImplementedError("overlapping transposed convolution has no conversion here")
        n, _, h, w = x.shape
        size = [n, h * strides[0], w * strides[1], channels]
        filters = weights.natural.transpose(2, 3, 1, 0)
        made = tf.nn.conv2d_transpose(x.ordered(NHWC), filters, size, list(strides), "VALID")
        return Value(tf.nn.bias_add(made, bias.tensor), NHWC)

    def MaxPool(
        self, x: Value, *, kernel_shape: Any, strides: Any, pads: Any = (0,) * 4, **_: Any
    ) -> Value:
        picture, padding = self.padded(x, list(kernel_shape), list(strides), list(pads))
        if any(pads) and padding == "VALID" and not x.positive:
            raise NotImplementedError("padding before a maximum of what may be negative")
        return Value(tf.nn.max_pool2d(picture, kernel_shape, strides, padding), NHWC, x.positive)

    def AveragePool(
        self, x: Value, *, kernel_shape: Any, strides: Any, pads: Any = (0,) * 4,
        count_include_pad: int = 0, **_: Any,
    ) -> Value:  # fmt: skip
        picture, padding = self.padded(x, list(kernel_shape), list(strides), list(pads))
        if any(pads) and (padding == "SAME") == bool(count_include_pad):
            top, left, bottom, right = pads
            picture = tf.pad(x.ordered(NHWC), [[0, 0], [top, bottom], [left, right], [0, 0]])
            padding = "VALID"
        return Value(tf.nn.avg_pool2d(picture, kernel_shape, strides, padding), NHWC)

    def GlobalAveragePool(self, x: Value) -> Value:
        return Value(tf.reduce_mean(x.ordered(NHWC), [1, 2], keepdims=True), NHWC)

    def Resize(self, x: Value, _: Any, scales: Value, **__: Any) -> Value:
        size = [int(n * s) for n, s in zip(x.shape, scales.tensor)][2:]
        resize = tf.compat.v1.image.resize_nearest_neighbor
        return Value(resize(x.ordered(NHWC), size), NHWC)

    # One element at a time.

    def Relu(self, x: Value) -> Value:
        return Value(tf.nn.relu(x.tensor), x.order, positive=True)

    def Clip(self, x: Value, low: Value, high: Value) -> Value:
        if (float(low.tensor), float(high.tensor)) == (0, 6):
            return Value(tf.nn.relu6(x.tensor), x.order)
        return Value(tf.clip_by_value(x.tensor, low.tensor, high.tensor), x.order)

    def LeakyRelu(self, x: Value, *, alpha: float) -> Value:
        return Value(tf.nn.leaky_relu(x.tensor, alpha), x.order)

    def Sigmoid(self, x: Value) -> Value:
        return Value(tf.sigmoid(x.tensor), x.order)

    def HardSigmoid(self, x: Value, *, alpha: float, beta: float) -> Value:
        assert (round(1 / alpha), beta) == (6, 0.5)
        return Value(tf.nn.relu6(x.tensor + 3.0) * (1 / 6), x.order)

    def HardSwish(self, x: Value) -> Value:
        return Value(x.tensor * tf.nn.relu6(x.tensor + 3.0) * (1 / 6), x.order)

    def Gelu(self, x: Value) -> Value:
        return Value(tf.nn.gelu(x.tensor, approximate=False), x.order)

    def binary(self, function: Any, a: Value, b: Value) -> Value:
        if len(a.order) < len(b.order):
            return self.binary(lambda x, y: function(y, x), b, a)
        if len(b.order) == len(a.order):
            return Value(function(a.tensor, b.ordered(a.order)), a.order)
        if math.prod(b.shape) == 1:
            return Value(function(a.tensor, b.natural), a.order)
        return plain(function(a.natural, b.natural))

    def Add(self, a: Value, b: Value) -> Value:
        return self.binary(tf.add, a, b)

    def Mul(self, a: Value, b: Value) -> Value:
        return self.binary(tf.multiply, a, b)

    def Div(self, a: Value, b: Value) -> Value:
        return self.binary(tf.divide, a, b)

    def Pow(self, a: Value, b: Value) -> Value:
        assert float(b.tensor) == 2
        return Value(tf.square(a.tensor), a.order)

    # Rows.

    def MatMul(self, a: Value, b: Value) -> Value:
        return plain(tf.matmul(a.natural, b.natural))

    def Gemm(self, x: Value, weights: Value, bias: Value, *, transB: int) -> Value:
        return plain(tf.matmul(x.natural, weights.natural, transpose_b=bool(transB)) + bias.tensor)

    def Softmax(self, x: Value, *, axis: int) -> Value:
        assert axis == -1
        return plain(tf.nn.softmax(x.natural))

    def LayerNormalization(
        self, x: Value, scale: Value, bias: Value, *, axis: int, epsilon: float
    ) -> Value:
        assert axis == -1
        data = x.natural
        mean = tf.reduce_mean(data, -1, keepdims=True)
        centred = data - mean
        variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
        normal = centred * tf.math.rsqrt(variance + epsilon)
        return plain(normal * scale.tensor + bias.tensor)

    def Gather(self, data: Value, indices: Value, *, axis: int = 0) -> Value:
        return plain(tf.gather(data.natural, indices.natural, axis=axis))

    # Shapes.

    def Concat(self, *parts: Value, axis: int) -> Value:
        order = parts[0].order
        made = tf.concat([p.ordered(order) for p in parts], order.index(axis % len(order)))
        return Value(made, order, all(p.positive for p in parts))

    def Split(self, x: Value, sizes: Value, *, axis: int) -> list[Value]:
        equal = len({*sizes.tensor}) == 1
        cut = len(sizes.tensor) if equal else sizes.tensor.astype(np.int32)
        parts = tf.split(x.tensor, cut, x.order.index(axis % len(x.order)))
        return [Value(p, x.order) for p in parts]

    def Transpose(self, x: Value, *, perm: Any) -> Value:
        return Value(x.tensor, tuple(list(perm).index(axis) for axis in x.order))

    def Flatten(self, x: Value) -> Value:
        return plain(tf.reshape(x.natural, [x.shape[0], -1]))

    def Reshape(self, x: Value, shape: Value) -> Value:
        """Channels are split and joined where they are stored: last."""
        old, new = x.shape, [int(n) for n in shape.tensor]
        if len(old) == 4 and len(new) == 5 and [old[0], *old[2:]] == [new[0], *new[3:]]:
            data = x.ordered(NHWC)
            return Value(tf.reshape(data, [*data.shape[:3], *new[1:3]]), (0, 3, 4, 1, 2))
        if len(old) == 5 and len(new) == 4 and [old[0], *old[3:]] == [new[0], *new[2:]]:
            data = x.ordered((0, 3, 4, 1, 2))
            return Value(tf.reshape(data, [*data.shape[:3], new[1]]), NHWC)
        return plain(tf.reshape(x.natural, new))


def fused(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes, with each x / sqrt(2) -> Erf -> + 1 -> * x -> * 0.5 as one Gelu."""
    makers = {name: node for node in graph.node for name in node.output}
    takers = {name: node for node in graph.node for name in node.input}
    gone: list[str] = []
    made: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        if node.op_type == "Erf":
            first = makers[node.input[0]]
            plus = takers[node.output[0]]
            times = takers[plus.output[0]]
            half = takers[times.output[0]]
            gone += [n.name for n in (first, node, plus, times)]
            made[half.name] = onnx.helper.make_node("Gelu", [first.input[0]], list(half.output))
    return [made.get(n.name, n) for n in graph.node if n.name not in gone]


def flatbuffer(path: Path) -> bytes:
    graph = onnx.load(path).graph
    specs = []
    for spec in graph.input:
        shape = [d.dim_value for d in spec.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(spec.type.tensor_type.elem_type)
        shape = [shape[axis] for axis in NHWC] if len(shape) == 4 else shape
        specs.append(tf.TensorSpec(shape, dtype))
    function = tf.function(Graph(graph)).get_concrete_function(*specs)
    return tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()
