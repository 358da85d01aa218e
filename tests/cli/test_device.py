"""``armlet device`` and ``--device``: over a network, and over programs that play adb and ssh."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from armlet.cli import main
from armlet.targets import target

from ..rpc.local import Agent
from ..rpc.programs import installed


@pytest.fixture(autouse=True)
def known(tmp_path, monkeypatch):
    """Devices of each test's own."""
    monkeypatch.setenv("ARMLET_DEVICES", str(tmp_path / "config" / "devices.toml"))


@pytest.fixture
def agent(tmp_path, shell):
    """This machine's, as the device ``here``, with a key."""
    shell("device", "key", tmp_path / "key")
    with Agent(tmp_path / "files", "--key", str(tmp_path / "key")) as made:
        shell("device", "add", "here", "--tcp", f"127.0.0.1:{made.port}", "--key", tmp_path / "key")
        yield made


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """The folder of this machine to which ``adb`` and ``ssh`` lead."""
    root = tmp_path / "root"
    with installed(tmp_path / "bin", root) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield root


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def failure(capsys, *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 2
    return capsys.readouterr().err


def test_devices_are_listed_and_described(agent, shell, document):
    shell("device", "add", "gone", "--tcp", f"127.0.0.1:{free_port()}")
    rows = {row["name"]: row for row in document("device", "list")}
    assert "nothing answers" in rows["gone"]["error"]
    assert rows["here"]["target"].startswith("linux-x86_64")
    text = shell("device", "list")
    assert "answers" in text and "here" in text
    found = document("device", "info", "here")
    assert found["architecture"] == "x86_64" and found["free_bytes"] > 0
    assert "compile for" in shell("device", "info", "here")
    shell("device", "remove", "gone")
    assert [row["name"] for row in document("device", "list")] == ["here"]


def test_a_model_is_compiled_run_and_compared_there(agent, shell, document, small_cnn, tmp_path):
    made = tmp_path / "m.so"
    shell("compile", small_cnn, "--device", "here", "-o", made)
    np.save(tmp_path / "x.npy", np.ones((1, 3, 14, 11), np.float32))
    inputs = ("--input", tmp_path / "x.npy")
    here, there = (tmp_path / f"{n}.npz" for n in ("here", "there"))
    shell("run", made, *inputs, "-o", there, "--device", "here")
    shell("run", made, *inputs, "-o", here)
    np.testing.assert_array_equal(np.load(here)["y"], np.load(there)["y"])
    assert "on here" in shell("selftest", made, "--device", "here")
    found = document("diff", small_cnn, made, "--device", "here")
    assert found["first_different"] is None and len(found["layers"]) > 2
    assert "none differs" in shell("diff", small_cnn, "--device", "here")


def test_a_model_is_timed_there(agent, shell, document, artifact, tmp_path):
    there = ("--device", "here", "--seconds", "0.2", "--warmup", "0")
    found = document("bench", artifact, *there, "--threads", "1", "--per-layer")
    (result,) = found["results"]
    assert found["device"] == "here" and not result["machine"]["measured"]
    assert sum(layer["share"] for layer in result["layers"]) == pytest.approx(1)
    assert "estimated" in shell("bench", artifact, *there, "--per-layer")
    assert "first run" in shell("bench", artifact, *there, "--cold")
    (row,) = document("bench", artifact, *there, "--threads", "1", "--paced", "20")["results"]
    assert row["armlet"]["runs"] <= 5
    page = tmp_path / "profile.html"
    shell("profile", artifact, "--device", "here", "--html", page)
    assert "on here" in page.read_text()


@pytest.mark.parametrize("where", [(), ("--device", "here")])
def test_sweeps_and_drift_are_printed_and_kept(agent, where, shell, artifact, tmp_path, rendered):
    page, kept = tmp_path / "page.html", tmp_path / "kept.json"
    files = ("--html", page, "--output", kept)
    quick = ("--seconds", "0.1", "--warmup", "0")
    assert "fastest:" in shell("bench", artifact, *where, *quick, *files, "--sweep")
    found = json.loads(kept.read_text())
    assert found["mode"] == "sweep" and all("mhz" in r for r in found["results"])
    # drawing takes a second or two: the page of a device differs in one word
    assert where or "All settings" in rendered(page)
    text = shell("bench", artifact, *where, *files, "--sustained", "1.2s", "--threads", "1")
    assert "throttle" in text and "over time" in text
    assert json.loads(kept.read_text())["results"][0]["timeline"]
    assert where or "Over time, on 1 threads" in rendered(page)
    assert ("on here;" if where else "on this machine;") in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sweep", "--cold"], "different measurements"),
        (["--html", "p.html"], "there is no page of this"),
        (["--sustained", "soon"], "is no time"),
        (["--device", "nobody"], "no device is called 'nobody'"),
        (["--device", "nobody", "--vs", "onnxruntime"], "compares here"),
    ],
)
def test_what_cannot_be_measured_is_told(capsys, artifact, arguments, sentence):
    assert sentence in failure(capsys, "bench", artifact, *arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["board"], "one way to reach the device"),
        (["board", "--tcp", "x"], "is no address"),
        (["board", "--adb", "a", "--ssh", "b"], "one way to reach the device"),
        (["bo/ard", "--adb", "a"], "a name is letters"),
        (["board", "--tcp", "h:1", "--key", "missing"], "the key cannot be read"),
    ],
)
def test_what_cannot_be_added_is_told(capsys, arguments, sentence):
    assert sentence in failure(capsys, "device", "add", *arguments)


