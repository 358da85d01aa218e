"""Artifacts for macOS and iOS, made without Xcode: what Apple's loader and linkers ask of them."""

from __future__ import annotations

import dataclasses
import shutil
import struct
import subprocess

import numpy as np
import pytest

from armlet import api
from armlet.binding import check_file
from armlet.compiler.link import check, formats, macho_format, runtime, toolchain
from armlet.compiler.link.format import FormatError
from armlet.compiler.link.macho import ARM64, IOS, MACOS, OBJECT, MachO
from armlet.errors import ArtifactError, InternalError, ToolchainError
from armlet.targets import FAMILIES, target

from ..runtime import tiny

MAC, PHONE = FAMILIES["macos-arm64"], FAMILIES["ios-arm64"]
BOTH = pytest.mark.parametrize("chosen", [MAC, PHONE], ids=str)


def member(path):
    """The object of a static library."""
    data = path.read_bytes()
    extent = macho_format._member(memoryview(data))
    return MachO(data[extent.offset : extent.offset + extent.size], OBJECT)


def opened(path, chosen):
    return MachO(path.read_bytes()) if chosen is MAC else member(path)


@BOTH
def test_an_artifact_shows_the_header_and_needs_the_c_library_alone(chosen, tmp_path):
    file = opened(tiny.artifact_for(chosen, tmp_path / "tiny"), chosen)
    assert file.machine == ARM64
    assert set(file.exports) - set(macho_format._BESIDE) == set(runtime.exports())
    assert {"pthread_create", "sysctlbyname", "free"} <= set(file.imports)
    assert not {n for n in file.imports if n.startswith("armlet")}


def test_a_library_for_macos_is_signed_and_found_beside_the_program(tmp_path):
    path = tiny.artifact_for(MAC, tmp_path / "m.dylib")
    file = MachO(path.read_bytes())
    assert file.needed == ("/usr/lib/libSystem.B.dylib",)
    assert file.install_name == "@rpath/model.dylib"
    assert file.signed and file.build == (MACOS, (12, 0))
    assert not any(s.writable_code for s in file.segments)


def test_a_library_for_ios_is_one_object_without_gaps(tmp_path):
    path = tiny.artifact_for(PHONE, tmp_path / "libm.a")
    assert member(path).build == (IOS, (15, 0))
    assert path.stat().st_size < 60_000


@BOTH
def test_weights_are_found_whole(chosen, tmp_path):
    data = memoryview(tiny.artifact_for(chosen, tmp_path / "m").read_bytes())
    weights = formats.of_file(data).parts(data)["weights"]
    assert weights.size == tiny.plan().constant_bytes
    found = np.frombuffer(data, np.float32, tiny.COLUMNS, weights.offset + 64)
    np.testing.assert_array_equal(found, tiny.weights())


@BOTH
def test_same_model_gives_the_same_bytes(chosen, tmp_path, small_cnn):
    made = []
    for name in "ab":
        api.compile(small_cnn, chosen, shapes={"x": (1, 3, 14, 11)}).save(tmp_path / name)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    assert str(tmp_path).encode() not in made[0]


@BOTH
def test_what_was_not_run_says_so(chosen, small_cnn, tmp_path):
    made = api.compile(small_cnn, chosen, shapes={"x": (1, 3, 14, 11)})
    assert made.manifest["verified_by"] == "" and str(chosen) in made.not_run
    with pytest.raises(ArtifactError, match="another machine"):
        check_file(made.path)


@BOTH
def test_the_instructions_of_a_kernel_are_what_names_do_not_change(chosen):
    def instructions(source):
        object = tiny.compiled(source, chosen.zig_triple)
        return formats.of_file(object).instructions(object)

    scale, other = tiny.SOURCES["scale"], tiny.SOURCES["square"]
    assert len(instructions(scale)) > 16
    assert instructions(scale) == instructions(scale.replace("armlet_k_scale", "another"))
    assert instructions(scale) != instructions(other)


@BOTH
def test_a_kernel_that_needs_an_unknown_function_is_refused(chosen, tmp_path):
    unknown = "extern float cblas(float);" + tiny.SOURCES["increment"].replace(
        "x[i]", "cblas(x[i])"
    )
    with pytest.raises((ToolchainError, InternalError), match="cblas"):
        tiny.artifact_for(chosen, tmp_path / "m", unknown)
    assert not list(tmp_path.iterdir())


def test_the_finished_file_is_checked_too(tmp_path):
    (tmp_path / "f.c").write_text("int x; int f(void) { return x; }")
    triple = "aarch64-macos.13.0-none"
    compile = ["clang", f"--target={toolchain.llvm_triple(triple)}", "-c", "f.c", "-o", "f.o"]
    toolchain.run("compiling", compile, tmp_path)
    link = ["build-lib", "-dynamic", "-target", triple, *macho_format._BARE, "f.o", "-lc"]
    toolchain.run("linking", [*link, "-femit-bin=f.dylib"], tmp_path)
    with pytest.raises(InternalError) as caught:
        check.check_artifact(tmp_path / "f.dylib", MAC)
    for problem in ("armlet_run", "another system", "relative to the program"):
        assert problem in str(caught.value)


@BOTH
def test_a_damaged_file_is_refused_and_never_read_beyond(chosen, tmp_path):
    whole = tiny.artifact_for(chosen, tmp_path / "m").read_bytes()
    random = np.random.default_rng(0)
    cuts = [whole[:n] for n in (8, 20, 70, 100, 300, 2000)]
    for _ in range(200):
        damaged = bytearray(whole)
        for at in random.integers(0, 1500, 4):
            damaged[at] = random.integers(256)
        cuts.append(bytes(damaged))
    for data in cuts:
        try:
            formats.of_file(data).parts(memoryview(data))
            formats.of_triple(chosen.zig_triple).problems(data, chosen, runtime.exports())
        except FormatError:
            pass


def test_llvm_reads_the_same_names(tmp_path):
    if not (nm := shutil.which("llvm-nm")):
        pytest.skip("no LLVM on this machine")
    path = tiny.artifact_for(PHONE, tmp_path / "libm.a")
    command = [nm, "--extern-only", "--defined-only", "--format=just-symbols", path]
    done = subprocess.run(command, capture_output=True, text=True)
    names = {line.strip().removeprefix("_") for line in done.stdout.splitlines()}
    names = {name for name in names if name and not name.endswith(":")}
    assert names == set(runtime.exports())


def test_what_the_object_points_to_is_where_it_was(tmp_path):
    # compacting moves bytes in the file, and neither addresses nor relocations
    source = "extern int g(void); int table[3] = {1, 2, 3}; int f(void) { return g() + table[2]; }"
    data = tiny.compiled(source, PHONE.zig_triple)
    gaps = MachO(data, OBJECT)
    dense = MachO(gaps.compacted(), OBJECT)
    for before, after in zip(gaps.sections, dense.sections, strict=True):
        a, b = before.extent, after.extent
        assert data[a.offset :][: a.size] == bytes(dense.data[b.offset :][: b.size])
    assert (dense.exports, dense.imports) == (("f", "table"), ("g",))
    assert bytes(dense.data[:32]) == data[:32]
    assert struct.unpack_from("<I", dense.data, 12) == (OBJECT,)


def test_devices_are_for_their_system():
    assert target("iphone-12").system == "ios" and target("mac-m1").system == "macos"
    assert target("mac-m1").cores == 4
    assert dataclasses.replace(target("macos-arm64"), name="x").half_arithmetic
