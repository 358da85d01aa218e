"""Random TFLite graphs of real operators on [N, H, W, C], as converters write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tflite

from .builder import Graph, file_of

SAME, VALID = tflite.Padding.SAME, tflite.Padding.VALID
Shape = tuple[int, ...]

#: they keep values in their range, and jump nowhere
UNARY = {
    "RELU": None, "RELU6": None, "RELU_N1_TO_1": None, "LOGISTIC": None, "TANH": None, "ELU": None,
    "SIN": None, "ABS": tflite.AbsOptions, "COS": tflite.CosOptions, "NEG": tflite.NegOptions,
    "HARD_SWISH": tflite.HardSwishOptions,
}  # fmt: skip
BINARY = {
    "ADD": tflite.AddOptions, "SUB": tflite.SubOptions, "MUL": tflite.MulOptions,
    "MAXIMUM": tflite.MaximumMinimumOptions, "MINIMUM": tflite.MaximumMinimumOptions,
    "SQUARED_DIFFERENCE": tflite.SquaredDifferenceOptions,
}  # fmt: skip
#: the largest number of elements of a value
MOST = 6000


class Grower:
    """Adds random operators; ``shapes`` are those of the values that exist."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph()
        channels = int(self.rng.choice([1, 3, 8, 17]))
        self.input: Shape = (1, self.number(5, 16), self.number(5, 16), channels)
        self.shapes = {self.graph.input(self.input): self.input}
        self.readers = dict.fromkeys(self.shapes, 0)
        self.steps = [
            self.conv, self.conv, self.depthwise, self.unary, self.unary, self.residual,
            self.residual, self.concat, self.pool, self.squeeze_excite, self.resize, self.upsample,
            self.cut, self.soften, self.pad, self.prelu, self.blocks, self.dense, self.split,
            self.reduce, self.reorder, self.gather, self.choose, self.bias,
        ]  # fmt: skip

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    def chance(self) -> bool:
        return bool(self.rng.random() < 0.5)

    def constant(self, *shape: int) -> int:
        bound = 1.7 * float(np.prod(shape[1:])) ** -0.5
        return self.graph.constant(self.rng.uniform(-bound, bound, shape).astype(np.float32))

    def whole(self, *numbers: Any) -> int:
        return self.graph.constant(np.array(numbers, np.int32))

    def op(
        self, kind: str, inputs: list[int], *shapes: Shape, options: type | None = None, **more: Any
    ) -> list[int]:
        dtypes = ["float32"] * len(shapes)
        outputs = self.graph.op(kind, inputs, shapes, options, dtypes, **more)
        for index in inputs:
            if index in self.readers:
                self.readers[index] += 1
        self.shapes |= dict(zip(outputs, shapes))
        self.readers |= dict.fromkeys(outputs, 0)
        return outputs

    def grow(self) -> None:
        """Often from the newest value, sometimes from any."""
        values = list(self.shapes)
        x = values[-1] if self.rng.random() < 0.6 else int(self.rng.choice(values))
        self.steps[self.number(0, len(self.steps))](x, *self.shapes[x])

    def conv(self, x: int, n: int, h: int, w: int, c: int) -> None:
        out, k, stride = (int(self.rng.choice(o)) for o in ([1, 4, 8, 17], [1, 3, 5], [1, 1, 2]))
        padding = SAME if self.chance() else VALID
        size = [-(-d // stride) if padding == SAME else (d - k) // stride + 1 for d in (h, w)]
        if min(size) >= 1:
            self.op(
                "CONV_2D", [x, self.constant(out, k, k, c), self.constant(out)], (n, *size, out),
                options=tflite.Conv2DOptions, padding=padding, stride_h=stride, stride_w=stride,
                dilation_h_factor=1, dilation_w_factor=1,
                fused_activation_function=self.number(0, 4),
            )  # fmt: skip

    def depthwise(self, x: int, n: int, h: int, w: int, c: int) -> None:
        self.op(
            "DEPTHWISE_CONV_2D", [x, self.constant(1, 3, 3, c), self.constant(c)], (n, h, w, c),
            options=tflite.DepthwiseConv2DOptions, padding=SAME, stride_h=1, stride_w=1,
            depth_multiplier=1, dilation_h_factor=1, dilation_w_factor=1,
            fused_activation_function=self.number(0, 4),
        )  # fmt: skip

    def unary(self, x: int, *shape: int) -> None:
        kind = str(self.rng.choice(list(UNARY)))
        self.op(kind, [x], shape, options=UNARY[kind])

    def residual(self, x: int, *shape: int) -> None:
        same = [v for v, s in self.shapes.items() if s == shape]
        kind = str(self.rng.choice(list(BINARY)))
        self.op(kind, [x, int(self.rng.choice(same))], shape, options=BINARY[kind])

    def bias(self, x: int, *shape: int) -> None:
        held = tuple(d if self.chance() else 1 for d in shape)[self.number(0, 4) :]
        kind = str(self.rng.choice(["ADD", "MUL"]))
        self.op(kind, [x, self.constant(*held)], shape, options=BINARY[kind])

    def concat(self, x: int, *shape: int) -> None:
        axis = self.number(1, 4)
        rest = [d for a, d in enumerate(shape) if a != axis]
        fitting = [
            v for v, s in self.shapes.items() if [d for a, d in enumerate(s) if a != axis] == rest
        ]
        other = int(self.rng.choice(fitting))
        made = [d + (self.shapes[other][axis] if a == axis else 0) for a, d in enumerate(shape)]
        if np.prod(made) < MOST:
            self.op(
                "CONCATENATION", [x, other], tuple(made), options=tflite.ConcatenationOptions,
                axis=axis,
            )  # fmt: skip

    def pool(self, x: int, n: int, h: int, w: int, c: int) -> None:
        if min(h, w) >= 2:
            kind = str(self.rng.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"]))
            self.op(
                kind, [x], (n, -(-h // 2), -(-w // 2), c), options=tflite.Pool2DOptions,
                padding=SAME, stride_h=2, stride_w=2, filter_height=3, filter_width=2,
            )  # fmt: skip

    def squeeze_excite(self, x: int, n: int, h: int, w: int, c: int) -> None:
        (mean,) = self.op(
            "MEAN", [x, self.whole(1, 2)], (n, 1, 1, c), options=tflite.ReducerOptions,
            keep_dims=True,
        )  # fmt: skip
        self.conv(mean, n, 1, 1, c)
        (gate,) = self.op("LOGISTIC", [mean], (n, 1, 1, c))
        self.op("MUL", [x, gate], (n, h, w, c), options=tflite.MulOptions)

    def resize(self, x: int, n: int, h: int, w: int, c: int) -> None:
        if n * h * w * c * 4 < MOST:
            kind = str(self.rng.choice(["Bilinear", "NearestNeighbor"]))
            name = {"Bilinear": "RESIZE_BILINEAR", "NearestNeighbor": "RESIZE_NEAREST_NEIGHBOR"}
            mode = self.number(0, 3)
            self.op(
                name[kind], [x, self.whole(2 * h, 2 * w)], (n, 2 * h, 2 * w, c),
                options=getattr(tflite, f"Resize{kind}Options"),
                align_corners=mode == 1, half_pixel_centers=mode == 2,
            )  # fmt: skip

    def upsample(self, x: int, n: int, h: int, w: int, c: int) -> None:
        if n * h * w * c * 4 < MOST:
            out = int(self.rng.choice([1, 8]))
            inputs = [self.whole(n, 2 * h, 2 * w, out), self.constant(out, 3, 3, c), x]
            self.op(
                "TRANSPOSE_CONV", inputs, (n, 2 * h, 2 * w, out),
                options=tflite.TransposeConvOptions, padding=SAME, stride_h=2, stride_w=2,
            )  # fmt: skip

    def cut(self, x: int, *shape: int) -> None:
        starts = [self.number(0, d) for d in shape]
        sizes = [self.number(1, d - s + 1) for d, s in zip(shape, starts)]
        ends = [s + d for s, d in zip(starts, sizes)]
        self.op(
            "STRIDED_SLICE", [x, self.whole(*starts), self.whole(*ends), self.whole(1, 1, 1, 1)],
            tuple(sizes), options=tflite.StridedSliceOptions,
        )  # fmt: skip

    def soften(self, x: int, *shape: int) -> None:
        if self.chance():
            self.op("SOFTMAX", [x], shape, options=tflite.SoftmaxOptions, beta=1.0)
        else:
            self.op("L2_NORMALIZATION", [x], shape, options=tflite.L2NormOptions)

    def pad(self, x: int, *shape: int) -> None:
        edges = [[0, 0], *([self.number(0, 2), self.number(0, 2)] for _ in range(3))]
        made = tuple(d + sum(e) for d, e in zip(shape, edges))
        if min(shape[1:]) >= 2 and self.chance():
            self.op("MIRROR_PAD", [x, self.whole(*edges)], made, options=tflite.MirrorPadOptions,
                    mode=self.number(0, 2))  # fmt: skip
        else:
            self.op("PAD", [x, self.whole(*edges)], made, options=tflite.PadOptions)

    def prelu(self, x: int, *shape: int) -> None:
        self.op("PRELU", [x, self.constant(1, 1, shape[3])], shape)

    def blocks(self, x: int, n: int, h: int, w: int, c: int) -> None:
        if h % 2 == 0 and w % 2 == 0:
            self.op("SPACE_TO_DEPTH", [x], (n, h // 2, w // 2, 4 * c),
                    options=tflite.SpaceToDepthOptions, block_size=2)  # fmt: skip
        elif c % 4 == 0:
            self.op("DEPTH_TO_SPACE", [x], (n, 2 * h, 2 * w, c // 4),
                    options=tflite.DepthToSpaceOptions, block_size=2)  # fmt: skip

    def dense(self, x: int, n: int, h: int, w: int, c: int) -> None:
        units = self.number(1, 12)
        self.op(
            "FULLY_CONNECTED", [x, self.constant(units, c), self.constant(units)],
            (n, h, w, units), options=tflite.FullyConnectedOptions, keep_num_dims=True,
        )  # fmt: skip

    def split(self, x: int, *shape: int) -> None:
        axis = self.number(1, 4)
        if shape[axis] % 2 == 0:
            half = tuple(d // 2 if a == axis else d for a, d in enumerate(shape))
            self.op("SPLIT", [self.graph.constant(np.int32(axis)), x], half, half,
                    options=tflite.SplitOptions, num_splits=2)  # fmt: skip

    def reduce(self, x: int, *shape: int) -> None:
        axis = self.number(1, 4)
        kind = str(self.rng.choice(["SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN"]))
        made = tuple(1 if a == axis else d for a, d in enumerate(shape))
        self.op(kind, [x, self.whole(axis)], made, options=tflite.ReducerOptions, keep_dims=True)

    def reorder(self, x: int, n: int, h: int, w: int, c: int) -> None:
        if self.chance():
            perm = [0, *(1 + self.rng.permutation(3)).tolist()]
            made = tuple((n, h, w, c)[a] for a in perm)
            self.op("TRANSPOSE", [x, self.whole(*perm)], made, options=tflite.TransposeOptions)
        else:
            self.op("RESHAPE", [x, self.whole(n, w, h, c)], (n, w, h, c))

    def gather(self, x: int, *shape: int) -> None:
        axis, count = self.number(1, 4), self.number(1, 6)
        indices = self.whole(*self.rng.integers(0, shape[axis], count).tolist())
        made = tuple(count if a == axis else d for a, d in enumerate(shape))
        self.op("GATHER", [x, indices], made, options=tflite.GatherOptions, axis=axis)

    def choose(self, x: int, *shape: int) -> None:
        same = [v for v, s in self.shapes.items() if s == shape]
        condition = self.graph.constant(self.rng.random(shape) > 0.5)
        inputs = [condition, x, int(self.rng.choice(same))]
        self.op("SELECT_V2", inputs, shape, options=tflite.SelectV2Options)


def random_model(seed: int, size: int) -> tuple[bytes, np.ndarray]:
    """A model of about ``size`` operators, all of whose unread values are outputs; and a feed."""
    grower = Grower(seed)
    while len(grower.graph.operators) < size:
        grower.grow()
    grower.graph.outputs = [v for v, readers in grower.readers.items() if not readers]
    return file_of(grower.graph), grower.rng.standard_normal(grower.input).astype(np.float32)


def small_network() -> bytes:
    """Two convolutions with a residual between them."""
    grower = Grower(3)
    grower.conv(grower.graph.inputs[0], *grower.input)
    for step in (grower.depthwise, grower.residual):
        last = list(grower.shapes)[-1]
        step(last, *grower.shapes[last])
    grower.graph.outputs = [list(grower.shapes)[-1]]
    return file_of(grower.graph)
