"""SqueezeNet 1.1 (arXiv:1602.07360, its authors' later variant)."""

from __future__ import annotations

from onnx import ModelProto

from .tensor import Tensor, concat, image, outputs


def fire(x: Tensor, squeezed: int, expanded: int) -> Tensor:
    s = x.conv(squeezed).relu()
    return concat(s.conv(expanded).relu(), s.conv(expanded, 3).relu())


def squeezenet1_1(size: int = 224) -> ModelProto:
    x = image(size).conv(64, 3, stride=2, pad=0).relu().max_pool(3, 2)
    x = fire(fire(x, 16, 64), 16, 64).max_pool(3, 2)
    x = fire(fire(x, 32, 128), 32, 128).max_pool(3, 2)
    x = fire(fire(x, 48, 192), 48, 192)
    x = fire(fire(x, 64, 256), 64, 256)
    return outputs("squeezenet1_1", logits=x.conv(1000).relu().global_pool().flatten())
