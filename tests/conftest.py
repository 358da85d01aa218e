"""Shared by all tests: caches of their own, and small ONNX models."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

#: as root, offline, with nothing of its own to fetch
CHROMIUM = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=9000",
)  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test depends on what an earlier run compiled or tuned; workers of one run share."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["ARMLET_CACHE"] = str(shared / "armlet-cache")
    os.environ["ARMLET_RECORDS"] = str(shared / "armlet-records")
    os.environ["ARMLET_DEVICES"] = str(base / "armlet-devices" / "devices.toml")


def _constant(name: str, shape: tuple[int, ...], seed: int) -> onnx.TensorProto:
    data = np.random.default_rng(seed).standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)
    return numpy_helper.from_array(data.astype(np.float32), name)


@pytest.fixture
def small_cnn(tmp_path: Path) -> Path:
    """Convolution, batch normalisation, hard swish, pooling and a dense layer."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], name="stem", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "g", "b", "m", "v"], ["n1"], name="stem.bn"),
        helper.make_node("HardSwish", ["n1"], ["a1"], name="stem.act"),
        helper.make_node(
            "Conv", ["a1", "w2"], ["c2"], name="depthwise", pads=[1, 1, 1, 1], group=12
        ),
        helper.make_node("Add", ["c2", "a1"], ["s"], name="residual"),
        helper.make_node("GlobalAveragePool", ["s"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], name="head", transB=1),
    ]
    initializers = [
        _constant("w1", (12, 3, 3, 3), 1), _constant("g", (12,), 2), _constant("b", (12,), 3),
        _constant("m", (12,), 4), numpy_helper.from_array(np.full(12, 0.5, "f"), "v"),
        _constant("w2", (12, 1, 3, 3), 5), _constant("w3", (5, 12), 6), _constant("b3", (5,), 7),
    ]  # fmt: skip
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 14, 11])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])
    graph = helper.make_graph(nodes, "small", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "small.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def one_node(tmp_path: Path) -> Callable[..., Path]:
    """Writes a model of one node: ``one_node("Relu", (2, 3))``."""

    def write(operator: str, *shapes: tuple[int, ...], opset: int = 17, **attributes) -> Path:
        names = [f"x{i}" for i in range(len(shapes))]
        node = helper.make_node(operator, names, ["y"], name="node", **attributes)
        inputs = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes)
        ]
        output = helper.make_value_info("y", onnx.TypeProto())
        graph = helper.make_graph([node], "one", inputs, [output])
        opsets = [helper.make_opsetid("", opset)]
        path = tmp_path / f"{operator}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
        return path

    return write


@pytest.fixture
def rendered(tmp_path: Path) -> Callable[[Path | str], str]:
    """The document of a page as Chromium leaves it once its scripts have run."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")

    def run(page: Path | str) -> str:
        address = page.as_uri() if isinstance(page, Path) else page
        command = [chromium, *CHROMIUM, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
        done = subprocess.run([*command, address], capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
