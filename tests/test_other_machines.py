"""ONNX's own cases and real models on every family that can be emulated; `make slow` runs all.

The answers are ONNX's own, and for models ONNX Runtime's.
"""

from __future__ import annotations

import importlib.util
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from armlet import api, emulator
from armlet.compare import difference
from armlet.errors import ArmletError
from armlet.frontends.onnx import load
from armlet.targets import target
from tests.frontends.onnx.test_backend import _array, _baked

FAMILIES = (
    "linux-arm64", "linux-armv7", "linux-riscv64", "wasm32",
    pytest.param("android-arm64", marks=pytest.mark.slow),
    pytest.param("android-armv7", marks=pytest.mark.slow),
)  # fmt: skip
#: cases of each family in the slow suite, and in the quick one
CASES, QUICK = 100, 3
#: qemu's models of processors that run Armv8.0 code, oldest first; "max" has SVE2
PROCESSORS = ("cortex-a53", "cortex-a57", "cortex-a72", "cortex-a76", "neoverse-n1", "max")
SHAPES = {
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": (1, 3, 48, 192),
    "ch_PP-OCRv4_rec_infer.onnx": (1, 3, 48, 160),
    "ch_PP-OCRv4_det_infer.onnx": (1, 3, 160, 160),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    if why_not := emulator.find(target(request.param)).missing:
        pytest.skip(why_not)
    return request.param


@lru_cache(maxsize=1)
def _cases() -> dict[str, Any]:
    """Cases of float tensors that the front end takes, evenly over ONNX's list."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case import node

        found = {}
        for case in sorted(node.collect_testcases(None), key=lambda c: c.name):
            inputs = case.data_sets[0][0]
            plain = all(isinstance(v, np.ndarray) and v.size for v in inputs)
            if plain and any(v.dtype == np.float32 for v in inputs):
                found[case.name] = case
    return found


def _module(case: Any) -> tuple[Any, dict[str, np.ndarray]] | None:
    feeds = {i.name: _array(v) for i, v in zip(case.model.graph.input, case.data_sets[0][0])}
    try:
        module = load(_baked(case.model, feeds), {k: v.shape for k, v in feeds.items()})
    except ArmletError:
        return None
    return (module, feeds) if module.main.bindings else None


def _run(cases: list[Any], family: str, count: int) -> int:
    right = 0
    for case in cases:
        if right == count:
            break
        loaded = _module(case)
        if loaded is None:
            continue
        module, feeds = loaded
        made = api.compile(module, family, data=feeds, tolerance=1e-3)
        assert not made.not_run, made.not_run
        got = made.run(feeds)
        for name, want in zip(module.outputs, map(_array, case.data_sets[0][1]), strict=True):
            np.testing.assert_allclose(
                got[name], want, rtol=max(case.rtol, 1e-3), atol=1e-5, err_msg=case.name
            )
        right += 1
    return right


def test_a_few_cases_are_right(family):
    chosen = [
        _cases()[n]
        for n in ("test_gelu_tanh_2", "test_basic_conv_with_padding", "test_gru_defaults")
    ]
    assert _run(chosen, family, QUICK) == QUICK


@pytest.mark.slow
def test_a_hundred_cases_are_right(family):
    every = list(_cases().values())
    spread = [every[i] for start in range(7) for i in range(start, len(every), 7)]
    assert _run(spread, family, CASES) == CASES


def _real(name: str) -> Path:
    spec = importlib.util.find_spec("rapidocr_onnxruntime")
    assert spec and spec.submodule_search_locations, "make test installs the models"
    return Path(spec.submodule_search_locations[0]) / "models" / name


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_real_models_answer_as_here(name, family):
    import onnxruntime

    x = np.random.default_rng(1).uniform(-1, 1, SHAPES[name]).astype(np.float32)
    made = api.compile(_real(name), family, shapes={"x": SHAPES[name]}, data={"x": x})
    assert made.manifest["verified_by"]
    session = onnxruntime.InferenceSession(_real(name), providers=["CPUExecutionProvider"])
    right = session.run(None, {"x": x})[0]
    (found,) = made.run({"x": x}).values()
    # the detector's map of noise is all but zero: see armlet/compare.py
    if "det" not in name:
        assert difference("y", right, found).within(1e-4)


@pytest.mark.slow
def test_one_artifact_runs_on_every_processor(monkeypatch, small_cnn):
    if why_not := emulator.find(target("linux-arm64")).missing:
        pytest.skip(why_not)
    shape = (1, 3, 14, 11)
    made = api.compile(small_cnn, "linux-arm64", shapes={"x": shape})
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    answers = []
    for processor in PROCESSORS:
        monkeypatch.setenv("QEMU_CPU", processor)
        answers.append(made.run({"x": x})["y"])
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])