@pytest.mark.parametrize(
    "way", [("--adb", "0A1B"), ("--ssh", "pi@board")], ids=["a phone", "a board"]
)
def test_the_agent_is_brought_and_started(programs, way, shell, document, artifact, capsys):
    """With a key of its own; the second time in place of the first."""
    shell("device", "add", "remote", *way, "--port", free_port())
    there = ("--input", "random", "--device", "remote")
    assert "error AL352" in failure(capsys, "run", artifact, *there)
    assert "the agent for" in shell("device", "deploy-agent", "remote")
    (pid,) = programs.rglob("pid")
    first = int(pid.read_text())
    shell("run", artifact, *there)
    shell("device", "deploy-agent", "remote")
    assert int(pid.read_text()) != first
    found = document("device", "doctor", "remote")
    assert found["healthy"], found
    assert [f["what"] for f in found["findings"]] == ["way", "agent", "clocks", "upload", "model"]
    for secret in (*programs.rglob("key"), *programs.parent.glob("config/keys/*")):
        assert secret.stat().st_mode & 0o077 == 0
    os.kill(int(pid.read_text()), signal.SIGKILL)
    time.sleep(0.1)
    found = document("device", "doctor", "remote", status=1)
    assert found["findings"][0]["status"] == "ok" and found["findings"][1]["status"] == "bad"


def test_programs_that_fail_are_told(programs, capsys, shell, tmp_path, monkeypatch):
    shell("device", "add", "phone", "--adb", "nobody")
    assert "device 'nobody' not found" in failure(capsys, "device", "info", "phone")
    shell("device", "add", "board", "--ssh", "nowhere")
    assert "Could not resolve hostname nowhere" in failure(capsys, "device", "info", "board")
    shell("device", "add", "lab", "--tcp", "127.0.0.1:1")
    assert "brings no files" in failure(capsys, "device", "deploy-agent", "lab")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "adb is not installed" in failure(capsys, "device", "info", "phone")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="qemu-aarch64 is not installed")
def test_a_real_model_on_an_emulated_phone(shell, document, tmp_path):
    """PP-OCR's classifier of directions, on an agent for Arm."""
    (package,) = importlib.util.find_spec("rapidocr_onnxruntime").submodule_search_locations
    model = Path(package, "models", "ch_ppocr_mobile_v2.0_cls_infer.onnx")
    shape, made, key = "x=1x3x48x192", tmp_path / "m.so", tmp_path / "key"
    shell("device", "key", key)
    command = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")
    options = {"chosen": target("linux-arm64"), "command": command}
    with Agent(tmp_path / "files", "--key", str(key), **options) as agent:
        shell("device", "add", "phone", "--tcp", f"127.0.0.1:{agent.port}", "--key", key)
        there = ("--device", "phone")
        shell("compile", model, "--shape", shape, *there, "-o", made)
        (output,) = document("run", made, "--input", "random", *there)["outputs"]
        assert output["shape"] == [1, 2] and output["mean"] == pytest.approx(0.5)
        timed = document("bench", made, *there, "--seconds", "0.5", "--threads", "1", "--per-layer")
        assert len(timed["results"][0]["layers"]) > 50
        found = document("diff", model, made, *there)
        assert found["first_different"] is None and len(found["layers"]) > 20
        assert "passed" in shell("selftest", made, *there)


def test_serving_this_machine(tmp_path, shell, artifact):
    command = [sys.executable, "-m", "armlet", "device", "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--folder", tmp_path / "files"], stdout=subprocess.PIPE, text=True
    ) as served:
        assert served.stdout
        port = served.stdout.readline().rpartition(":")[2].strip()
        shell("device", "add", "served", "--tcp", f"127.0.0.1:{port}")
        shell("run", artifact, "--input", "random", "--device", "served")
        served.terminate()


def test_off_loopback_a_key_is_demanded(tmp_path):
    command = [sys.executable, "-m", "armlet", "device", "serve", "--listen", "0.0.0.0:0"]
    done = subprocess.run(
        [*command, "--folder", Path(tmp_path, "f")], capture_output=True, text=True
    )
    assert done.returncode == 2 and "needs a key" in done.stderr
