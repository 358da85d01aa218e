"""Convolutions for phones: everything made of depthwise and 1x1 convolutions.

mobilenet_v1 (arXiv:1704.04861), v2 (arXiv:1801.04381), v3 (arXiv:1905.02244), mnasnet
(arXiv:1807.11626), efficientnet_lite0 (TensorFlow's variant of arXiv:1905.11946 without
squeeze-excite and swish).
"""

from __future__ import annotations

from onnx import ModelProto

from .tensor import Tensor, image, outputs


def mobilenet_v1(size: int = 224) -> ModelProto:
    x = image(size).conv(32, 3, stride=2).relu6()
    for channels, stride in (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1),
        (512, 1), (512, 1), (1024, 2), (1024, 1),
    ):  # fmt: skip
        x = x.depthwise(3, stride).relu6().conv(channels).relu6()
    return outputs("mobilenet_v1", logits=x.classify())


def activate(x: Tensor, kind: str) -> Tensor:
    return getattr(x, kind)()


def squeeze_excite(x: Tensor) -> Tensor:
    """A quarter of the channels, rounded to eights, though never by more than a tenth down."""
    quarter = x.shape[1] / 4
    squeezed = max(8, int(quarter + 4) // 8 * 8)
    squeezed += 8 * (squeezed < 0.9 * quarter)
    return x * x.global_pool().conv(squeezed).relu().conv(x.shape[1]).hard_sigmoid()


def inverted_residual(
    x: Tensor,
    channels: int,
    expanded: int,
    kernel: int = 3,
    stride: int = 1,
    act: str = "relu6",
    squeeze: bool = False,
) -> Tensor:
    """Wide inside, narrow outside; no activation at the narrow end."""
    y = x
    if expanded != x.shape[1]:
        y = activate(y.conv(expanded), act)
    y = activate(y.depthwise(kernel, stride), act)
    if squeeze:
        y = squeeze_excite(y)
    y = y.conv(channels, gain=1)
    return x + y if stride == 1 and channels == x.shape[1] else y


def stages(x: Tensor, table: tuple[tuple[int, int, int, int, int], ...], act: str) -> Tensor:
    """Rows of (expansion, kernel, channels, repeats, stride of the first)."""
    for expansion, kernel, channels, repeats, stride in table:
        for i in range(repeats):
            step = stride if i == 0 else 1
            x = inverted_residual(x, channels, x.shape[1] * expansion, kernel, step, act)
    return x


def mobilenet_v2(size: int = 224) -> ModelProto:
    x = image(size).conv(32, 3, stride=2).relu6()
    x = stages(x, (
        (1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 3, 32, 3, 2), (6, 3, 64, 4, 2), (6, 3, 96, 3, 1),
        (6, 3, 160, 3, 2), (6, 3, 320, 1, 1),
    ), "relu6")  # fmt: skip
    return outputs("mobilenet_v2", logits=x.conv(1280).relu6().classify())


def mobilenet_v3_large(size: int = 224) -> ModelProto:
    x = image(size).conv(16, 3, stride=2).hard_swish()
    for kernel, expanded, channels, squeeze, act, stride in (
        (3, 16, 16, False, "relu", 1),
        (3, 64, 24, False, "relu", 2),
        (3, 72, 24, False, "relu", 1),
        (5, 72, 40, True, "relu", 2),
        (5, 120, 40, True, "relu", 1),
        (5, 120, 40, True, "relu", 1),
        (3, 240, 80, False, "hard_swish", 2),
        (3, 200, 80, False, "hard_swish", 1),
        (3, 184, 80, False, "hard_swish", 1),
        (3, 184, 80, False, "hard_swish", 1),
        (3, 480, 112, True, "hard_swish", 1),
        (3, 672, 112, True, "hard_swish", 1),
        (5, 672, 160, True, "hard_swish", 2),
        (5, 960, 160, True, "hard_swish", 1),
        (5, 960, 160, True, "hard_swish", 1),
    ):
        x = inverted_residual(x, channels, expanded, kernel, stride, act, squeeze)
    x = x.conv(960).hard_swish().global_pool().flatten().linear(1280, gain=2).hard_swish()
    return outputs("mobilenet_v3_large", logits=x.linear(1000))


def mnasnet1_0(size: int = 224) -> ModelProto:
    x = image(size).conv(32, 3, stride=2).relu().depthwise(3).relu().conv(16, gain=1)
    x = stages(x, (
        (3, 3, 24, 3, 2), (3, 5, 40, 3, 2), (6, 5, 80, 3, 2), (6, 3, 96, 2, 1), (6, 5, 192, 4, 2),
        (6, 3, 320, 1, 1),
    ), "relu")  # fmt: skip
    return outputs("mnasnet1_0", logits=x.conv(1280).relu().classify())


def efficientnet_lite0(size: int = 224) -> ModelProto:
    x = image(size).conv(32, 3, stride=2).relu6()
    x = stages(x, (
        (1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2), (6, 5, 112, 3, 1),
        (6, 5, 192, 4, 2), (6, 3, 320, 1, 1),
    ), "relu6")  # fmt: skip
    return outputs("efficientnet_lite0", logits=x.conv(1280).relu6().classify())
