"""ONNX's own tests of single operators, through import and evaluation."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from armlet.compiler.ir import Var
from armlet.compiler.ops.interpreter import evaluate
from armlet.errors import ArmletError, InternalError, UnsupportedModelError
from armlet.frontends.onnx import load
from armlet.frontends.onnx.registry import HANDLERS

#: at least so many of ONNX 1.23's cases are imported and right
LEAST = 1150
#: wrong by design: ONNX's reference disagrees with ONNX Runtime, whose answer is ours
DISPUTED = {
    "test_resize_downsample_scales_cubic_align_corners",
    "test_resize_downsample_scales_linear_align_corners",
}


def _array(data: Any) -> np.ndarray:
    """The data; integers of less than a byte each in one."""
    array = numpy_helper.to_array(data) if isinstance(data, onnx.TensorProto) else np.asarray(data)
    narrow = re.fullmatch(r"(u?)int[24]", array.dtype.name)
    return array.astype(f"{narrow[1]}int8") if narrow else array


def _baked(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The model with inputs that must be constants as such; they leave the feeds."""
    baked = onnx.ModelProto()
    baked.CopyFrom(model)
    for node in model.graph.node:
        handler = HANDLERS.get((node.domain, node.op_type))
        for parameter, name in zip(handler.inputs if handler else (), node.input):
            if name in feeds and Var not in parameter.accepts:
                baked.graph.initializer.append(numpy_helper.from_array(feeds.pop(name), name))
    return baked


def _verdict(case: Any) -> str:
    inputs, outputs = case.data_sets[0]
    if not all(isinstance(v, (np.ndarray, np.generic, onnx.TensorProto)) for v in inputs):
        return "no tensors"
    feeds = {i.name: _array(v) for i, v in zip(case.model.graph.input, inputs)}
    if any(0 in array.shape for array in feeds.values()):
        return "empty"
    try:
        module = load(_baked(case.model, feeds), {k: v.shape for k, v in feeds.items()})
    except InternalError:
        raise
    except UnsupportedModelError:
        return "unsupported"
    except ArmletError as error:
        return f"{error.id}"
    for got, want in zip(evaluate(module.main, feeds), map(_array, outputs), strict=True):
        half = want.dtype == np.float16
        rtol, atol = (5e-3, 2e-3) if half else (max(case.rtol, 1e-3), max(case.atol or 0, 1e-6))
        same = got.dtype == want.dtype and got.shape == want.shape
        if not same or not np.allclose(got, want, rtol=rtol, atol=atol, equal_nan=True):
            return "wrong"
    return "right"


@pytest.fixture(scope="module")
def verdicts() -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case import node

        return {case.name: _verdict(case) for case in node.collect_testcases(None)}


def test_no_case_is_wrong(verdicts: dict[str, str]) -> None:
    assert {name for name, verdict in verdicts.items() if verdict == "wrong"} <= DISPUTED


def test_every_case_of_integers_is_right(verdicts: dict[str, str]) -> None:
    """Of quantisation: all but those of floats of eight and four bits, which are refused."""
    kinds = r"quantize|qlinear|matmulinteger|convinteger"
    chosen = {n: v for n, v in verdicts.items() if re.search(kinds, n)}
    refused = {n for n in chosen if re.search(r"e4m3|e5m2|e2m1", n)}
    assert len(chosen) - len(refused) >= 30
    assert {n for n, v in chosen.items() if v != "right"} == refused


def test_most_cases_are_imported(verdicts: dict[str, str]) -> None:
    counts = Counter(verdicts.values())
    assert counts["right"] >= LEAST, counts
