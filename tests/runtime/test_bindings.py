"""The bindings for C++ and Java, on the tiny model and this machine."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from armlet import aar
from armlet.compiler.link import bionic, jni, runtime, toolchain
from armlet.compiler.link.elf import Elf
from armlet.targets import FAMILIES

from . import tiny

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
CPP = runtime.HEADER.parent.parent / "bindings" / "cpp"
HOST = tiny.TinyTarget()
linux = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"),
    reason="the tiny model is for Linux on x86-64",
)


def check_answer(text: str) -> None:
    x = (np.arange(8 * 64) % 7 - 3).reshape(8, 64).astype(np.float32)
    np.testing.assert_allclose([float(t) for t in text.split()], tiny.evaluate(x)["y"], rtol=1e-5)


def run(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@linux
def test_cpp_header_does_all_that_the_c_header_does(tmp_path):
    artifact, program = tiny.artifact(tmp_path / "m.so"), tmp_path / "bindings"
    compiler = [c] if (c := shutil.which("c++")) else [toolchain.zig(), "c++"]
    options = ["-std=c++17", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pthread"]
    includes = [f"-I{runtime.HEADER.parent}", f"-I{CPP}"]
    run(*compiler, *options, *includes, HERE / "cpp" / "bindings.cpp", artifact, "-o", program)
    check_answer(run(program))


@linux
def test_cpp_example_is_built_by_cmake(tmp_path):
    if not shutil.which("cmake") or not shutil.which("c++"):
        pytest.skip("no cmake or C++ compiler on this machine")
    artifact = tiny.artifact(tmp_path / "m.so")
    run("cmake", "-S", EXAMPLES / "cpp", "-B", tmp_path, f"-DMODEL={artifact}")
    run("cmake", "--build", tmp_path)
    assert run(tmp_path / "top5").count(" = 0\n") == 5


def java() -> tuple[str, str]:
    compiler = aar.javac()
    machine = compiler and shutil.which("java", path=str(Path(compiler).parent))
    if not compiler or not machine:
        pytest.skip("no JDK on this machine")
    return compiler, machine


@linux
def test_java_classes_do_all_that_the_c_header_does(tmp_path):
    compiler, machine = java()
    artifact = tiny.artifact(tmp_path / "m.so")
    (tmp_path / "classes.jar").write_bytes(aar._classes())
    exercise = HERE / "java" / "Exercise.java"
    run(compiler, "-cp", tmp_path / "classes.jar", "-d", tmp_path, exercise)
    options = [f"-Djava.library.path={jni.library(HOST).parent}", "-Xcheck:jni"]
    classes = f"{tmp_path}:{tmp_path / 'classes.jar'}"
    said = run(machine, *options, "-cp", classes, "Exercise", artifact)
    assert "WARNING" not in said
    check_answer(said)


@linux
@pytest.mark.slow
def test_the_kotlin_of_the_guide_classifies(tmp_path):
    _, machine = java()
    if not (compiler := shutil.which("kotlinc")):
        pytest.skip("no Kotlin compiler on this machine")
    guide = HERE.parents[1] / "docs" / "how-to" / "use-a-model-in-an-android-app.md"
    (example,) = re.findall(r"```kotlin\n(import .*?)```", guide.read_text(), re.DOTALL)
    (tmp_path / "Classifier.kt").write_text(example)
    (tmp_path / "Main.kt").write_text(
        "fun main() = println(Classifier().classify(FloatArray(512) { i -> i / 64f }))"
    )
    # the guide's model has a name, by which Java looks for it as Android does
    tiny.artifact(tmp_path / "libmobilenet.so")
    library, classes = jni.library(HOST), tmp_path / "classes.jar"
    classes.write_bytes(aar._classes())
    run(compiler, "-cp", classes, *sorted(tmp_path.glob("*.kt")), "-include-runtime",
        "-d", tmp_path / "app.jar")  # fmt: skip
    command = [machine, "-cp", f"{tmp_path / 'app.jar'}:{classes}"]
    done = subprocess.run(
        [*command, f"-Djava.library.path={library.parent}", "MainKt"], capture_output=True,
        text=True, env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
    )  # fmt: skip
    # row i is (i + j / 64) times the weights, squared: the last has the largest sum
    assert done.stdout.strip() == "7", done.stderr


def test_places_in_the_table_of_jni_are_those_of_the_jdk(tmp_path):
    include = Path(java()[0]).resolve().parent.parent / "include"
    if not (include / "jni.h").exists():
        pytest.skip("the JDK has no jni.h")
    table = (jni.BINDING / "jni_table.h").read_text()
    places = re.findall(r"JNI_FUNCTION\((\d+), [\w *]+, (\w+)", table)
    places += [(place, name) for name, place in re.findall(r"JNI_(\w+) = (\d+)", table)]
    assert len(places) > 10
    name = "struct JNINativeInterface_"
    checks = [
        f"_Static_assert(offsetof({name}, {function}) == {place} * sizeof(void *), {function!r});"
        for place, function in places
    ]
    text = "\n".join(["#include <jni.h>", "#include <stddef.h>", *checks]).replace("'", '"')
    (tmp_path / "places.c").write_text(text)
    command = ["cc", "-target", tiny.TRIPLE, f"-I{include}", f"-I{include}/linux", "-c", "places.c"]
    toolchain.run("comparing with jni.h", command, tmp_path)


@pytest.mark.parametrize("target", [t for t in FAMILIES.values() if t.system == "android"], ids=str)
def test_java_binding_for_android_needs_its_c_library_alone(target):
    elf = Elf(jni.library(target).read_bytes())
    assert set(elf.needed) <= {"libc.so", "libdl.so"}
    assert elf.soname == "libarmlet_jni.so"
    assert set(elf.imports) <= set().union(*bionic.libraries(21).values())


def test_native_methods_are_those_that_java_declares():
    text = (jni.BINDING / "io" / "armlet" / "Native.java").read_text()
    declared = re.findall(r"static native [\w\[\]]+ (\w+)\(", text)
    assert sorted(jni.functions()) == sorted(f"Java_io_armlet_Native_{n}" for n in declared)


def test_archive_without_a_jdk_is_made_and_says_so(tmp_path, monkeypatch, small_cnn):
    from armlet import api

    monkeypatch.setattr(aar, "javac", lambda: None)
    monkeypatch.setattr("armlet.emulator.shutil.which", lambda _: None)
    target = FAMILIES["android-arm64"]
    model = api.compile(small_cnn, target, shapes={"x": (1, 3, 14, 11)}, name="libsmall.so")
    assert not aar.write({target: model}, tmp_path / "small.aar")
    with zipfile.ZipFile(tmp_path / "small.aar") as archive:
        assert "classes.jar" not in archive.namelist()
