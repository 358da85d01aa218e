"""The words in which the architectures are written: tensors with layers as methods.

    x = image(224)
    x = x.conv(64, 7, stride=2).relu().max_pool(3, 2, pad=1)
    model = outputs("net", logits=x.classify(1000))

Every method adds ONNX nodes to the graph of its tensor and gives the new tensor; types come
from ONNX's own inference. Weights are drawn from a seeded generator with He et al.'s variance
(arXiv:1502.01852; ``gain`` over the fan-in, 2 before a ReLU), so that activations keep their
scale through any depth. Batch normalisations are folded, as exporters leave them: a convolution
has a bias. A new layer is a method; a new operator needs ``op`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, TypeProto, helper, numpy_helper
from onnx.defs import get_schema
from onnx.shape_inference import infer_node_outputs

OPSET = 17
Kernel = int | tuple[int, int]


def pair(size: Kernel) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


class Graph:
    """Nodes and constants in the order in which they were made."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.inputs: list[onnx.ValueInfoProto] = []
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.types: dict[str, TypeProto] = {}
        self.shared: dict[tuple, str] = {}

    def input(self, name: str, shape: tuple[int, ...], dtype: int = TensorProto.FLOAT) -> Tensor:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        self.types[name] = self.inputs[-1].type
        return Tensor(self, name, shape)

    def constant(self, data: np.ndarray) -> str:
        """The name of a constant; small ones are shared."""
        key = (data.shape, data.dtype.str, data.tobytes()) if data.size <= 4 else None
        if key in self.shared:
            return self.shared[key]
        name = f"constant_{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(data, name)
        self.types[name] = helper.make_tensor_type_proto(self.constants[name].data_type, data.shape)
        if key is not None:
            self.shared[key] = name
        return name

    def weights(self, *shape: int, gain: float, fan_in: int) -> np.ndarray:
        scale = np.float32((gain / fan_in) ** 0.5)
        return self.rng.standard_normal(shape, np.float32) * scale


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of a graph; NCHW where it is a picture."""

    graph: Graph = field(repr=False)
    name: str
    shape: tuple[int, ...]

    # Any operator.

    def ops(self, kind: str, *operands: Tensor | np.ndarray, count: int = 1, **attributes):
        """The outputs of one ONNX operator; arrays become constants."""
        graph = self.graph
        names = [o.name if isinstance(o, Tensor) else graph.constant(o) for o in (self, *operands)]
        label = f"{kind}_{len(graph.nodes)}"
        results = [label if count == 1 else f"{label}.{i}" for i in range(count)]
        node = helper.make_node(kind, names, results, name=label, **attributes)
        types = infer_node_outputs(
            get_schema(kind, OPSET),
            node,
            {n: graph.types[n] for n in names},
            {n: graph.constants[n] for n in names if n in graph.constants},
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        graph.nodes.append(node)
        graph.types.update(types)
        return [
            Tensor(graph, n, tuple(d.dim_value for d in types[n].tensor_type.shape.dim))
            for n in results
        ]

    def op(self, kind: str, *operands: Tensor | np.ndarray, **attributes) -> Tensor:
        return self.ops(kind, *operands, **attributes)[0]

    # Arithmetic.

    def _arithmetic(self, kind: str, other: Tensor | float) -> Tensor:
        return self.op(kind, other if isinstance(other, Tensor) else np.array(other, np.float32))

    def __add__(self, other: Tensor | float) -> Tensor:
        return self._arithmetic("Add", other)

    def __mul__(self, other: Tensor | float) -> Tensor:
        return self._arithmetic("Mul", other)

    def __truediv__(self, other: Tensor | float) -> Tensor:
        return self._arithmetic("Div", other)

    # Layers with weights.

    def conv(
        self,
        channels: int,
        kernel: Kernel = 1,
        stride: int = 1,
        *,
        pad: int | None = None,
        groups: int = 1,
        gain: float = 2.0,
    ) -> Tensor:
        """Padded to keep the size at stride 1, unless ``pad`` says otherwise."""
        h, w = pair(kernel)
        top, left = (h // 2, w // 2) if pad is None else (pad, pad)
        inputs = self.shape[1] // groups
        weights = self.graph.weights(channels, inputs, h, w, gain=gain, fan_in=inputs * h * w)
        return self.op(
            "Conv", weights, self.bias(channels),
            kernel_shape=[h, w], strides=[stride] * 2, pads=[top, left] * 2, group=groups,
        )  # fmt: skip

    def depthwise(self, kernel: int = 3, stride: int = 1, *, gain: float = 2.0) -> Tensor:
        return self.conv(self.shape[1], kernel, stride, groups=self.shape[1], gain=gain)

    def conv_transpose(self, channels: int, kernel: int, stride: int) -> Tensor:
        inputs = self.shape[1]
        weights = self.graph.weights(
            inputs, channels, kernel, kernel, gain=1, fan_in=inputs * (kernel // stride) ** 2
        )
        return self.op(
            "ConvTranspose", weights, self.bias(channels),
            kernel_shape=[kernel] * 2, strides=[stride] * 2,
        )  # fmt: skip

    def linear(self, features: int, *, gain: float = 1.0) -> Tensor:
        """Of the last axis: Gemm for rows, MatMul and Add for more axes, as exporters write it."""
        inputs = self.shape[-1]
        weights = self.graph.weights(features, inputs, gain=gain, fan_in=inputs)
        if len(self.shape) == 2:
            return self.op("Gemm", weights, self.bias(features), transB=1)
        product = self.op("MatMul", np.ascontiguousarray(weights.T))
        return product.op("Add", self.bias(features))

    def bias(self, channels: int) -> np.ndarray:
        return self.graph.weights(channels, gain=0.01, fan_in=1)

    def layer_norm(self) -> Tensor:
        ones, zeros = np.ones(self.shape[-1], np.float32), np.zeros(self.shape[-1], np.float32)
        return self.op("LayerNormalization", ones, zeros, axis=-1, epsilon=1e-12)

    # Activations.

    def relu(self) -> Tensor:
        return self.op("Relu")

    def relu6(self) -> Tensor:
        return self.op("Clip", np.array(0, np.float32), np.array(6, np.float32))

    def leaky_relu(self) -> Tensor:
        return self.op("LeakyRelu", alpha=0.1)

    def sigmoid(self) -> Tensor:
        return self.op("Sigmoid")

    def hard_sigmoid(self) -> Tensor:
        return self.op("HardSigmoid", alpha=1 / 6, beta=0.5)

    def hard_swish(self) -> Tensor:
        return self.op("HardSwish")

    def silu(self) -> Tensor:
        return self * self.sigmoid()

    def gelu(self) -> Tensor:
        """With erf, as opsets below 20 spell it."""
        return self * ((self / 2**0.5).op("Erf") + 1.0) * 0.5

    def softmax(self) -> Tensor:
        return self.op("Softmax", axis=-1)

    # Pools and shapes.

    def max_pool(
        self, kernel: int, stride: int, pad: int = 0, pads: list[int] | None = None
    ) -> Tensor:
        return self.op(
            "MaxPool", kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads or [pad] * 4
        )

    def average_pool(self, kernel: int, stride: int, pad: int) -> Tensor:
        return self.op(
            "AveragePool", kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4,
            count_include_pad=1,
        )  # fmt: skip

    def global_pool(self) -> Tensor:
        return self.op("GlobalAveragePool")

    def classify(self, classes: int = 1000) -> Tensor:
        """Mean of the picture, then a linear layer."""
        return self.global_pool().flatten().linear(classes)

    def flatten(self) -> Tensor:
        return self.op("Flatten")

    def reshape(self, *shape: int) -> Tensor:
        return self.op("Reshape", np.array(shape, np.int64))

    def transpose(self, *order: int) -> Tensor:
        return self.op("Transpose", perm=order)

    def split(self, *sizes: int, axis: int) -> list[Tensor]:
        return self.ops("Split", np.array(sizes, np.int64), count=len(sizes), axis=axis)

    def upsample(self) -> Tensor:
        """Twice the size, nearest."""
        scales = np.array([1, 1, 2, 2], np.float32)
        empty = np.array([], np.float32)
        return self.op(
            "Resize", empty, scales, mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )  # fmt: skip


def image(size: int) -> Tensor:
    return Graph().input("image", (1, 3, size, size))


def concat(*parts: Tensor, axis: int = 1) -> Tensor:
    return parts[0].op("Concat", *parts[1:], axis=axis)


def outputs(model: str, **results: Tensor) -> onnx.ModelProto:
    """The finished model, its outputs named."""
    graph = next(iter(results.values())).graph
    names = {result.name: name for name, result in results.items()}
    for node in graph.nodes:
        for values in (node.input, node.output):
            values[:] = [names.get(v, v) for v in values]
    made = helper.make_graph(
        graph.nodes,
        model,
        graph.inputs,
        [onnx.ValueInfoProto(name=n, type=graph.types[r.name]) for n, r in results.items()],
        list(graph.constants.values()),
        value_info=[
            onnx.ValueInfoProto(name=v, type=graph.types[v])
            for node in graph.nodes
            for v in node.output
            if v in graph.types
        ],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8, producer_name="armlet zoo")
