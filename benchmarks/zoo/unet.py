"""U-Net (arXiv:1505.04597) for 256x256 pictures: padded convolutions, 32 to 512 channels, one
class, as in Buda et al.'s segmentation of MRI (arXiv:1906.03720)."""

from __future__ import annotations

from onnx import ModelProto

from .tensor import Tensor, concat, image, outputs

CHANNELS = (32, 64, 128, 256)


def twice(x: Tensor, channels: int) -> Tensor:
    return x.conv(channels, 3).relu().conv(channels, 3).relu()


def unet(size: int = 256) -> ModelProto:
    x, skipped = image(size), []
    for channels in CHANNELS:
        x = twice(x, channels)
        skipped.append(x)
        x = x.max_pool(2, 2)
    x = twice(x, 512)
    for channels, skip in zip(reversed(CHANNELS), reversed(skipped)):
        x = twice(concat(x.conv_transpose(channels, 2, 2), skip), channels)
    return outputs("unet", mask=x.conv(1, gain=1).sigmoid())
