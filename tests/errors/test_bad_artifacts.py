"""Files that are no artifacts, or none for this machine: told before the loader sees them."""

from __future__ import annotations

import ctypes.util
import struct
from pathlib import Path

import pytest

from ..runtime import tiny
from .harness import Refusals

VERBS = [["run", "--input", "random"], ["bench"], ["selftest"], ["inspect"]]


def _cut(part: float):
    return lambda data: data[: int(len(data) * part)]


def _for_another_machine(data: bytes) -> bytes:
    return data[:18] + struct.pack("<H", 183 if data[18] == 62 else 62) + data[20:]


def _with_one_byte_changed(data: bytes) -> bytes:
    middle = data.index(b"armlet_create") + 3
    return data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :]


#: name -> (what the message mentions, the file's content made of a sound artifact's)
CONTENTS = {
    "empty": ("empty", lambda data: b""),
    "a text": ("binary", lambda data: b"not a library\n"),
    "an ELF magic alone": ("", lambda data: b"\x7fELF"),
    "a header alone": ("", _cut(0.001)),
    "a quarter": ("", _cut(0.25)),
    "all but the end": ("cut", _cut(0.999)),
    "more at the end": ("", lambda data: data + b"\0"),
    "a byte changed": ("damaged", _with_one_byte_changed),
    "32-bit": ("", lambda data: data[:4] + b"\x01" + data[5:]),
    "another machine": ("another machine", _for_another_machine),
    "a program": ("", lambda data: data[:16] + b"\x02" + data[17:]),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_files_that_are_no_whole_artifacts(name: str, shell: Refusals, artifact: Path) -> None:
    mention, change = CONTENTS[name]
    path = shell.folder / "bad.so"
    path.write_bytes(change(artifact.read_bytes()))
    shell.refused("AL501", ["bad.so", mention], "run", path, "--input", "random")


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_every_verb_refuses_what_is_no_artifact(verb: list[str], shell: Refusals) -> None:
    path = shell.folder / "bad.so"
    path.write_bytes(b"\x7fELF and nothing else")
    shell.refused("AL501", ["bad.so"], verb[0], path, *verb[1:])


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_every_verb_refuses_a_missing_artifact(verb: list[str], shell: Refusals) -> None:
    path = shell.folder / "none.so"
    shell.refused("AL501", ["none.so", "No such file"], verb[0], path, *verb[1:])


def test_a_folder_is_no_artifact(shell: Refusals) -> None:
    shell.refused("AL501", ["out"], "selftest", shell.folder / "out")


def test_another_library_is_not_loaded(shell: Refusals) -> None:
    name = ctypes.util.find_library("c")
    found = [p for f in ("/lib", "/usr/lib", "/lib64") for p in Path(f).glob(f"*linux*/{name}")]
    if not found:
        pytest.skip("this machine's C library lies elsewhere")
    shell.refused("AL501", [found[0], "not made by armlet"], "selftest", found[0])


def test_a_model_is_no_artifact_to_run(shell: Refusals, sound: Path) -> None:
    shell.refused("AL501", ["sound.onnx", "armlet compile"], "run", sound)


def test_a_cpu_without_the_features_gets_a_sentence(shell: Refusals) -> None:
    path = shell.folder / "needs.so"
    tiny.artifact(path, target=tiny.TinyTarget(features=("sse2", "teleport")))
    shell.refused("AL502", ["teleport", "needs.so"], "selftest", path)


def test_compiling_for_a_cpu_that_is_not_here(shell: Refusals, sound: Path, monkeypatch) -> None:
    import dataclasses

    from armlet.targets import named

    target = dataclasses.replace(
        named.NAMED["linux-x86_64"], name="far", features=("sse2", "teleport")
    )
    monkeypatch.setitem(named.NAMED, "far", target)
    output = shell.folder / "out" / "m.so"
    shell.refused("AL502", ["teleport"], "compile", sound, "-o", output, "--target", "far")


def test_an_artifact_without_a_selftest_says_so(shell: Refusals) -> None:
    path = shell.folder / "untested.so"
    tiny.artifact(path, selftest=None)
    shell.refused("AL501", ["untested.so", "self-test"], "selftest", path)


@pytest.mark.parametrize("verb", [["inspect"], ["bench", "--per-layer", "--seconds", "0"]])
def test_an_artifact_whose_manifest_says_too_little(verb: list[str], shell: Refusals) -> None:
    path = shell.folder / "foreign.so"
    tiny.artifact(path)
    shell.refused("AL501", ["foreign.so", "manifest"], verb[0], path, *verb[1:])


def test_a_failing_selftest_is_an_answer_not_an_error(shell: Refusals) -> None:
    path = shell.folder / "wrong.so"
    tiny.artifact(path, selftest=tiny.selftest(shift=1.0))
    status, out, err = shell.run("selftest", path)
    assert (status, err) == (1, "")
    assert "failed" in out
