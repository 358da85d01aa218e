"""``doctor``, help, settings, ARMLET_DEBUG, and the pages made from the code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import armlet
from armlet import settings
from armlet.cli import VERBS, main
from armlet.cli.reference import PAGES

ROOT = Path(__file__).resolve().parents[2]


def real(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "armlet", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_doctor_finds_this_machine_healthy(shell, document):
    text = shell("doctor")
    for what in ("python", "tvm", "toolchain", "onnxruntime", "cpu", "cache", "compile"):
        assert what in text
    report = document("doctor")
    assert report["healthy"] is True
    assert {"what", "status", "text", "way_out"} <= report["findings"][0].keys()


def test_the_doctor_tells_whether_an_accelerators_compiler_is_here(document, monkeypatch):
    from armlet.targets.npu.qnn import Qnn

    monkeypatch.setattr(Qnn, "missing", lambda self: "the compiler is missing: pip install x")
    (finding,) = document("doctor", "--npu", "qnn:v73", status=1)["findings"]
    assert (finding["what"], finding["status"]) == ("qnn:v73", "bad")
    assert (finding["text"], finding["way_out"]) == ("the compiler is missing", "pip install x")


def test_the_doctor_tells_of_a_broken_toolchain(document, monkeypatch, tmp_path):
    from armlet.compiler.link import toolchain

    monkeypatch.setattr(toolchain, "zig", lambda: tmp_path / "none")
    report = document("doctor", status=1)
    bad = {f["what"]: f for f in report["findings"] if f["status"] == "bad"}
    assert bad.keys() == {"toolchain", "compile"}
    assert "AL701" in bad["toolchain"]["text"] and bad["toolchain"]["way_out"]


def test_the_doctor_notes_a_cache_that_cannot_be_written(document, monkeypatch):
    monkeypatch.setenv("ARMLET_CACHE", "/proc/armlet")
    (cache,) = [f for f in document("doctor")["findings"] if f["what"] == "cache"]
    assert cache["status"] == "note" and "/proc/armlet" in cache["text"]


def test_settings_are_shown_with_their_values(shell, document, monkeypatch):
    monkeypatch.setenv("ARMLET_JOBS", "7")
    text = shell("doctor", "--settings")
    assert all(setting.name in text for setting in settings.ALL)
    values = {s["name"]: s["value"] for s in document("doctor", "--settings")}
    assert values["ARMLET_JOBS"] == "7"


@pytest.mark.parametrize("page", PAGES)
def test_pages_in_the_repository_are_what_the_code_makes(page):
    committed = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert committed == PAGES[page](), "python -m armlet.cli.reference docs/reference"


def test_no_environment_variable_is_read_elsewhere():
    """``settings`` is the only place that knows the names ARMLET_*."""
    rooms = ("armlet", "frontends", "compiler", "schedules", "targets")
    files = [p for room in rooms for p in (ROOT / room).rglob("*.py")]
    readers = [
        p.name
        for p in files
        if "environ" in (text := p.read_text(encoding="utf-8")) and '"ARMLET_' in text
    ]
    assert readers == ["settings.py"]


@pytest.mark.parametrize("verb", [v.__name__ for v in VERBS])
def test_every_verb_explains_itself(verb, shell):
    assert f"Usage: armlet {verb}" in shell(verb, "--help")


def test_help_and_version(shell):
    assert all(v.__name__ in shell("--help") for v in VERBS)
    assert shell("--version").split() == ["armlet", armlet.__version__]
    assert "Commands" in shell(status=2)


def test_help_comes_at_once():
    times = []
    for _ in range(3):
        # processor time: how busy the machine is does not matter
        begun = os.times()
        assert real("--help").returncode == 0
        ended = os.times()
        times.append(sum(ended[2:4]) - sum(begun[2:4]))
    assert min(times) < 0.5, "heavy imports belong inside the verbs"


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from armlet.cli import main; main(['--help']);"
        "print([m for m in ('tvm', 'onnx', 'numpy', 'onnxruntime') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "[]"


def test_processes_have_the_same_statuses(small_cnn, tmp_path):
    done = real("compile", str(small_cnn), "-o", str(tmp_path / "m.so"), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["output"] == str(tmp_path / "m.so")
    refused = real("compile", str(tmp_path / "none.onnx"), "-o", str(tmp_path / "n.so"))
    assert refused.returncode == 2
    assert refused.stdout == "" and refused.stderr.startswith("error AL101: ")


def test_a_reader_that_leaves_is_no_error(small_cnn):
    command = [sys.executable, "-m", "armlet", "inspect", str(small_cnn), "--graph"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


DEBUG = {
    "1": (["[armlet] kernels: ", "[armlet] link: ", " s\n"], ["template ", "def main"]),
    "2": (["[armlet] kernels: ", "template ", "MACs"], ["def main"]),
    "3": (["[armlet] after simplify:", "def main", "template "], ["Traceback"]),
}


@pytest.mark.parametrize("level", DEBUG)
def test_debug_levels_tell_what_the_settings_say(level, small_cnn, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ARMLET_DEBUG", level)
    assert main(["compile", str(small_cnn), "-o", str(tmp_path / "m.so")]) == 0
    err = capsys.readouterr().err
    present, absent = DEBUG[level]
    assert all(text in err for text in present)
    assert not any(text in err for text in absent)


def test_the_doctor_proves_the_toolchain_of_other_targets(document):
    report = document("doctor", "--target", "host,linux-riscv64")
    here, there = report["findings"]
    assert here["status"] == "ok" and "runs" in here["text"]
    assert "links" in there["text"] and (there["status"] == "ok" or there["way_out"])


def test_the_doctor_tells_of_a_target_that_there_is_not(document):
    report = document("doctor", "--target", "linux-arm65", status=1)
    assert "linux-arm64" in report["findings"][0]["way_out"]


def test_targets_are_listed_and_explained(shell, document):
    text = shell("targets")
    for name in ("android-arm64", "cortex-a76", "+dotprod", "raspberry-pi-4", "Snapdragon 855"):
        assert name in text
    assert "runs on this machine" in shell("targets", "host")
    text = shell("targets", "kirin-990+i8mm")
    assert "Mali-G76" in text and "i8mm" in text and "https://" in text
    assert len(document("targets")["devices"]) >= 30
    found = document("targets", "rk3588")
    assert found["target"]["cores"] == 4 and found["device"]["gpu"] == "Mali-G610 MP4"
