"""VGG-16 (arXiv:1409.1556), configuration D."""

from __future__ import annotations

from onnx import ModelProto

from .tensor import image, outputs


def vgg16(size: int = 224) -> ModelProto:
    x = image(size)
    for channels, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            x = x.conv(channels, 3).relu()
        x = x.max_pool(2, 2)
    x = x.flatten().linear(4096, gain=2).relu().linear(4096, gain=2).relu()
    return outputs("vgg16", logits=x.linear(1000))
