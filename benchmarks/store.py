"""The cache of what takes long: the peers' environments, and models converted for each.

Everything is keyed by its content, so an interrupted run goes on where it stopped, and what
changed is made again: armlet's key covers its sources and the tuning records it would read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from armlet.settings import CACHE, RECORDS

from .process import ROOT, Process, Refused

#: source folders that have no say in what armlet compiles
OTHERS = {"benchmarks", "tests", "docs", "examples"}
#: of a key
DIGITS = 20


def cache() -> Path:
    return CACHE.value / "benchmarks"


def digest(parts: Iterable[bytes | str | Path]) -> str:
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            found.update(part.read_bytes())
        else:
            found.update(part.encode() if isinstance(part, str) else part)
    return found.hexdigest()[:DIGITS]


def finished(folder: Path) -> bool:
    return (folder / "done.json").exists()


def finish(folder: Path, **facts: float | str) -> None:
    (folder / "done.json").write_text(json.dumps(facts))


def facts(folder: Path) -> dict[str, float | str]:
    return json.loads((folder / "done.json").read_text())


def fresh(folder: Path) -> Path:
    """Makes the folder, in the place of what it had, and of those of other keys."""
    stem = folder.name.removesuffix(folder.name.rpartition("-")[2])
    for old in folder.parent.glob(stem + "[0-9a-f]" * DIGITS):
        shutil.rmtree(old)
    folder.mkdir(parents=True)
    return folder


def packages(peer: str) -> tuple[str, ...]:
    module = import_module(f"benchmarks.peers.{peer}")
    return (*module.PACKAGES, *getattr(module, "STANDALONE", ()))


def python_of(peer: str) -> Path:
    """The interpreter of the peer's environment, which is made if it is missing."""
    if peer == "armlet":
        return Path(sys.executable)
    module = import_module(f"benchmarks.peers.{peer}")
    folder = cache() / "environments" / f"{peer}-{digest(packages(peer))}"
    python = folder / "bin" / "python"
    if not finished(folder):
        venv.create(fresh(folder), with_pip=True)
        _install(python, *module.PACKAGES)
        if alone := getattr(module, "STANDALONE", ()):
            _install(python, "--no-deps", *alone)
        finish(folder)
    return python


def _install(python: Path, *what: str) -> None:
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *what], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip() or f"status {done.returncode}"
        raise Refused(f"pip cannot install {' '.join(what)}: {said.splitlines()[-1]}")


def _ingredients(peer: str) -> list[str | Path]:
    """What, beside the model, decides how it is converted."""
    if peer != "armlet":
        return [*packages(peer), *sorted((ROOT / "benchmarks" / "peers").glob(f"{peer}*.py"))]
    rooms = [
        f.parent for f in ROOT.glob("*/__init__.py") if f.parent.name not in OTHERS
    ] + [ROOT / "tuning_logs", RECORDS.value]  # fmt: skip
    found = [f for room in rooms for f in sorted(room.rglob("*")) if f.is_file()]
    return [f for f in found if f.suffix not in (".pyc", ".so")]


def converted(peer: str, name: str, model: Path, feeds: Path) -> Path:
    """The folder of the model's files for the peer; ``Refused`` if it cannot convert it."""
    folder = cache() / "models" / f"{name}-{peer}-{digest([model, *_ingredients(peer)])}"
    if not finished(folder):
        process = Process(python_of(peer), peer)
        begun = time.perf_counter()
        try:
            process.call("convert", str(model), str(feeds), str(fresh(folder)))
            finish(folder, seconds=time.perf_counter() - begun)
        except Refused as refusal:
            finish(folder, refused=str(refusal))
        finally:
            process.close()
    if refused := facts(folder).get("refused"):
        raise Refused(str(refused))
    return folder
