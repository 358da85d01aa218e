"""The linked file: what it promises, and what happens when it cannot be made."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess

import numpy as np
import pytest

from armlet.compiler.link import check, libc, linker, runtime, toolchain
from armlet.compiler.link.elf import Elf
from armlet.errors import InternalError, OutputError, ToolchainError, UnsupportedModelError

from ..runtime import tiny


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny.artifact(tmp_path_factory.mktemp("tiny") / "m.so")


def test_artifact_exports_the_header_and_needs_libc_alone(path):
    elf = Elf(path.read_bytes())
    assert elf.exports == runtime.exports()
    assert set(elf.needed) <= {"libc.so.6", "libm.so.6", "libpthread.so.0"}
    assert all(name.startswith("armlet_") for name in elf.exports)


def test_own_reader_agrees_with_binutils(path):
    if not shutil.which("nm"):
        pytest.skip("no binutils on this machine")
    text = subprocess.run(
        ["nm", "-D", "--defined-only", path], capture_output=True, text=True, check=True
    ).stdout
    assert sorted(line.split()[-1] for line in text.splitlines()) == list(runtime.exports())


def test_artifact_has_no_text_relocations_and_read_only_tables(path):
    elf = Elf(path.read_bytes())
    assert not elf.has_text_relocations
    assert elf.has_relro
    assert not elf.has_executable_stack
    assert not any(s.writable and s.executable for s in elf.loads)


def test_runtime_takes_less_than_60_kb(path):
    assert path.stat().st_size < 60_000


def test_same_plan_gives_the_same_bytes(path, tmp_path):
    again = tiny.artifact(tmp_path / "other-name.so")
    assert again.read_bytes() == path.read_bytes()


def test_weights_are_the_only_difference_of_size(path, tmp_path):
    plan = tiny.plan()
    more = dataclasses.replace(
        plan,
        constants=(*plan.constants, (1 << 20, np.zeros(1 << 18, np.float32))),
        constant_bytes=2 << 20,
    )
    grown = tiny.artifact(tmp_path / "m.so", plan=more).stat().st_size - path.stat().st_size
    assert abs(grown - (2 << 20)) < 8192


def test_linking_is_quick_when_the_runtime_is_cached(path, tmp_path):
    # processor time, this process's and its children's: how busy the machine is does not matter
    begun = sum(os.times()[:4])
    tiny.artifact(tmp_path / "m.so")
    assert sum(os.times()[:4]) - begun < 1


def test_another_targets_artifact_is_linked_too(tmp_path):
    triple = "aarch64-linux-gnu.2.17"
    plan = tiny.plan()
    kernels = tuple(
        dataclasses.replace(k, object=tiny.compiled(tiny.SOURCES[k.key], triple))
        for k in plan.kernels
    )
    target = tiny.TinyTarget(triple, ("asimd",))
    made = tiny.artifact(
        tmp_path / "m.so", plan=dataclasses.replace(plan, kernels=kernels), target=target
    )
    elf = Elf(made.read_bytes())
    assert elf.machine == 183
    assert elf.exports == runtime.exports()


def test_runtime_is_compiled_once(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLET_CACHE", str(tmp_path))
    runtime.runtime.cache_clear()
    try:
        made = runtime.runtime(tiny.TRIPLE)
        assert all(tmp_path in o.parents for o in (*made.objects, *made.stubs))
        monkeypatch.setattr(toolchain, "run", None)
        runtime.runtime.cache_clear()
        assert runtime.runtime(tiny.TRIPLE) == made
    finally:
        runtime.runtime.cache_clear()


# ---- failures


def broken(**changes):
    plan = tiny.plan()
    kernel = dataclasses.replace(plan.kernels[0], **changes)
    return dataclasses.replace(plan, kernels=(kernel, *plan.kernels[1:]))


def assert_nothing_written(folder):
    assert os.listdir(folder) == []


def test_kernel_that_needs_an_unknown_function_is_a_clear_error(tmp_path):
    source = "extern float cblas(float);" + tiny.SOURCES["scale"].replace("* w[j]", "* cblas(w[j])")
    with pytest.raises(ToolchainError, match="linking failed: undefined symbol: cblas"):
        tiny.artifact(tmp_path / "m.so", plan=broken(object=tiny.compiled(source)))
    assert_nothing_written(tmp_path)


def test_object_that_is_none_is_a_clear_error(tmp_path):
    with pytest.raises(ToolchainError, match="linking failed"):
        tiny.artifact(tmp_path / "m.so", plan=broken(object=b"nothing"))
    assert_nothing_written(tmp_path)


def test_unwritable_output_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="No such file"):
        tiny.artifact(tmp_path / "absent" / "m.so")
    (tmp_path / "m.so").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        tiny.artifact(tmp_path / "m.so")
    assert os.listdir(tmp_path) == ["m.so"]


def test_full_disk_leaves_no_partial_file(tmp_path, monkeypatch):
    def full(source, target, length):
        target.write(b"part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OutputError, match="No space left on device"):
        tiny.artifact(tmp_path / "m.so")
    assert_nothing_written(tmp_path)


def test_full_temporary_folder_is_an_output_error(tmp_path, monkeypatch):
    def full(plan, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(linker.tables, "write_constants", full)
    with pytest.raises(OutputError, match=r"temporary file(.|\n)*TMPDIR"):
        tiny.artifact(tmp_path / "m.so")
    assert_nothing_written(tmp_path)


def test_missing_toolchain_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(toolchain, "zig", lambda: tmp_path / "zig")
    with pytest.raises(ToolchainError, match="could not be started"):
        toolchain.run("linking", [], tmp_path)


def test_weights_beyond_the_code_models_reach_are_refused(tmp_path):
    plan = dataclasses.replace(tiny.plan(), constant_bytes=4 << 30)
    with pytest.raises(UnsupportedModelError, match="the weights take 4096 MiB"):
        tiny.artifact(tmp_path / "m.so", plan=plan)


def test_checker_lists_every_broken_promise(tmp_path):
    source = "int x; int *p = &x; int puts(const char *); int f(void) { return puts(0) + *p; }"
    (tmp_path / "f.o").write_bytes(tiny.compiled(source))
    (tmp_path / "stub.s").write_text(libc.stub(["puts"]))
    arguments = ["clang", f"--target={toolchain.llvm_triple(tiny.TRIPLE)}", "-c", "stub.s"]
    toolchain.run("assembling", arguments, tmp_path)
    link = ["ld.lld", "-shared", "-soname=libother.so", "stub.o", "-o", "libother.so"]
    toolchain.run("linking", link, tmp_path)
    link = ["ld.lld", "-shared", "-z", "norelro", "-z", "execstack", "f.o", "libother.so"]
    toolchain.run("linking", [*link, "-o", "f.so"], tmp_path)
    with pytest.raises(InternalError) as caught:
        check.check_artifact(tmp_path / "f.so", tiny.TinyTarget())
    for problem in ("armlet_run", "libother.so", "puts", "executable stack", "RELRO"):
        assert problem in str(caught.value)
