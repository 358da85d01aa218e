"""Artifacts with a region for a GPU: the same file with and without a driver."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import armlet
from armlet import api, artifact
from armlet.cli import main
from armlet.compiler.gpu.shim import SHIM
from armlet.compiler.link import runtime
from armlet.compiler.link.elf import RELOCATABLE, Elf
from armlet.errors import AcceleratorError
from armlet.rpc.device import Device

from ..rpc.local import Agent
from .opencl_host import use_pocl
from .small_gpu import SmallGpu, model

#: of the executor with OpenCL in it, on 64-bit Arm
MOST_EXECUTOR_BYTES = 90 << 10
SHF_ALLOC = 2
X = np.random.default_rng(0).standard_normal((2, 3, 64, 64), np.float32)
Y = np.maximum(X + np.maximum(X, 0), 0)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = tmp_path_factory.mktemp("gpu") / "model.so"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMLET_OPENCL_LIBRARY", "/no/driver.so")
        api.compile(model(), npu=[SmallGpu()]).save(made)
    return made


def test_without_a_driver_the_cpu_answers_and_says_why(path, monkeypatch):
    monkeypatch.setenv("ARMLET_OPENCL_LIBRARY", "/no/driver.so")
    with artifact.open(path) as opened:
        (region,) = opened.regions
        np.testing.assert_array_equal(opened.run({"x": X})["y"], Y)
    assert not region.live and region.reason == (
        "ARMLET_OPENCL_LIBRARY names no OpenCL driver: /no/driver.so"
    )
    with pytest.raises(AcceleratorError, match="names no OpenCL driver"):
        artifact.open(path, devices="require")


def test_with_a_driver_the_gpu_answers(path, monkeypatch, tmp_path):
    monkeypatch.setenv("ARMLET_OPENCL_LIBRARY", "")
    use_pocl()
    for limit in (0, 5):
        with artifact.open(
            path, devices="require", device_cache=tmp_path, max_kernel_ms=limit
        ) as opened:
            np.testing.assert_array_equal(opened.run({"x": X})["y"], Y)
            opened.profile({"x": X}, runs=2)
            (region,) = opened.regions
        to, *layers, back = [layer for layer, seconds in region.steps]
        assert region.live and layers == ["first", "second", "second"]
        assert to.startswith("to ") and back == f"from {to[3:]}"
        assert all(seconds > 0 for _, seconds in region.steps)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_written_is_told_of(path, monkeypatch):
    monkeypatch.setenv("ARMLET_OPENCL_LIBRARY", "")
    use_pocl()
    with artifact.open(path, devices="require", device_cache="/proc/none") as opened:
        (region,) = opened.regions
    assert region.live and "cannot be written" in region.reason


def test_run_and_profile_tell_what_does_each_region(path, monkeypatch, tmp_path, capsys):
    def shell(*arguments: object) -> str:
        assert main([str(a) for a in arguments]) == 0
        return capsys.readouterr().out

    monkeypatch.setenv("ARMLET_OPENCL_LIBRARY", "/no/driver.so")
    why = "on the CPU, not on small-gpu: ARMLET_OPENCL_LIBRARY names no OpenCL driver"
    assert why in shell("run", path, "--input", "random")
    assert main(["run", str(path), "--input", "random", "--accelerators", "require"]) == 2
    capsys.readouterr()
    monkeypatch.setenv("ARMLET_OPENCL_LIBRARY", "")
    use_pocl()
    told = json.loads(shell("profile", path, "--device-cache", tmp_path, "--json"))
    (region,) = told["regions"]
    assert region["live"] and not region["reason"] and list(tmp_path.iterdir())
    rows = {(row["layer"], row["device"]): row for row in told["layers"]}
    assert {layer for layer, _ in rows} > {"first", "second"}
    assert {device for _, device in rows} == {"small-gpu"}
    assert sum(row["share"] for row in told["layers"]) == pytest.approx(1)
    assert ": on small-gpu\n" in shell("run", path, "--input", "random")


def test_an_agent_opens_it(path, monkeypatch, tmp_path):
    monkeypatch.setenv("ARMLET_OPENCL_LIBRARY", "")
    use_pocl()
    folder = Path(os.environ["ARMLET_OPENCL_LIBRARY"]).parent
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))  # the loader names PoCL without a folder
    with Agent(tmp_path / "agent") as agent, Device(agent.entry) as device:
        with device.open(path) as opened:
            np.testing.assert_array_equal(opened.run({"x": X})["y"], Y)
            opened.profile({"x": X}, runs=2)
            (region,) = opened.regions
        assert region.live and not region.reason and region.calls == 2
        assert [layer for layer, _ in region.steps][1:4] == ["first", "second", "second"]
        assert list((tmp_path / "agent" / "drivers").iterdir())


def test_the_executor_with_opencl_is_small():
    triple = armlet.targets.target("android-arm64").zig_triple
    parts = [*runtime.runtime(triple).objects, *runtime.shims(triple, SHIM)]
    sections = [s for p in parts for s in Elf(p.read_bytes(), RELOCATABLE).sections]
    assert 20 << 10 < sum(s.size for s in sections if s.flags & SHF_ALLOC) <= MOST_EXECUTOR_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linux-arm64", "android-arm64", "android-armv7", "linux-riscv64"])
def test_it_needs_libc_alone_on_other_machines(name):
    made = api.compile(model(), name, npu=[SmallGpu()])  # checks that, and runs it by qemu
    assert not made.not_run
    assert "armlet_opencl" not in Elf(made.path.read_bytes()).exports
