"""A sound model and its artifact, compiled once."""

from __future__ import annotations

from pathlib import Path

import pytest

import armlet

from . import models
from .harness import Refusals


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refusals:
    (tmp_path / "out").mkdir()
    return Refusals(tmp_path, capsys)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.onnx"
    path.write_bytes(models.sound().SerializeToString())
    return path


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Artifacts: of the sound model (``x``: 1x3x8x8 -> ``y``), and of one of two inputs."""
    folder = tmp_path_factory.mktemp("compiled")
    for name, made in (("sound", models.sound()), ("two", models.two_inputs())):
        source = folder / f"{name}.onnx"
        source.write_bytes(made.SerializeToString())
        armlet.compile(source).save(folder / f"{name}.so")
    return {name: folder / f"{name}.so" for name in ("sound", "two")}


@pytest.fixture
def artifact(compiled: dict[str, Path]) -> Path:
    return compiled["sound"]
