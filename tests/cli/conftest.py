"""The command line in this process, and a small model compiled by it once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import armlet
from armlet.cli import main

Shell = Callable[..., str]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs a command that must end with ``status``; returns what it printed."""

    def run(*arguments: object, status: int = 0) -> str:
        capsys.readouterr()
        found = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert found == status, err
        assert status or not err
        return out

    return run


@pytest.fixture
def document(shell: Shell) -> Callable[..., Any]:
    """As ``shell``, with ``--json``: what it printed, parsed."""
    return lambda *arguments, status=0: json.loads(shell(*arguments, "--json", status=status))


@pytest.fixture
def artifact(small_cnn: Path, tmp_path: Path) -> Path:
    """``small_cnn``, compiled; quick, as its kernels are in the cache after the first time."""
    path = tmp_path / "small.so"
    armlet.compile(small_cnn).save(path)
    return path


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(3).random((1, 3, 14, 11), np.float32)
