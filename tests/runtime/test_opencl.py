"""The OpenCL back end on a driver that stands in for libOpenCL, under the sanitizers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from armlet.compiler.gpu.pack import pack
from armlet.compiler.gpu.program import Buffer, Kernel, Launch, Program, Shape
from armlet.compiler.link import runtime

from .test_c_interface import CC, DRIVERS, WARNINGS, compile_c

OPENCL = runtime.SOURCES.parent / "opencl"
ELEMENTS = 256

pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler on this machine")

TWICE = """
__kernel void twice(__global const float *x, __global float *y) {
    int i = get_global_id(0);
    y[i] = 2.0f * x[i];
}
"""
#: counts groups, as TVM's code does
PLUS = """
__kernel void plus(__global const float *x, __global const float *w, __global float *y) {
    int i = get_group_id(0) * get_local_size(0) + get_local_id(0);
    y[i] = x[i] + w[i];
}
"""


def program(needs: tuple[str, ...] = ("fp16",)) -> Program:
    """y = 2 x + w, where w[i] = i."""
    size = (ELEMENTS,)
    weights = np.arange(ELEMENTS, dtype="float32").tobytes()
    return Program(
        sources=(TWICE, PLUS),
        kernels=(Kernel(0, "twice"), Kernel(1, "plus")),
        buffers=(
            Buffer(1024, offset=0), Buffer(1024, offset=1024),
            Buffer(1024, offset=2048), Buffer(1024, data=weights),
        ),
        launches=(
            Launch(0, (0, 1), size, (16,), "double", 1e7, (Shape(0, size, (8,)),)),
            Launch(1, (1, 3, 2), size, (16,), "add", 1e7, (Shape(1, size, (8,)),)),
        ),
        inputs=(0,), outputs=(2,), needs=needs,
    )  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the harness, the driver and the program."""
    folder = tmp_path_factory.mktemp("opencl")
    (folder / "program").write_bytes(pack(program()))
    include = [f"-I{path}" for path in (runtime.HEADER.parent, OPENCL, runtime.SOURCES)]
    fake = ["-shared", "-fPIC", DRIVERS / "opencl" / "fake_opencl.c", "-o", folder / "fake.so"]
    compile_c(["-std=gnu11", "-g", "-O1", *include, *fake])
    own = [runtime.SOURCES / name for name in ("beacon.c", "system.c")]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = [DRIVERS / "opencl" / "harness.c", *sorted(OPENCL.glob("*.c")), *own]
    flags = ["-std=gnu11", "-g", "-O1", *WARNINGS[1:], *sanitizers, *include]
    compile_c([*flags, *sources, "-o", folder / "harness", "-ldl"])
    return folder


def check(built: Path, scenario: str, *arguments: object) -> None:
    environment = {**os.environ, "ARMLET_OPENCL_LIBRARY": str(built / "fake.so")}
    command = [built / "harness", scenario, built / "program", *arguments]
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize(
    "scenario", ["answers", "limits", "lost", "split", "profile", "no_driver", "fuzz"]
)
def test_the_back_end_answers_or_says_why_not_and_leaks_nothing(built, scenario):
    check(built, scenario)


@pytest.mark.parametrize("scenario", ["cache", "faults"])
def test_with_a_cache(built, tmp_path, scenario):
    check(built, scenario, tmp_path)
    assert not list(tmp_path.glob("*.new"))
    assert len(list(tmp_path.iterdir())) <= 2  # with and without a limit of time
