"""Random TFLite graphs of quantised operators on [N, H, W, C], as converters write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite

from .builder import Graph, file_of

SAME, VALID = tflite.Padding.SAME, tflite.Padding.VALID
Shape = tuple[int, ...]
#: the largest number of elements of a value
MOST = 6000


@dataclass(frozen=True)
class Held:
    """A value of the graph: its index, shape, scale and zero point."""

    index: int
    shape: Shape
    scale: float
    zero: int


class Grower:
    """Adds random operators on one dtype."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph()
        self.dtype = str(self.rng.choice(["int8", "int8", "int8", "uint8", "int16"]))
        self.limits = np.iinfo(self.dtype)
        channels = int(self.rng.choice([1, 3, 8, 17]))
        shape = (1, self.number(5, 16), self.number(5, 16), channels)
        scale, zero = self.scale()
        index = self.graph.input(shape, self.dtype, quantization=([scale], [zero], 0))
        self.values = [Held(index, shape, scale, zero)]
        self.read: set[int] = set()
        self.steps = [
            self.conv, self.conv, self.conv, self.depthwise, self.depthwise, self.dense,
            self.residual, self.residual, self.gate, self.unary, self.unary, self.concat,
            self.pool, self.pool, self.mean, self.resize, self.pad, self.cut, self.reorder,
            self.soften, self.requantize, self.prelu, self.largest, self.blocks, self.through_float,
        ]  # fmt: skip

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    def scale(self) -> tuple[float, int]:
        wide = self.dtype == "int16"
        scale = float(np.float32(self.rng.uniform(0.01, 0.06) / (256 if wide else 1)))
        middle = 128 if self.dtype == "uint8" else 0
        return scale, 0 if wide else middle + self.number(-30, 31)

    def whole(self, *numbers: Any) -> int:
        return self.graph.constant(np.array(numbers, np.int32))

    def integers(self, dtype: str, *shape: int) -> np.ndarray:
        limits = np.iinfo(dtype)
        return self.rng.integers(limits.min, limits.max + 1, shape).astype(dtype)

    def op(
        self, kind: str, inputs: list[int], shape: Shape, options: type | None = None,
        scale: tuple[float, int] | None = None, **more: Any,
    ) -> Held:  # fmt: skip
        factor, zero = scale or self.scale()
        (index,) = self.graph.op(
            kind, inputs, [shape], options, [self.dtype], scales=[([factor], [zero], 0)], **more
        )
        self.read.update(inputs)
        self.values.append(Held(index, shape, factor, zero))
        return self.values[-1]

    def grow(self) -> None:
        """Often from the newest value, sometimes from any."""
        place = -1 if self.rng.random() < 0.6 else self.number(0, len(self.values))
        x = self.values[place]
        self.steps[self.number(0, len(self.steps))](x, *x.shape)

    def weights(self, x: Held, *shape: int, axis: int, out: int) -> list[int]:
        """Constant weights, and a bias in units of the products."""
        per_channel = self.dtype != "uint8" and self.rng.random() < 0.7
        fan = np.prod(shape) / out
        scales = self.rng.uniform(0.5, 1.5, out if per_channel else 1) * 0.02 / np.sqrt(fan)
        scales = scales.astype(np.float32)
        kind = "uint8" if self.dtype == "uint8" else "int8"
        zeros = [self.number(100, 150) if kind == "uint8" else 0] * len(scales)
        held = self.graph.constant(
            self.integers(kind, *shape), quantization=(scales.tolist(), zeros, axis)
        )
        bias = self.rng.normal(0, 2000 * np.sqrt(fan), out)
        bias = bias.astype("int64" if self.dtype == "int16" else "int32")
        units = (np.float32(x.scale) * scales).tolist()
        return [held, self.graph.constant(bias, quantization=(units, [0] * len(units), 0))]

    def conv(self, x: Held, n: int, h: int, w: int, c: int) -> None:
        out, k, stride = (int(self.rng.choice(o)) for o in ([1, 4, 8, 17], [1, 3, 5], [1, 1, 2]))
        padding = SAME if self.rng.random() < 0.5 else VALID
        size = [-(-d // stride) if padding == SAME else (d - k) // stride + 1 for d in (h, w)]
        if min(size) >= 1:
            inputs = [x.index, *self.weights(x, out, k, k, c, axis=0, out=out)]
            self.op(
                "CONV_2D", inputs, (n, *size, out), tflite.Conv2DOptions, padding=padding,
                stride_h=stride, stride_w=stride, dilation_h_factor=1, dilation_w_factor=1,
                fused_activation_function=self.number(0, 4),
            )  # fmt: skip

    def depthwise(self, x: Held, n: int, h: int, w: int, c: int) -> None:
        inputs = [x.index, *self.weights(x, 1, 3, 3, c, axis=3, out=c)]
        self.op(
            "DEPTHWISE_CONV_2D", inputs, x.shape, tflite.DepthwiseConv2DOptions, padding=SAME,
            stride_h=1, stride_w=1, depth_multiplier=1, dilation_h_factor=1, dilation_w_factor=1,
            fused_activation_function=self.number(0, 4),
        )  # fmt: skip

    def dense(self, x: Held, n: int, h: int, w: int, c: int) -> None:
        units = self.number(1, 12)
        inputs = [x.index, *self.weights(x, units, c, axis=0, out=units)]
        self.op("FULLY_CONNECTED", inputs, (n, h, w, units), tflite.FullyConnectedOptions,
                keep_num_dims=True)  # fmt: skip

    def residual(self, x: Held, *shape: int) -> None:
        same = [v for v in self.values if v.shape == shape]
        other = same[self.number(0, len(same))]
        kind, options = (("ADD", tflite.AddOptions), ("SUB", tflite.SubOptions))[self.number(0, 2)]
        self.op(kind, [x.index, other.index], shape, options, pot_scale_int16=False,
                fused_activation_function=self.number(0, 4))  # fmt: skip

    def gate(self, x: Held, n: int, h: int, w: int, c: int) -> None:
        """A squeeze, an excitation, a product."""
        mean = self.op("MEAN", [x.index, self.whole(1, 2)], (n, 1, 1, c), tflite.ReducerOptions,
                       keep_dims=True)  # fmt: skip
        gate = self.op("LOGISTIC", [mean.index], (n, 1, 1, c), scale=self.unit())
        self.op("MUL", [x.index, gate.index], x.shape, tflite.MulOptions)

    def unit(self) -> tuple[float, int]:
        """The scale of numbers between 0 and 1."""
        if self.dtype == "int16":
            return 2.0**-15, 0
        return 2.0**-8, int(self.limits.min)

    def unary(self, x: Held, *shape: int) -> None:
        unit = self.unit()
        around = unit if self.dtype == "int16" else (2.0**-7, unit[1] + 128)
        kinds: dict[str, dict[str, Any]] = {
            "RELU": {}, "RELU6": {}, "LOGISTIC": {"scale": unit}, "TANH": {"scale": around},
            "LEAKY_RELU": {"options": tflite.LeakyReluOptions, "alpha": 0.2},
            "GELU": {"options": tflite.GeluOptions},
        }  # fmt: skip
        if self.dtype != "int16":
            kinds["HARD_SWISH"] = {"options": tflite.HardSwishOptions, "scale": (x.scale, x.zero)}
        kind = str(self.rng.choice(list(kinds)))
        self.op(kind, [x.index], shape, **kinds[kind])

    def concat(self, x: Held, *shape: int) -> None:
        axis = self.number(1, 4)
        rest = [d for a, d in enumerate(shape) if a != axis]
        fitting = [
            v for v in self.values
            if [d for a, d in enumerate(v.shape) if a != axis] == rest
            and (self.dtype == "uint8" or (v.scale, v.zero) == (x.scale, x.zero))
        ]  # fmt: skip
        other = fitting[self.number(0, len(fitting))]
        made = tuple(d + (other.shape[axis] if a == axis else 0) for a, d in enumerate(shape))
        if np.prod(made) < MOST:
            self.op("CONCATENATION", [x.index, other.index], made, tflite.ConcatenationOptions,
                    axis=axis, scale=(x.scale, x.zero))  # fmt: skip

    def pool(self, x: Held, n: int, h: int, w: int, c: int) -> None:
        if min(h, w) >= 2:
            kind = str(self.rng.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"]))
            self.op(
                kind, [x.index], (n, -(-h // 2), -(-w // 2), c), tflite.Pool2DOptions,
                scale=(x.scale, x.zero), padding=SAME, stride_h=2, stride_w=2, filter_height=3,
                filter_width=2, fused_activation_function=self.number(0, 4),
            )  # fmt: skip

    def mean(self, x: Held, *shape: int) -> None:
        axis = self.number(1, 4)
        made = tuple(1 if a == axis else d for a, d in enumerate(shape))
        self.op("MEAN", [x.index, self.whole(axis)], made, tflite.ReducerOptions, keep_dims=True)

    def resize(self, x: Held, n: int, h: int, w: int, c: int) -> None:
        if n * h * w * c * 4 < MOST:
            kind = str(self.rng.choice(["Bilinear", "NearestNeighbor"]))
            name = {"Bilinear": "RESIZE_BILINEAR", "NearestNeighbor": "RESIZE_NEAREST_NEIGHBOR"}
            mode = self.number(0, 3)
            self.op(
                name[kind], [x.index, self.whole(2 * h, 2 * w)], (n, 2 * h, 2 * w, c),
                getattr(tflite, f"Resize{kind}Options"), scale=(x.scale, x.zero),
                align_corners=mode == 1, half_pixel_centers=mode == 2,
            )  # fmt: skip

    def pad(self, x: Held, *shape: int) -> None:
        edges = [[0, 0], *([self.number(0, 2), self.number(0, 2)] for _ in range(3))]
        made = tuple(d + sum(e) for d, e in zip(shape, edges))
        self.op("PAD", [x.index, self.whole(*edges)], made, tflite.PadOptions,
                scale=(x.scale, x.zero))  # fmt: skip

    def cut(self, x: Held, *shape: int) -> None:
        starts = [self.number(0, d) for d in shape]
        sizes = [self.number(1, d - s + 1) for d, s in zip(shape, starts)]
        ends = [s + d for s, d in zip(starts, sizes)]
        inputs = [x.index, self.whole(*starts), self.whole(*ends), self.whole(1, 1, 1, 1)]
        self.op("STRIDED_SLICE", inputs, tuple(sizes), tflite.StridedSliceOptions,
                scale=(x.scale, x.zero))  # fmt: skip

    def reorder(self, x: Held, n: int, h: int, w: int, c: int) -> None:
        perm = [0, *(1 + self.rng.permutation(3)).tolist()]
        made = tuple((n, h, w, c)[a] for a in perm)
        self.op("TRANSPOSE", [x.index, self.whole(*perm)], made, tflite.TransposeOptions,
                scale=(x.scale, x.zero))  # fmt: skip

    def soften(self, x: Held, *shape: int) -> None:
        self.op("SOFTMAX", [x.index], shape, tflite.SoftmaxOptions, scale=self.unit(), beta=1.0)

    def requantize(self, x: Held, *shape: int) -> None:
        self.op("QUANTIZE", [x.index], shape, tflite.QuantizeOptions)

    def prelu(self, x: Held, *shape: int) -> None:
        kind = "uint8" if self.dtype == "uint8" else "int8"
        zero = self.number(0, 9) if self.dtype != "int16" else 0
        slope = self.graph.constant(
            self.integers(kind, 1, 1, shape[3]), quantization=([0.01], [zero], 0)
        )
        self.op("PRELU", [x.index, slope], shape)

    def largest(self, x: Held, *shape: int) -> None:
        same = [v for v in self.values if (v.shape, v.scale, v.zero) == (shape, x.scale, x.zero)]
        other = same[self.number(0, len(same))]
        self.op("MAXIMUM", [x.index, other.index], shape, tflite.MaximumMinimumOptions,
                scale=(x.scale, x.zero))  # fmt: skip

    def blocks(self, x: Held, n: int, h: int, w: int, c: int) -> None:
        if h % 2 == 0 and w % 2 == 0 and self.dtype != "int16":
            self.op("SPACE_TO_DEPTH", [x.index], (n, h // 2, w // 2, 4 * c),
                    tflite.SpaceToDepthOptions, scale=(x.scale, x.zero), block_size=2)  # fmt: skip

    def through_float(self, x: Held, *shape: int) -> None:
        """A layer that stayed in float."""
        real = self.graph.op("DEQUANTIZE", [x.index], [shape], tflite.DequantizeOptions)
        real = self.graph.op("ABS", real, [shape], tflite.AbsOptions)
        self.read.add(x.index)
        self.op("QUANTIZE", real, shape, tflite.QuantizeOptions)


def random_model(seed: int, size: int) -> tuple[bytes, np.ndarray]:
    """A model of about ``size`` operators, all of whose unread values are outputs; and a feed."""
    grower = Grower(seed)
    while len(grower.graph.operators) < size:
        grower.grow()
    grower.graph.outputs = [v.index for v in grower.values if v.index not in grower.read]
    return file_of(grower.graph), grower.integers(grower.dtype, *grower.values[0].shape)
