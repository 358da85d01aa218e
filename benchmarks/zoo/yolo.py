"""Detectors of 80 classes: YOLOv3-tiny (arXiv:1804.02767) and YOLOv5n 6.x with its decoding.

YOLOv3-tiny ends in its two maps, as Darknet's network does.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from .tensor import Tensor, concat, image, outputs

#: box, objectness, classes
FIELDS = 4 + 1 + 80
#: stride -> anchors of its map, in pixels
ANCHORS = {
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}


def yolov3_tiny(size: int = 416) -> ModelProto:
    def leaky(x: Tensor, channels: int, kernel: int = 3) -> Tensor:
        return x.conv(channels, kernel).leaky_relu()

    x = image(size)
    for channels in (16, 32, 64, 128):
        x = leaky(x, channels).max_pool(2, 2)
    fine = leaky(x, 256)
    x = leaky(fine.max_pool(2, 2), 512).max_pool(2, 1, pads=[0, 0, 1, 1])
    x = leaky(leaky(x, 1024), 256, 1)
    large = leaky(x, 512).conv(3 * FIELDS, gain=1)
    x = concat(leaky(x, 128, 1).upsample(), fine)
    small = leaky(x, 256).conv(3 * FIELDS, gain=1)
    return outputs("yolov3_tiny", large=large, small=small)


def conv(x: Tensor, channels: int, kernel: int = 1, stride: int = 1) -> Tensor:
    return x.conv(channels, kernel, stride).silu()


def bottleneck(x: Tensor, add: bool) -> Tensor:
    y = conv(conv(x, x.shape[1]), x.shape[1], 3)
    return x + y if add else y


def c3(x: Tensor, channels: int, depth: int, add: bool = True) -> Tensor:
    """A cross-stage partial block: half of the channels go around the bottlenecks."""
    y, around = conv(x, channels // 2), conv(x, channels // 2)
    for _ in range(depth):
        y = bottleneck(y, add)
    return conv(concat(y, around), channels)


def pyramid_pool(x: Tensor) -> Tensor:
    pools = [conv(x, x.shape[1] // 2)]
    for _ in range(3):
        pools.append(pools[-1].max_pool(5, 1, pad=2))
    return conv(concat(*pools), x.shape[1])


def decoded(x: Tensor, stride: int) -> Tensor:
    """A map -> rows of boxes in pixels, objectness and classes."""
    _, _, h, w = x.shape
    x = x.reshape(1, 3, FIELDS, h, w).transpose(0, 1, 3, 4, 2).sigmoid()
    centre, extent, rest = x.split(2, 2, FIELDS - 4, axis=4)
    rows, columns = np.mgrid[:h, :w]
    grid = np.stack([columns, rows], -1)[None, None].astype(np.float32) - 0.5
    anchors = np.array(ANCHORS[stride], np.float32).reshape(1, 3, 1, 1, 2)
    centre = (centre * 2.0).op("Add", grid) * float(stride)
    extent = (extent * 2.0).op("Pow", np.array(2, np.float32)).op("Mul", anchors)
    return concat(centre, extent, rest, axis=4).reshape(1, 3 * h * w, FIELDS)


def yolov5n(size: int = 640) -> ModelProto:
    x = conv(image(size).conv(16, 6, 2, pad=2).silu(), 32, 3, 2)
    p3 = c3(conv(c3(x, 32, 1), 64, 3, 2), 64, 2)
    p4 = c3(conv(p3, 128, 3, 2), 128, 3)
    p5 = conv(pyramid_pool(c3(conv(p4, 256, 3, 2), 256, 1)), 128)
    n4 = conv(c3(concat(p5.upsample(), p4), 128, 1, add=False), 64)
    small = c3(concat(n4.upsample(), p3), 64, 1, add=False)
    middle = c3(concat(conv(small, 64, 3, 2), n4), 128, 1, add=False)
    large = c3(concat(conv(middle, 128, 3, 2), p5), 256, 1, add=False)
    boxes = [
        decoded(x.conv(3 * FIELDS, gain=1), stride)
        for x, stride in zip((small, middle, large), ANCHORS)
    ]
    return outputs("yolov5n", boxes=concat(*boxes))
