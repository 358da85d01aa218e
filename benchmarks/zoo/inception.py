"""Inception v3 (arXiv:1512.00567) without its auxiliary classifier, as torchvision has it."""

from __future__ import annotations

from onnx import ModelProto

from .tensor import Kernel, Tensor, concat, image, outputs

#: kernels of rows and of columns
ROW3, COLUMN3, ROW7, COLUMN7 = (1, 3), (3, 1), (1, 7), (7, 1)


def convs(x: Tensor, *layers: tuple[int, Kernel], stride: int = 1) -> Tensor:
    """Convolutions in a row; a stride is the last one's, which then has no padding."""
    for i, (channels, kernel) in enumerate(layers):
        last = stride > 1 and i == len(layers) - 1
        x = x.conv(channels, kernel, stride if last else 1, pad=0 if last else None).relu()
    return x


def pooled(x: Tensor, channels: int) -> Tensor:
    return convs(x.average_pool(3, 1, pad=1), (channels, 1))


def block35(x: Tensor, pool: int) -> Tensor:
    return concat(
        convs(x, (64, 1)),
        convs(x, (48, 1), (64, 5)),
        convs(x, (64, 1), (96, 3), (96, 3)),
        pooled(x, pool),
    )


def down17(x: Tensor) -> Tensor:
    return concat(
        convs(x, (384, 3), stride=2),
        convs(x, (64, 1), (96, 3), (96, 3), stride=2),
        x.max_pool(3, 2),
    )


def block17(x: Tensor, c: int) -> Tensor:
    return concat(
        convs(x, (192, 1)),
        convs(x, (c, 1), (c, ROW7), (192, COLUMN7)),
        convs(x, (c, 1), (c, COLUMN7), (c, ROW7), (c, COLUMN7), (192, ROW7)),
        pooled(x, 192),
    )


def down8(x: Tensor) -> Tensor:
    return concat(
        convs(x, (192, 1), (320, 3), stride=2),
        convs(x, (192, 1), (192, ROW7), (192, COLUMN7), (192, 3), stride=2),
        x.max_pool(3, 2),
    )


def block8(x: Tensor) -> Tensor:
    a = convs(x, (384, 1))
    b = convs(x, (448, 1), (384, 3))
    return concat(
        convs(x, (320, 1)),
        concat(convs(a, (384, ROW3)), convs(a, (384, COLUMN3))),
        concat(convs(b, (384, ROW3)), convs(b, (384, COLUMN3))),
        pooled(x, 192),
    )


def inception_v3(size: int = 299) -> ModelProto:
    x = image(size).conv(32, 3, stride=2, pad=0).relu().conv(32, 3, pad=0).relu()
    x = x.conv(64, 3).relu().max_pool(3, 2)
    x = x.conv(80).relu().conv(192, 3, pad=0).relu().max_pool(3, 2)
    for pool in (32, 64, 64):
        x = block35(x, pool)
    x = down17(x)
    for channels in (128, 160, 160, 192):
        x = block17(x, channels)
    x = block8(block8(down8(x)))
    return outputs("inception_v3", logits=x.classify())
