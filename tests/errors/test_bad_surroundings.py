"""Full disks, unwritable folders, broken tools, wrong settings, interruptions, bugs."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from armlet.compiler.link import publish, runtime, toolchain

from . import models

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def tiny_disk(tmp_path: Path):
    """A file system of 16 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not shutil.which("mount"):
        pytest.skip("no mount command")
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


# -- where the output goes ------------------------------------------------------------------------

#: name -> (what the message mentions, the output below the test's folder, or anywhere)
OUTPUTS = {
    "no such folder": ("No such file", "nowhere/m.so"),
    "a folder": ("folder or device", "out"),
    "below a file": ("Not a directory", "sound.onnx/m.so"),
    "a device": ("folder or device", "/dev/full"),
    "a system's folder": ("cannot be written", "/proc/m.so"),
    "a name too long": ("name too long", "a" * 300 + ".so"),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_that_cannot_be_are_refused_at_once(name, shell, sound, monkeypatch):
    mention, output = OUTPUTS[name]
    monkeypatch.setattr("armlet.api.build", None)  # no work is done before
    path = shell.folder / output
    shell.refused("AL401", [mention, path], "compile", sound, "-o", path)


@pytest.mark.skipif(AS_ROOT, reason="nothing is forbidden to root")
def test_a_folder_without_permission(shell, sound):
    (shell.folder / "out").chmod(0o500)
    shell.refused("AL401", ["denied"], "compile", sound, "-o", shell.folder / "out" / "m.so")


def test_a_full_disk_under_the_output(tiny_disk, shell, sound):
    shell.refused("AL401", ["No space", "m.so"], "compile", sound, "-o", tiny_disk / "m.so")


def test_a_full_disk_keeps_the_old_artifact(tiny_disk, shell, sound):
    (tiny_disk / "m.so").write_bytes(b"the old one")
    shell.refused("AL401", ["No space"], "compile", sound, "-o", tiny_disk / "m.so")
    assert (tiny_disk / "m.so").read_bytes() == b"the old one"


def test_a_full_disk_under_temporary_files(tiny_disk, shell, sound, monkeypatch, tmp_path_factory):
    monkeypatch.setattr("tempfile.tempdir", str(tiny_disk))
    monkeypatch.setenv("TMPDIR", str(tiny_disk))
    # nothing is there yet: kernels are compiled while the disk is full, too
    monkeypatch.setenv("ARMLET_CACHE", str(tmp_path_factory.mktemp("fresh")))
    (tiny_disk / "ballast").write_bytes(bytes(8 << 10))
    output = shell.folder / "out" / "m.so"
    text = shell.refused("AL401", [], "compile", sound, "-o", output)
    assert "TMPDIR" in text


def test_a_full_disk_under_outputs_of_a_run(tiny_disk, shell, artifact):
    with contextlib.suppress(OSError):
        (tiny_disk / "ballast").write_bytes(bytes(32 << 10))
    output = tiny_disk / "o.npz"
    shell.refused("AL401", ["o.npz"], "run", artifact, "--input", "random", "-o", output)


def test_an_error_while_copying_leaves_nothing(shell, sound, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(publish.shutil, "copyfileobj", full)
    output = shell.folder / "out" / "m.so"
    shell.refused("AL401", ["No space"], "compile", sound, "-o", output)


def test_temporary_files_that_cannot_be(shell, sound, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(shell.folder / "nowhere"))
    output = shell.folder / "out" / "m.so"
    shell.refused("AL401", ["TMPDIR"], "compile", sound, "-o", output)


# -- tools, cache, settings -----------------------------------------------------------------------


def _a_zig_that(folder: Path, commands: str) -> Path:
    tool = folder / "zig"
    tool.write_text(f"#!/bin/sh\n{commands}\n")
    tool.chmod(0o755)
    return tool


#: name -> (what the message mentions, what the false tool does)
TOOLS = {
    "fails with a reason": ("it is Monday", "echo 'error: it is Monday' >&2; exit 1"),
    "fails silently": ("exit status 3", "exit 3"),
    "is killed": ("SIGKILL", "kill -9 $$"),
}


@pytest.mark.parametrize("name", TOOLS)
def test_a_toolchain_that_fails(name, shell, sound, monkeypatch):
    mention, commands = TOOLS[name]
    tool = _a_zig_that(shell.folder, commands)
    monkeypatch.setattr(toolchain, "zig", lambda: tool)
    output = shell.folder / "out" / "m.so"
    shell.refused("AL701", [mention], "compile", sound, "-o", output)


def test_a_toolchain_that_is_missing(shell, sound, monkeypatch):
    monkeypatch.setattr(toolchain, "zig", lambda: shell.folder / "zig")
    output = shell.folder / "out" / "m.so"
    shell.refused("AL701", ["ziglang"], "compile", sound, "-o", output)


@pytest.fixture
def fresh_runtime():
    """The runtime is found again, as by a new process."""
    runtime.runtime.cache_clear()
    yield
    runtime.runtime.cache_clear()


@pytest.mark.parametrize("place", ["/proc/armlet", "sound.onnx/cache"])
def test_a_cache_that_cannot_be_written_is_done_without(
    place, shell, sound, monkeypatch, fresh_runtime
):
    monkeypatch.setenv("ARMLET_CACHE", str(shell.folder / place))
    output = shell.folder / "out" / "m.so"
    status, _, err = shell.run("compile", sound, "-o", output)
    assert (status, output.exists()) == (0, True), err


def test_a_damaged_cache_is_made_anew(shell, sound, monkeypatch, fresh_runtime):
    monkeypatch.setenv("ARMLET_CACHE", str(shell.folder / "cache"))
    output = shell.folder / "out" / "m.so"
    assert shell.run("compile", sound, "-o", output)[0] == 0
    kernels = [*(shell.folder / "cache" / "kernels").rglob("*.kernel")]
    assert kernels
    for number, kernel in enumerate(kernels):
        kernel.write_bytes([b"", b"\x80\x04garbage", kernel.read_bytes()[:-9]][number % 3])
    status, _, err = shell.run("compile", sound, "-o", output)
    assert status == 0, err
    assert shell.run("selftest", output)[0] == 0


#: (setting, value, what the message mentions)
SETTINGS = [
    ("ARMLET_DEBUG", "loud", "whole number"),
    ("ARMLET_DEBUG", "-1", "whole number"),
    ("ARMLET_JOBS", "many", "whole number"),
    ("ARMLET_JOBS", "1.5", "whole number"),
    ("ARMLET_JOBS", "-2", "whole number"),
]


@pytest.mark.parametrize(("name", "value", "mention"), SETTINGS)
def test_settings_that_are_impossible(name, value, mention, shell, sound, monkeypatch):
    monkeypatch.setenv(name, value)
    shell.refused("AL801", [name, value, mention], "check", sound)


# -- bugs and interruptions -----------------------------------------------------------------------


def _raises(error: BaseException):
    def function(*_: object, **__: object) -> None:
        raise error

    return function


def test_a_bug_is_a_short_message_with_a_hint(shell, sound, monkeypatch):
    monkeypatch.setattr("armlet.api.build", _raises(ZeroDivisionError("by zero")))
    output = shell.folder / "out" / "m.so"
    mentions = ["ZeroDivisionError: by zero", "ARMLET_DEBUG=4"]
    shell.refused("AL901", mentions, "compile", sound, "-o", output)


def test_the_traceback_is_there_for_who_asks(shell, sound, monkeypatch):
    monkeypatch.setenv("ARMLET_DEBUG", "4")
    monkeypatch.setattr("armlet.api.build", _raises(ZeroDivisionError("by zero")))
    status, _, err = shell.run("compile", sound, "-o", shell.folder / "out" / "m.so")
    assert status == 2
    assert "Traceback" in err and "error AL901" in err


def test_out_of_memory_is_told(shell, sound, monkeypatch):
    monkeypatch.setattr("armlet.api.build", _raises(MemoryError()))
    shell.refused("AL401", ["memory"], "compile", sound, "-o", shell.folder / "out" / "m.so")


@pytest.mark.parametrize("stage", ["armlet.api.build", "armlet.compiler.link.publish.os.replace"])
def test_an_interruption_leaves_nothing(stage, shell, sound, monkeypatch):
    before = shell.files()
    monkeypatch.setattr(stage, _raises(KeyboardInterrupt()))
    status, out, err = shell.run("compile", sound, "-o", shell.folder / "out" / "m.so")
    assert (status, out) == (130, "")
    assert err.splitlines() == ["interrupted"]
    assert shell.files() == before


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_signals_end_all_processes_quietly(how, tmp_path):
    """Ctrl-C goes to every process of the terminal, kernel workers among them."""
    source = tmp_path / "large.onnx"
    source.write_bytes(models.of_many_kernels(60).SerializeToString())
    for name in ("out", "temporary"):
        (tmp_path / name).mkdir()
    output = tmp_path / "out" / "m.so"
    command = [sys.executable, "-m", "armlet", "compile", str(source), "-o", str(output)]
    variables = {
        "ARMLET_CACHE": str(tmp_path / "cache"),
        "ARMLET_JOBS": "2",
        "TMPDIR": str(tmp_path / "temporary"),
    }
    process = subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not [*(tmp_path / "cache").rglob("*.kernel")] and time.monotonic() < deadline:
        time.sleep(0.02)
    if how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    _, err = process.communicate(timeout=60)
    expected = (130, ["interrupted"]) if how == "Ctrl-C" else (143, [])
    assert (process.returncode, err.splitlines()) == expected
    assert not any((tmp_path / "out").iterdir())
    assert not any((tmp_path / "temporary").iterdir())
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
