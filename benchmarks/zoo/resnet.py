"""Residual networks (arXiv:1512.03385), the stride of a bottleneck in its 3x3 (v1.5)."""

from __future__ import annotations

from collections.abc import Callable

from onnx import ModelProto

from .tensor import Tensor, image, outputs

#: variance of what a block adds to its input: small, for depth multiplies it
RESIDUAL = 0.5


def shortcut(x: Tensor, channels: int, stride: int) -> Tensor:
    return x if channels == x.shape[1] and stride == 1 else x.conv(channels, 1, stride, gain=1)


def basic(x: Tensor, width: int, stride: int) -> Tensor:
    y = x.conv(width, 3, stride).relu().conv(width, 3, gain=RESIDUAL)
    return (y + shortcut(x, width, stride)).relu()


def bottleneck(x: Tensor, width: int, stride: int) -> Tensor:
    y = x.conv(width).relu().conv(width, 3, stride).relu().conv(4 * width, gain=RESIDUAL)
    return (y + shortcut(x, 4 * width, stride)).relu()


def resnet(
    name: str, size: int, block: Callable[[Tensor, int, int], Tensor], depths: tuple[int, ...]
) -> ModelProto:
    x = image(size).conv(64, 7, stride=2).relu().max_pool(3, 2, pad=1)
    for stage, depth in enumerate(depths):
        for i in range(depth):
            x = block(x, 64 << stage, 2 if stage and i == 0 else 1)
    return outputs(name, logits=x.classify())


def resnet18(size: int = 224) -> ModelProto:
    return resnet("resnet18", size, basic, (2, 2, 2, 2))


def resnet50(size: int = 224) -> ModelProto:
    return resnet("resnet50", size, bottleneck, (3, 4, 6, 3))
