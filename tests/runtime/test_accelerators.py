"""Faults of accelerators: the right answer or one clear status, without leaks, under ASan.

The model is two tasks that the toy NPU of ``examples/npu_backend`` does in one step.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path

import pytest

from armlet.compiler.ir import TensorType
from armlet.compiler.link import elf_format, runtime, tables
from armlet.compiler.link.elf import Elf
from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.ops import parse
from armlet.compiler.plan.plan import Location, Plan, Program, Region, Space, Task, Tensor

from . import tiny
from .test_c_interface import CC, DRIVERS, compile_c, run

TOY = Path(__file__).parents[2] / "examples" / "npu_backend"
KERNELS = """
void armlet_k_relu(const float *x, float *y, int begin, int end, void *scratch) {
    (void)scratch;
    for (int i = begin * 64; i < end * 64; i++) y[i] = x[i] > 0 ? x[i] : 0;
}
void armlet_k_twice(const float *x, float *y, int begin, int end, void *scratch) {
    (void)scratch;
    for (int i = begin * 64; i < end * 64; i++) y[i] = x[i] + x[i];
}
"""
REGION = """\
def region(%x: f32[8,64]) -> f32[8,64] {
  %a = relu(%x) : f32[8,64]  # "a"
  %y = add(%a, %a) : f32[8,64]  # "y"
  return %y
}
"""
LOST = "the toy NPU was lost during a run"

pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler on this machine")


@lru_cache(maxsize=1)
def toy():
    sys.path.insert(0, str(TOY))
    try:
        from toy_npu import Toy
    finally:
        sys.path.remove(str(TOY))
    return Toy()


def plan(blob: bytes) -> Plan:
    type = TensorType((8, 64))
    x, a, y = Location(Space.INPUT), Location(Space.ARENA), Location(Space.OUTPUT)
    kernels = (
        Kernel("relu", "armlet_k_relu", b"", 8, 0, "relu", 8),
        Kernel("twice", "armlet_k_twice", b"", 8, 0, "twice", 8),
    )
    tasks = (Task(0, (x, a), "a", type, "a"), Task(1, (a, y), "y", type, "y"))
    program = Program("toy:t1", "a .. y", toy().api, toy().shim, blob)
    return Plan(
        (Tensor("x", type),), (Tensor("y", type),), kernels, tasks, type.bytes, type.bytes,
        (), 0, regions=(Region(program, 0, 2, (x,), (y,)),),
    )  # fmt: skip


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """(program, library) for a blob, both with the sanitizers."""
    folder = tmp_path_factory.mktemp("accelerator")
    flags = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    library = folder / "libtoynpu.so"
    compile_c([*flags, "-shared", "-fPIC", f"-I{TOY}/toy_npu", DRIVERS / "faulty_toy.c",
               "-o", library])  # fmt: skip

    def program(name: str, blob: bytes) -> Path:
        made, constants = plan(blob), folder / f"{name}.bin"
        with constants.open("wb") as file:
            tables.write_constants(made, file)
        section = elf_format.FORMAT.section
        (folder / "tables.c").write_text(tables.source(made, [], {}, None, constants, section))
        (folder / "kernels.c").write_text(KERNELS)
        includes = [f"-I{p}" for p in (runtime.SOURCES, runtime.HEADER.parent, DRIVERS)]
        sources = [*runtime.sources(""), *toy().shim, DRIVERS / "accelerator.c"]
        own = [folder / "tables.c", folder / "kernels.c"]
        compile_c([*flags, "-pthread", *includes, *sources, *own, "-ldl", "-o", folder / name])
        return folder / name

    blob = toy().compile(parse(REGION))
    return program("whole", blob), program("truncated", blob[:-4]), library


@pytest.mark.parametrize(
    "fault, told",
    [
        ({}, ["run: right"] * 3 + ["region: live"]),
        ({"TOY_NPU_LIBRARY": "/nowhere.so"},
         ["run: right"] * 3 + ["region: libtoynpu.so cannot be opened"]),
        ({"TOY_FAIL": "0"},
         ["run: right"] * 3 + ["region: libtoynpu.so is of another version than 1"]),
        ({"TOY_FAIL": "1"}, ["run: right"] * 3 + ["region: the toy NPU does not answer"]),
        ({"TOY_FAIL": "2"}, ["run: right"] * 3 + [f"region: {LOST}"]),
        ({"TOY_FAIL": "4"}, ["run: right"] * 3 + [f"region: {LOST}"]),
        ({"TOY_FAIL": "1", "TOY_MEMORY": "1"},
         ["create: 2 region 0 (a .. y) on toy:t1: the toy NPU is out of memory"]),
        ({"DEVICES": "1"}, ["run: right"] * 3 + ["region: live"]),
        ({"DEVICES": "1", "TOY_FAIL": "0"},
         ["create: 10 region 0 (a .. y) on toy:t1: libtoynpu.so is of another version than 1"]),
        ({"DEVICES": "1", "TOY_FAIL": "3"},
         ["run: right"] + [f"run: 10 region 0 (a .. y) on toy:t1: {LOST}"] * 2
         + [f"region: {LOST}"]),
        ({"DEVICES": "2"}, ["run: right"] * 3 + ["region: accelerators are not used"]),
        ({"DEVICES": "7"}, ["create: 1 devices is 7, which is no armlet_devices"]),
    ],
)  # fmt: skip
def test_a_fault_ends_in_the_right_answer_or_one_clear_status(build, fault, told):
    program, _, library = build
    done = run(program, **{"TOY_NPU_LIBRARY": str(library), **fault})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == told


def test_a_truncated_program_is_not_run(build):
    _, program, library = build
    done = run(program, TOY_NPU_LIBRARY=str(library))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["run: right"] * 3 + ["region: the program is damaged"]


@pytest.mark.parametrize("fail_at", ["9", "14", "-1"])
def test_instances_of_many_threads_fail_one_by_one(build, fail_at):
    program, _, library = build
    environment = {"TOY_NPU_LIBRARY": str(library), "THREADS": "4", "TOY_FAIL": fail_at}
    done = run(program, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines.count("run: right") == 12
    assert lines.count("region: live") == (4 if fail_at == "-1" else 3)


def test_an_artifact_without_regions_has_no_shim(tmp_path):
    made = Elf(tiny.artifact(tmp_path / "m.so").read_bytes())
    assert "dlopen" not in made.imports
