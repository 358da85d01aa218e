"""Artifacts for Android, made without the NDK: what its loaders and stores ask of a library."""

from __future__ import annotations

import dataclasses

import onnx
import pytest

from armlet import api
from armlet.compiler.link import bionic, check, runtime, toolchain
from armlet.compiler.link.elf import MACHINES, Elf
from armlet.errors import InternalError, ToolchainError
from armlet.targets import FAMILIES
from benchmarks.zoo import MODELS

from ..runtime import tiny

ANDROID = [t for t in FAMILIES.values() if t.system == "android"]
ARM64 = FAMILIES["android-arm64"]


def artifact(folder, target, source_of=lambda name: tiny.SOURCES[name], **options):
    plan = tiny.plan()
    kernels = tuple(
        dataclasses.replace(k, object=tiny.compiled(source_of(k.key), target.zig_triple))
        for k in plan.kernels
    )
    small = tiny.TinyTarget(target.zig_triple, target.features, target.page_bytes)
    plan = dataclasses.replace(plan, kernels=kernels)
    options = {"soname": "libtiny.so", **options}
    return tiny.artifact(folder / "libtiny.so", plan=plan, target=small, **options)


@pytest.mark.parametrize("target", ANDROID, ids=str)
def test_artifact_is_as_android_wants_it(target, tmp_path):
    elf = Elf(artifact(tmp_path, target).read_bytes())
    assert elf.machine == MACHINES[target.machine]
    assert elf.exports == runtime.exports()
    assert set(elf.needed) <= {"libc.so", "libm.so"}
    assert elf.soname == "libtiny.so"
    assert all(s.align == 16 << 10 for s in elf.loads)
    assert elf.section(".note.gnu.build-id")
    assert elf.has_sysv_hash and elf.has_relro
    assert not elf.has_text_relocations and not elf.has_executable_stack
    assert bionic.level_of(target.zig_triple) == 21
    known = bionic.libraries(21)
    assert set(elf.imports) <= {*known["libc.so"], *known["libm.so"]}


def test_runtime_for_64_bit_arm_takes_less_than_60_kb(tmp_path):
    assert artifact(tmp_path, ARM64).stat().st_size < 60_000


def test_functions_are_known_by_level():
    at = {level: set().union(*bionic.libraries(level).values()) for level in (21, 26, 28)}
    assert {"pthread_create", "dlopen", "expf", "log2", "posix_memalign"} <= at[21]
    assert "csqrtf" not in at[21] and "csqrtf" in at[26]
    assert "getentropy" not in at[26] and "getentropy" in at[28]
    # another C library's
    assert "__errno_location" not in at[28]


def test_a_later_levels_function_is_refused(tmp_path):
    def calls(name):
        begin = "extern int getentropy(void *, unsigned long);"
        return begin + tiny.SOURCES[name].replace("(void)scratch;", "getentropy(scratch, 8);")

    with pytest.raises(ToolchainError, match="undefined symbol: getentropy"):
        artifact(tmp_path, ARM64, calls)


def test_the_finished_file_is_checked_too(tmp_path):
    source = "int getentropy(void *, unsigned long); int f(void *p) { return getentropy(p, 8); }"
    object = tiny.compiled(source, ARM64.zig_triple)
    (tmp_path / "f.o").write_bytes(object)
    link = ["ld.lld", "-shared", "-z", "max-page-size=4096", "--hash-style=gnu", "f.o"]
    toolchain.run("linking", [*link, "-o", "f.so"], tmp_path)
    with pytest.raises(InternalError) as caught:
        check.check_artifact(tmp_path / "f.so", ARM64)
    for problem in ("getentropy", "16 KiB", "SONAME", "build-id", "before 6.0"):
        assert problem in str(caught.value)


@pytest.mark.parametrize("target", ANDROID, ids=str)
def test_structs_are_laid_out_as_bionics(target, tmp_path):
    # bionic's public headers: bits/pthread_types.h, signal.h and time.h
    attributes, word = (24, 4) if target.pointer_bytes == 4 else (56, 8)
    (tmp_path / "sizes.c").write_text(
        f"""#include <pthread.h>
        #include <time.h>
        _Static_assert(sizeof(pthread_attr_t) == {attributes}, "");
        _Static_assert(sizeof(pthread_t) == {word} && sizeof(sigset_t) == {word}, "");
        _Static_assert(sizeof(struct timespec) == 2 * {word} && sizeof(time_t) == {word}, "");"""
    )
    command = [*bionic.compiler(target.zig_triple), "-c", "sizes.c"]
    toolchain.run("comparing sizes", command, tmp_path)


@pytest.mark.slow
def test_mobilenet_takes_its_weights_and_less_than_300_kb(tmp_path, monkeypatch):
    monkeypatch.setattr("armlet.emulator.shutil.which", lambda _: None)
    onnx.save(MODELS["mobilenet_v2"](), tmp_path / "mobilenet_v2.onnx")
    made = api.compile(tmp_path / "mobilenet_v2.onnx", ARM64)
    assert made.path.stat().st_size < made.manifest["constant_bytes"] + 300_000
