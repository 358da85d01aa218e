"""Ethos-U: what Vela compiles, what is refused, and the shim against a driver that is none."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from armlet.compiler.ir import Function, TensorType, Var
from armlet.compiler.link import runtime
from armlet.compiler.partition.partition import partition, require_all
from armlet.compiler.records import Records
from armlet.errors import PartitionError
from armlet.targets import target
from armlet.targets.npu import back_end, ethos_u
from armlet.targets.npu.ethos_u import EthosU
from armlet.targets.npu.ethos_u.blob import pack

from ..runtime.test_c_interface import CC, compile_c
from .byte_nets import Net, residual

HERE = Path(__file__).parent
NEEDS_CC = pytest.mark.skipif(CC is None, reason="no C compiler on this machine")


def vela():
    pytest.importorskip("ethosu.vela", reason="Arm's compiler is not installed")


def parted(function: Function, chip: str):
    a55 = target("linux-arm64-cortex-a55")
    return partition(function, [EthosU(chip)], a55, Records(), priced=False)


@pytest.mark.parametrize("chip", ["u55-128", "u65-256", "u85-256"])
def test_vela_compiles_a_region_with_every_kind_of_layer(chip):
    vela()
    found = parted(residual(), chip)
    require_all(found.report)
    (region,) = [p.region for p in found.parts.parts]
    blob = region.back_end.compile(region.function)
    assert blob[:4] == b"AEU1"
    assert b"COP1" in blob
    assert len(blob) % 16 == 0
    (step,) = found.report.steps
    assert step.device.work > 1e-6
    assert step.device.seconds > step.device.work + step.device.launch


def test_the_same_region_gives_the_same_bytes():
    vela()
    npu = back_end("ethos-u:u55-128")
    before = npu.compile(residual())

    ethos_u._vela.cache_clear()
    assert npu.compile(residual()) == before


def test_all_that_the_chip_does_not_do_is_told_with_reasons():
    vela()
    net = Net()
    fast = net.conv(net.x, 8, 1, strides=(4, 4))
    groups = net.conv(net.x, 8, 1, group=2)
    narrow = net.conv(net.x, 8, 3, low=-9)
    report = parted(net.function(fast, groups, narrow), "u55-128").report
    with pytest.raises(PartitionError) as caught:
        require_all(report)
    for reason in (
        "strides (4, 4), and 3 is the most",
        "in 2 groups",
        "limits results to -9 .. 127",
    ):
        assert reason in str(caught.value)


def test_floats_stay_on_the_cpu():
    net = Net()
    report = parted(
        net.function(net.quantize(net.dequantize(net.x, 1, 0), 0.5, 1)), "u55-128"
    ).report
    assert {p.place for p in report.calls} == {"cpu"}


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """(program, driver, folder with the blobs), with the sanitizers."""
    folder = tmp_path_factory.mktemp("ethos-u")
    flags = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    driver, program = folder / "driver.so", folder / "shim"
    compile_c([*flags, "-shared", "-fPIC", HERE / "ethos_u_driver.c", "-o", driver])
    parts = [f"-I{runtime.HEADER.parent}", "-DAPI=armlet_npu_ethos_u", HERE / "shim_driver.c"]
    compile_c([*flags, *parts, *EthosU.shim, "-ldl", "-o", program])
    made = {
        "cmd_data": np.array(b"COP1test"), "weight_data": np.frombuffer(b"weights", np.uint8),
        "scratch_size": np.array(128), "scratch_fast_size": np.array(0),
        "input_offset": [0], "input_region": [1], "output_offset": [64], "output_region": [1],
    }  # fmt: skip
    type = TensorType((1, 3, 4, 5), "uint8")
    blob = pack(Function((Var("x", type),), (), (Var("y", type),)), made)
    (folder / "whole").write_bytes(blob)
    (folder / "short").write_bytes(blob[:-16])
    outside = pack(
        Function((Var("x", type),), (), (Var("y", type),)), made | {"output_offset": [70]}
    )
    (folder / "outside").write_bytes(outside)
    return program, driver, folder


@NEEDS_CC
@pytest.mark.parametrize(
    "blob, environment, told",
    [
        ("whole", {}, "0 right"),
        ("whole", {"NO_NPU": "1"}, "10 no Ethos-U is free"),
        ("whole", {"NPU_FAILS": "1"}, "10 Ethos-U refused the command stream"),
        ("short", {}, "10 the program for Ethos-U is damaged"),
        ("outside", {}, "10 the program for Ethos-U is damaged"),
        ("whole", {"ARMLET_ETHOS_U_LIBRARY": "/nowhere.so"},
         "10 libethosu_core_driver.so cannot be opened"),
        ("whole", {"ARMLET_ETHOS_U_LIBRARY": "libc.so.6"},
         "10 libethosu_core_driver.so is of a version without ethosu_invoke_v3"),
    ],
)  # fmt: skip
def test_the_shim_turns_images_and_says_what_fails(shim, blob, environment, told):
    program, driver, folder = shim
    environment = {**os.environ, "ARMLET_ETHOS_U_LIBRARY": str(driver), **environment}
    command = [str(program), str(folder / blob)]

    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == told
