"""The benchmark models: standard architectures built in code, with seeded weights.

    python -m benchmarks.zoo OUT_DIR [names…]

writes them as ONNX files, all or the named ones. Each is a function of the picture's size (of
the number of tokens, for ``bert``), fp32, batch 1. One file a family; ``tensor.py`` has the
words in which they are written. A new model is a function, named here.
"""

from __future__ import annotations

from .bert import bert
from .inception import inception_v3
from .mobilenet import (
    efficientnet_lite0,
    mnasnet1_0,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3_large,
)
from .resnet import resnet18, resnet50
from .shufflenet import shufflenet_v2_x1_0
from .squeezenet import squeezenet1_1
from .unet import unet
from .vgg import vgg16
from .yolo import yolov3_tiny, yolov5n

MODELS = {
    model.__name__: model
    for model in (
        mobilenet_v1, mobilenet_v2, mobilenet_v3_large, mnasnet1_0, efficientnet_lite0, resnet18,
        resnet50, squeezenet1_1, shufflenet_v2_x1_0, inception_v3, vgg16, unet, yolov3_tiny,
        yolov5n, bert,
    )
}  # fmt: skip
