"""Models with the toy NPU of ``examples/npu_backend``, from the file to the answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import armlet
from armlet import api
from armlet.errors import AcceleratorError, PartitionError
from armlet.targets.npu import Estimate

TOY = Path(__file__).parents[1] / "examples" / "npu_backend"
CC = shutil.which("gcc") or shutil.which("cc")
pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler on this machine")


@pytest.fixture(scope="module")
def toy():
    sys.path.insert(0, str(TOY))
    try:
        import toy_npu
    finally:
        sys.path.remove(str(TOY))
    return toy_npu.Toy


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> str:
    made = tmp_path_factory.mktemp("toy") / "libtoynpu.so"
    command = [str(CC), "-O2", "-shared", "-fPIC", "-o", made, TOY / "toy_npu" / "toy_device.c"]
    subprocess.run(command, check=True)
    return str(made)


@pytest.fixture
def device(library, monkeypatch):
    monkeypatch.setenv("TOY_NPU_LIBRARY", library)


def model(path: Path, layers: str, size: int, channels: int = 32) -> Path:
    """A chain of convolutions (c), relu (r) and tanh (t), which the toy NPU has not."""
    rng, nodes, weights, value = np.random.default_rng(0), [], [], "x"
    for i, kind in enumerate(layers):
        operands = [value]
        if kind == "c":
            w = rng.standard_normal((channels, channels, 3, 3)) / np.sqrt(channels * 9)
            weights.append(numpy_helper.from_array(w.astype("f"), f"w{i}"))
            operands.append(f"w{i}")
        op = {"c": "Conv", "r": "Relu", "t": "Tanh"}[kind]
        pads = {"pads": [1, 1, 1, 1]} if kind == "c" else {}
        value = f"v{i}"
        nodes.append(helper.make_node(op, operands, [value], name=f"{op.lower()}{i}", **pads))
    shape = [1, channels, size, size]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("x", value)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, path)
    return path


def sample(size: int, channels: int = 32) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {"x": rng.standard_normal((1, channels, size, size)).astype("f")}


def eager(toy):
    """The toy NPU, which promises to be faster than any CPU."""

    class Eager(toy):
        def estimate(self, region):
            return Estimate(0.0, 0.0, 0.0)

    return Eager()


@pytest.fixture(scope="module")
def small(toy, tmp_path_factory):
    """A model with two regions, compiled where there is no device."""
    path = model(tmp_path_factory.mktemp("small") / "m.onnx", "crtcrtr", 9)
    compiled = api.compile(path, npu=[eager(toy)])
    compiled.save(path.with_suffix(".so"))
    return path.with_suffix(".so")


def test_the_device_computes_what_the_cpu_does(small, device):
    with armlet.open(small) as npu, armlet.open(small, devices="leave") as cpu:
        assert [r.live for r in npu.regions] == [True] * 3
        assert [r.reason for r in cpu.regions] == ["accelerators are not used"] * 3
        right, found = cpu.run(sample(9))["v6"], npu.run(sample(9))["v6"]
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-6)
        assert npu.selftest().passed


def test_without_the_device_the_cpu_does_it_and_says_so(small, monkeypatch):
    monkeypatch.setenv("TOY_NPU_LIBRARY", "/nowhere/libtoynpu.so")
    with armlet.open(small) as without, armlet.open(small, devices="leave") as cpu:
        assert {r.reason for r in without.regions} == {"libtoynpu.so cannot be opened"}
        x = sample(9)
        np.testing.assert_array_equal(without.run(x)["v6"], cpu.run(x)["v6"])
    with pytest.raises(AcceleratorError, match=r"region 0 .*libtoynpu.so cannot be opened"):
        armlet.open(small, devices="require")


def test_the_artifact_says_which_tasks_are_whose(small):
    with armlet.open(small) as opened:
        names = [(r["back_end"], r["name"]) for r in opened.manifest["regions"]]
        ranges = [range(r.first_task, r.first_task + r.task_count) for r in opened.regions]
    assert names == [
        ("toy:t1", "conv0 .. relu1"),
        ("toy:t1", "conv3 .. relu4"),
        ("toy:t1", "relu6"),
    ]
    tasks = [t for r in ranges for t in r]
    assert tasks == sorted(set(tasks))


def test_results_of_regions_are_observed_and_their_time_is_profiled(small, device):
    seen = []
    with armlet.open(small) as npu:
        with npu.observe(lambda name, data: seen.append(name)):
            npu.run(sample(9))
        layers = npu.profile(sample(9), runs=3)
        assert [r.calls for r in npu.regions] == [3, 3, 3]
        assert all(r.seconds >= 200e-6 for r in npu.regions)
        inside = {t for r in npu.regions for t in range(r.first_task, r.first_task + r.task_count)}
    assert {i for i, layer in enumerate(layers) if not layer.calls} == inside
    assert [name for name in seen if "@" not in name] == ["v1", "v2", "v4", "v5", "v6"]


def test_all_reasons_are_told_where_the_npu_must_do_everything(toy, tmp_path):
    path = model(tmp_path / "m.onnx", "ctcrt", 9)
    with pytest.raises(PartitionError) as caught:
        api.compile(path, npu=[eager(toy)], require_npu=True)
    assert str(caught.value).count("it has no instruction for tanh") == 2


#: 40 layers, 6 of which the toy NPU has not; it wins on the long stretches only
FORTY = "c" * 11 + "trt" + "c" * 11 + "trt" + "c" * 9 + "trt"


@pytest.mark.slow
def test_the_plan_beats_the_cpu_alone_and_the_device_for_everything(
    toy, tmp_path, device, monkeypatch
):
    monkeypatch.setenv("TOY_NPU_TIME_ONLY", "1")
    path = model(tmp_path / "forty.onnx", FORTY, 28)
    report = api.check_npu(path, [toy()])
    greedy = api.check_npu(path, [eager(toy)])
    assert len(report.calls) == 40
    seconds = {}
    for name, npu in {"cpu": [], "plan": [toy()], "everything": [eager(toy)]}.items():
        made = _timed(path, npu)
        with made as opened:
            times = opened.benchmark(sample(28), seconds=2).seconds
        seconds[name] = float(np.median(times))
    print(seconds, len(report.taken), len(greedy.taken))
    assert 0 < len(report.taken) < len(greedy.taken)
    assert seconds["plan"] < 0.9 * seconds["cpu"]
    assert seconds["plan"] < 0.97 * seconds["everything"]


def _timed(path: Path, npu):
    """Compiled without the device, which computes nothing; opened with it."""
    at = os.environ.pop("TOY_NPU_LIBRARY")
    made = api.compile(path, npu=npu)
    os.environ["TOY_NPU_LIBRARY"] = at
    return armlet.open(made.path, keep=made)


def test_a_copied_folder_is_a_back_end_through_its_entry_point(tmp_path):
    shutil.copytree(TOY / "toy_npu", tmp_path / "my_npu")
    facts = tmp_path / "my_npu-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: my-npu\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[armlet.back_ends]\nmine = my_npu\n")
    path = model(tmp_path / "m.onnx", "ct", 9)
    done = subprocess.run(
        [sys.executable, "-m", "armlet", "check", path, "--npu", "mine:t1", "--json"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    placed = json.loads(done.stdout)["npu"]
    assert "it would take" in placed["calls"][0]["reasons"][0]
    assert placed["calls"][1]["reasons"] == ["toy:t1: it has no instruction for tanh"]
