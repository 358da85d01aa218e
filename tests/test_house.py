"""The house rules that tools can check: types, import directions, sizes of files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ["rpc", "frontends", "compiler", "schedules", "targets", "runtime", "tuning_logs"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The import package as one folder: checkers do not know of mapped folders."""
    top = tmp_path_factory.mktemp("tree")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "armlet", top / "armlet", ignore=ignore)
    for room in ROOMS:
        shutil.copytree(ROOT / room, top / "armlet" / room, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", top)
    return top


def run(tree: Path, tool: str, *arguments: str) -> None:
    """Runs a tool of this environment on the tree."""
    done = subprocess.run(
        [Path(sys.executable).parent / tool, *arguments],
        cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_types_check(tree):
    run(tree, "mypy", "-p", "armlet")


def test_imports_point_one_way(tree):
    run(tree, "lint-imports", "--config", "pyproject.toml", "--no-cache")


def test_files_stay_readable():
    long = [
        f"{path.relative_to(ROOT)}: {lines}"
        for top in ["armlet", *ROOMS]
        for path in (ROOT / top).rglob("*.*")
        if path.suffix in (".py", ".c", ".h")
        and (lines := len(path.read_text().splitlines())) > 550
    ]
    assert not long
