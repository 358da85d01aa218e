"""ShuffleNet V2 (arXiv:1807.11164)."""

from __future__ import annotations

from onnx import ModelProto

from .tensor import Tensor, concat, image, outputs


def shuffle(x: Tensor) -> Tensor:
    """Interleaves the two halves of the channels."""
    n, c, h, w = x.shape
    return x.reshape(n, 2, c // 2, h, w).transpose(0, 2, 1, 3, 4).reshape(n, c, h, w)


def branch(x: Tensor, channels: int, stride: int) -> Tensor:
    return x.conv(channels).relu().depthwise(3, stride, gain=1).conv(channels).relu()


def unit(x: Tensor) -> Tensor:
    half = x.shape[1] // 2
    kept, changed = x.split(half, half, axis=1)
    return shuffle(concat(kept, branch(changed, half, 1)))


def down(x: Tensor, channels: int) -> Tensor:
    half = channels // 2
    kept = x.depthwise(3, 2, gain=1).conv(half).relu()
    return shuffle(concat(kept, branch(x, half, 2)))


def shufflenet_v2_x1_0(size: int = 224) -> ModelProto:
    x = image(size).conv(24, 3, stride=2).relu().max_pool(3, 2, pad=1)
    for channels, repeats in ((116, 4), (232, 8), (464, 4)):
        x = down(x, channels)
        for _ in range(repeats - 1):
            x = unit(x)
    return outputs("shufflenet_v2_x1_0", logits=x.conv(1024).relu().classify())
