"""Real trained models, out of a registry package, through the whole compiler.

The package rapidocr-onnxruntime 1.4.4 ships the PP-OCRv4 models (Apache-2.0); ``make test``
installs it. The detector, which takes longest, is in the slow suite.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

import armlet
from armlet.compare import difference
from armlet.emulator import find
from armlet.targets import target

MODELS = {
    "classifier": (
        "ch_ppocr_mobile_v2.0_cls_infer.onnx", (1, 3, 48, 192),
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
    ),
    "recogniser": (
        "ch_PP-OCRv4_rec_infer.onnx", (1, 3, 48, 320),
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
    ),
    "detector": (
        "ch_PP-OCRv4_det_infer.onnx", (1, 3, 640, 640),
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    ),
}  # fmt: skip


@pytest.fixture(
    scope="module",
    params=["classifier", "recogniser", pytest.param("detector", marks=pytest.mark.slow)],
)
def compiled(request):
    path, shape = locate(request.param)
    return path, shape, armlet.compile(path, shapes={"x": shape})


def locate(name):
    file, shape, digest = MODELS[name]
    spec = importlib.util.find_spec("rapidocr_onnxruntime")
    assert spec and spec.submodule_search_locations, "make test installs the models"
    path = Path(spec.submodule_search_locations[0]) / "models" / file
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    return path, shape


def photograph(shape):
    """A sign with text, in -1..1: on noise the detector's map is zero but for rounding."""
    image = cv2.imread(str(Path(__file__).parents[2] / "examples/ocr/sign.jpg"))
    scaled = cv2.resize(image, shape[:1:-1]).astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def test_the_answer_is_onnx_runtimes(compiled):
    path, shape, model = compiled
    x = photograph(shape)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    right = session.run(None, {"x": x})[0]
    (output,) = model.outputs
    assert difference("y", right, model.run({"x": x})[output.name]).within(1e-4)
    assert model.selftest().passed


def test_code_and_memory_stay_small(compiled):
    _, _, model = compiled
    manifest = model.manifest
    assert manifest["arena_bytes"] <= 1.15 * manifest["arena_lower_bound"]
    assert model.path.stat().st_size - manifest["constant_bytes"] <= 400 << 10


A76 = target("linux-arm64-cortex-a76")


@pytest.mark.skipif(bool(find(A76).missing), reason=find(A76).missing)
def test_the_classifier_keeps_its_answers_in_float16():
    """A sign is upright, and turned around it is not."""
    path, shape = locate("classifier")
    upright = photograph(shape)
    model = armlet.compile(path, A76, shapes={"x": shape}, data={"x": upright}, precision="fp16")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for x in (upright, np.ascontiguousarray(upright[..., ::-1, ::-1])):
        right, (found,) = session.run(None, {"x": x})[0], model.run({"x": x}).values()
        assert right.argmax() == found.argmax()
        assert difference("y", right, found).within(2e-2)
