"""Random graphs of real operators through the whole compiler, against ONNX Runtime.

They find what tests of one part cannot: a layout that two neighbours see differently, a
buffer reused too early, an epilogue fused into the wrong kernel.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import armlet
from armlet.compare import difference


class Grower:
    """Adds random nodes to a graph of images; ``shapes`` are [C, H, W] of what exists."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.input = (int(self.rng.choice([1, 3, 8, 17])), *self._size())
        self.shapes = {"x": self.input}
        self.readers = {"x": 0}

    def _size(self) -> tuple[int, int]:
        return int(self.rng.integers(5, 20)), int(self.rng.integers(5, 20))

    def constant(self, *shape: int, low: float = -1, high: float = 1) -> str:
        name = f"c{len(self.constants)}"
        data = self.rng.uniform(low, high, shape).astype(np.float32)
        self.constants.append(numpy_helper.from_array(data, name))
        return name

    def weights(self, *shape: int) -> str:
        bound = float(np.prod(shape[1:])) ** -0.5 * 1.7
        return self.constant(*shape, low=-bound, high=bound)

    def node(self, operator: str, inputs: list[str], shape: tuple[int, ...], **attributes) -> str:
        name = f"v{len(self.nodes)}"
        made = helper.make_node(operator, inputs, [name], name=f"n{len(self.nodes)}", **attributes)
        self.nodes.append(made)
        for value in inputs:
            if value in self.readers:
                self.readers[value] += 1
        self.shapes[name], self.readers[name] = shape, 0
        return name

    def pick(self) -> str:
        """Often the newest value, sometimes any."""
        names = list(self.shapes)
        return names[-1] if self.rng.random() < 0.6 else str(self.rng.choice(names))

    def grow(self) -> None:
        steps = [
            self.conv, self.conv, self.depthwise, self.activation, self.activation, self.residual,
            self.concat, self.pool, self.squeeze_excite, self.resize, self.upsample, self.cut,
            self.batch_norm, self.softmax, self.padding,
        ]  # fmt: skip
        steps[int(self.rng.integers(len(steps)))](self.pick())

    def conv(self, x: str) -> None:
        c, h, w = self.shapes[x]
        out, k = int(self.rng.choice([1, 4, 8, 12, 16, 24])), int(self.rng.choice([1, 3, 5]))
        stride, pad = int(self.rng.choice([1, 1, 2])), int(self.rng.integers(0, k // 2 + 1))
        size = tuple((d + 2 * pad - k) // stride + 1 for d in (h, w))
        if min(size) < 1:
            return
        inputs = [x, self.weights(out, c, k, k)]
        if self.rng.random() < 0.5:
            inputs.append(self.constant(out))
        self.node(
            "Conv", inputs, (out, *size), kernel_shape=[k, k], strides=[stride] * 2, pads=[pad] * 4
        )

    def depthwise(self, x: str) -> None:
        c, h, w = self.shapes[x]
        inputs = [x, self.weights(c, 1, 3, 3), self.constant(c)]
        self.node("Conv", inputs, (c, h, w), kernel_shape=[3, 3], pads=[1] * 4, group=c)

    def activation(self, x: str) -> None:
        kinds = ["Relu", "HardSwish", "Sigmoid", "LeakyRelu", "Tanh", "Abs"]
        self.node(str(self.rng.choice(kinds)), [x], self.shapes[x])

    def residual(self, x: str) -> None:
        same = [n for n, s in self.shapes.items() if s == self.shapes[x]]
        kind = str(self.rng.choice(["Add", "Mul", "Sub", "Max"]))
        self.node(kind, [x, str(self.rng.choice(same))], self.shapes[x])

    def concat(self, x: str) -> None:
        _, h, w = self.shapes[x]
        fitting = [n for n, s in self.shapes.items() if s[1:] == (h, w)]
        parts = [x, *map(str, self.rng.choice(fitting, int(self.rng.integers(1, 3))))]
        channels = sum(self.shapes[p][0] for p in parts)
        if channels <= 64:
            self.node("Concat", parts, (channels, h, w), axis=1)

    def pool(self, x: str) -> None:
        c, h, w = self.shapes[x]
        if min(h, w) >= 2:
            kind = str(self.rng.choice(["MaxPool", "AveragePool"]))
            size = ((h - 2) // 2 + 1, (w - 2) // 2 + 1)
            self.node(kind, [x], (c, *size), kernel_shape=[2, 2], strides=[2, 2])

    def squeeze_excite(self, x: str) -> None:
        c, h, w = self.shapes[x]
        pooled = self.node("GlobalAveragePool", [x], (c, 1, 1))
        weighed = self.node("Conv", [pooled, self.weights(c, c, 1, 1)], (c, 1, 1))
        gate = self.node("HardSigmoid", [weighed], (c, 1, 1))
        self.node("Mul", [x, gate], (c, h, w))

    def resize(self, x: str) -> None:
        c, h, w = self.shapes[x]
        if h * w < 500:
            scales = numpy_helper.from_array(np.array([1, 1, 2, 2], "f"), f"s{len(self.nodes)}")
            self.constants.append(scales)
            mode = str(self.rng.choice(["nearest", "linear"]))
            self.node("Resize", [x, "", scales.name], (c, 2 * h, 2 * w), mode=mode)

    def upsample(self, x: str) -> None:
        c, h, w = self.shapes[x]
        if h * w < 500:
            out = int(self.rng.choice([1, 8, 20]))
            inputs = [x, self.weights(c, out, 2, 2)]
            self.node("ConvTranspose", inputs, (out, 2 * h, 2 * w), strides=[2, 2])

    def cut(self, x: str) -> None:
        c, h, w = self.shapes[x]
        first = int(self.rng.integers(0, c))
        count = int(self.rng.integers(1, c - first + 1))
        bounds = []
        for name, value in (("a", first), ("b", first + count), ("d", 1)):
            made = numpy_helper.from_array(np.array([value]), f"{name}{len(self.nodes)}")
            self.constants.append(made)
            bounds.append(made.name)
        self.node("Slice", [x, *bounds], (count, h, w))

    def batch_norm(self, x: str) -> None:
        c = self.shapes[x][0]
        inputs = [x, *(self.constant(c) for _ in range(3)), self.constant(c, low=0.5, high=2)]
        self.node("BatchNormalization", inputs, self.shapes[x])

    def softmax(self, x: str) -> None:
        self.node("Softmax", [x], self.shapes[x], axis=int(self.rng.integers(1, 4)))

    def padding(self, x: str) -> None:
        c, h, w = self.shapes[x]
        pads = numpy_helper.from_array(np.array([0, 0, 1, 0, 0, 0, 1, 2]), f"p{len(self.nodes)}")
        self.constants.append(pads)
        self.node("Pad", [x, pads.name], (c, h + 2, w + 2))

    def model(self) -> onnx.ModelProto:
        """Every value that nobody reads is an output."""
        outputs = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, *self.shapes[n]])
            for n, count in self.readers.items()
            if not count
        ]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *self.input])
        graph = helper.make_graph(self.nodes, "random", [x], outputs, self.constants)
        opset = helper.make_opsetid("", 17)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def check(seed: int, nodes: int, path) -> None:
    grower = Grower(seed)
    while len(grower.nodes) < nodes:
        grower.grow()
    onnx.save(grower.model(), path)
    x = np.random.default_rng(seed).standard_normal((1, *grower.input)).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    right = dict(zip(names, session.run(names, {"x": x})))
    model = armlet.compile(path)
    for threads in (1, 2):
        found = armlet.open(model.path, threads=threads).run({"x": x})
        for name in names:
            apart = difference(name, right[name], found[name])
            assert apart.within(1e-4), f"seed {seed}, {threads} threads: {apart}"


@pytest.mark.parametrize("seed", range(4))
def test_a_random_graph_means_what_onnx_runtime_says(seed, tmp_path):
    check(seed, 12, tmp_path / "random.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_a_larger_random_graph_means_what_onnx_runtime_says(seed, tmp_path):
    check(seed, 30, tmp_path / "random.onnx")
