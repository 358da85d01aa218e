"""Every command and every Python example in the documentation runs.

Commands are the ``$`` lines of ``console`` blocks; only installing is left out. They run one
after the other in a folder with ``model.onnx``, ``model.tflite`` and links to the tree.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from armlet.compiler.link.agent import agent_program
from armlet.targets import target
from tests.frontends.tflite.random_graphs import small_network

from .rpc.programs import installed

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / page).read_text())


def commands(text: str) -> list[str]:
    lines = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    return [line for line in lines if not line.startswith("pip install")]


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """What pages know of phones and boards: none yet, and folders that play them."""
    agent_program(target())  # so that one starts at once
    monkeypatch.setenv("ARMLET_DEVICES", str(tmp_path / "devices.toml"))
    with installed(tmp_path / "bin", tmp_path / "root") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield
    end_those_with(f"ARMLET_DEVICES={tmp_path / 'devices.toml'}")


def end_those_with(variable: str) -> None:
    """Ends what a page started and, as one of its commands failed, did not end."""
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if variable.encode() in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)])
def test_a_pages_examples_run(page, small_cnn, tmp_path, monkeypatch, devices):
    work = tmp_path / "work"
    work.mkdir()
    small_cnn.rename(work / "model.onnx")
    (work / "model.tflite").write_bytes(small_network())
    for name in ("examples", "runtime"):
        (work / name).symlink_to(ROOT / name)
    monkeypatch.chdir(work)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for kind, text in blocks(page):
        if kind == "python":
            exec(text, {"picture": np.zeros((1, 3, 14, 11), np.float32)})
            continue
        for command in commands(text):
            done = subprocess.run(
                command,
                shell=True,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
