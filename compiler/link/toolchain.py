"""Running zig's C compiler, assembler and linker.

Three tools of one binary: ``zig cc`` knows every libc's headers and compiles the runtime;
``zig clang`` is the bare compiler (20 ms, no cache of its own) and ``zig ld.lld`` the bare
linker, which link models against stubs and never wait for zig to build a libc.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from armlet.errors import OutputError, ToolchainError
from armlet.settings import CACHE

_WAY_OUT = "python -m pip install --force-reinstall ziglang"

#: Android's 32-bit Arm is Armv7-A, of which zig's names say nothing
_ANDROID = {"arm": "armv7a"}


@lru_cache(maxsize=1)
def zig() -> Path:
    """The zig binary of the ``ziglang`` package."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise ToolchainError("the C compiler (package ziglang) is missing", way_out=_WAY_OUT)
    return Path(spec.origin).parent / "zig"


@lru_cache(maxsize=1)
def version() -> str:
    return importlib.metadata.version("ziglang")


def headers() -> Path:
    """The compiler's own headers (stdint.h and such), which need no C library."""
    return zig().parent / "lib" / "include"


@lru_cache(maxsize=1)
def _private_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="armlet-cache-")


def cache_dir(name: str) -> Path:
    """The folder ``name`` of the cache; where that cannot be written, one of this process's own."""
    folder = CACHE.value / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    folder = Path(_private_folder().name) / name
    folder.mkdir(exist_ok=True)
    return folder


def llvm_triple(zig_triple: str) -> str:
    """As the bare tools understand it: of C libraries' versions with Android's and Apple's only."""
    architecture, system, libc = zig_triple.split("-")
    if "." in system:
        return f"{architecture}-apple-{system.replace('.', '', 1)}"
    name, _, version = libc.partition(".")
    if name.startswith("android"):
        return f"{_ANDROID.get(architecture, architecture)}-{system}-{name}{version}"
    return f"{architecture}-{system}-{name}"


def run(what: str, arguments: Sequence[object], folder: Path) -> None:
    """Runs zig in ``folder``; ``ToolchainError`` says that ``what`` failed, and why.

    A full disk is an ``OutputError``.
    """
    caches = cache_dir("zig")
    environment = {
        **os.environ,
        "ZIG_GLOBAL_CACHE_DIR": str(caches),
        "ZIG_LOCAL_CACHE_DIR": str(caches),
    }
    command = [str(zig()), *map(str, arguments)]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        raise ToolchainError(f"{what} could not be started: {error}", way_out=_WAY_OUT) from error
    if "No space left" in done.stderr:
        raise OutputError(
            f"{what} failed: no space left on device",
            where=str(folder),
            way_out="free some space in the temporary folder, or set TMPDIR to another",
        )
    if done.returncode:
        raise ToolchainError(f"{what} failed: {_reason(done)}")


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The first line that tells of an error, else how the process ended."""
    for line in done.stderr.splitlines():
        if "error:" in line:
            return line.partition("error:")[2].strip()
    if done.returncode < 0:
        return f"killed by {signal.Signals(-done.returncode).name}"
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"
