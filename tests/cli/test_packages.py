"""Sets of targets, archives for Android, and artifacts that say nothing of where they were made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from armlet.compiler.link.elf import Elf

SHAPE = ("--shape", "x=1x3x14x11")
SET = "android-arm64,android-armv7"


@pytest.fixture
def not_run(monkeypatch):
    """Emulators are tried elsewhere."""
    monkeypatch.setattr("armlet.emulator.shutil.which", lambda _: None)


def test_each_target_of_a_set_has_a_folder(document, small_cnn, tmp_path, not_run):
    found = document("compile", small_cnn, *SHAPE, "--target", SET, "-o", tmp_path / "libm.so")
    for target, facts in zip(SET.split(","), found["artifacts"], strict=True):
        path = tmp_path / target / "libm.so"
        assert facts["target"] == target and facts["output"] == str(path)
        assert Elf(path.read_bytes()).soname == "libm.so"
    assert not (tmp_path / "libm.so").exists()


def test_an_archive_has_the_model_and_its_binding_for_each_processor(
    document, small_cnn, tmp_path, not_run
):
    output = tmp_path / "small-net.aar"
    made = ["compile", small_cnn, *SHAPE, "--target", SET, "--package", "aar", "-o", output]
    found = document(*made)
    assert found["output"] == str(output) and found["bytes"] == output.stat().st_size
    with zipfile.ZipFile(output) as archive:
        names = set(archive.namelist())
        for abi in ("arm64-v8a", "armeabi-v7a"):
            assert {f"jni/{abi}/libsmall-net.so", f"jni/{abi}/libarmlet_jni.so"} <= names
        assert {"AndroidManifest.xml", "LICENSE", "R.txt", "proguard.txt"} <= names
        assert b'package="io.armlet.models.small_net"' in archive.read("AndroidManifest.xml")
        assert ("classes.jar" in names) == found["classes"]
        assert Elf(archive.read("jni/arm64-v8a/libsmall-net.so")).soname == "libsmall-net.so"
    first = output.read_bytes()
    document(*made)
    assert output.read_bytes() == first


def test_an_archive_is_androids(shell, small_cnn, tmp_path):
    output = tmp_path / "m.aar"
    shell("compile", small_cnn, "--package", "aar", "-o", output, status=2)
    shell("compile", small_cnn, "--package", "zip", "-o", output, status=2)
    assert not output.exists()


def test_where_an_artifact_is_made_does_not_show_in_it(small_cnn, tmp_path):
    made = []
    for place in ("a", "some/other place"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        shutil.copy(small_cnn, folder / "model.onnx")
        names = {"HOME": "home", "TMPDIR": "tmp", "ARMLET_CACHE": "cache", "XDG_CACHE_HOME": "xdg"}
        folders = {key: folder / name for key, name in names.items()}
        for path in folders.values():
            path.mkdir()
        command = [sys.executable, "-m", "armlet", "compile", "model.onnx", *SHAPE]
        done = subprocess.run(
            [*command, "--target", "android-arm64", "-o", "libm.so"],
            cwd=folder, env={**os.environ, **folders}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        made.append((folder / "libm.so").read_bytes())
    assert made[0] == made[1]
    assert str(tmp_path).encode() not in made[0]
