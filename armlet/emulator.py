"""Emulators of other machines: qemu's user mode, with a C library for programs to run on.

Compiling goes on without one, and says so. Adding an architecture is a row of ``_LOADERS``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import armlet.runtime
from armlet.compiler.link import toolchain
from armlet.compiler.link.runtime import HEADER, compiled_once
from armlet.errors import ExecutionError
from armlet.targets import Target

#: architecture -> the dynamic loader's path, below the root of its C library
_LOADERS = {"aarch64": "lib/ld-linux-aarch64.so.1"}

_GUEST = Path(armlet.runtime.__file__).parent / "guest" / "guest.c"


@dataclass(frozen=True)
class Emulator:
    command: tuple[str, ...] = ()
    #: why nothing can be run, and the way out; "" if it can
    missing: str = ""

    def run(self, program: Path, arguments: Sequence[object]) -> None:
        """``ExecutionError`` with what it complains of if the program fails."""
        done = subprocess.run(
            [*self.command, str(program), *map(str, arguments)],
            capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        if done.returncode:
            said = done.stderr.strip() or f"exit status {done.returncode}"
            raise ExecutionError(f"the emulated program failed: {said}", where=self.command[0])


def find(target: Target) -> Emulator:
    """The emulator for a target's programs."""
    machine = target.machine
    if target.system != "Linux" or machine not in _LOADERS:
        return Emulator(missing=f"no emulator is known for {target.system} on {machine}")
    qemu = shutil.which(f"qemu-{machine}")
    if qemu is None:
        return Emulator(
            missing=f"qemu-{machine} is not installed (Debian: apt install qemu-user "
            "libc6-arm64-cross)"
        )
    roots = [os.environ.get("QEMU_LD_PREFIX"), f"/usr/{machine}-linux-gnu", "/"]
    for root in filter(None, roots):
        if Path(root, _LOADERS[machine]).exists():
            return Emulator((qemu, "-L", root))
    return Emulator(
        missing=f"there is no C library for {machine} (Debian: apt install libc6-arm64-cross; "
        "else set QEMU_LD_PREFIX to a root folder of such a system)"
    )


@lru_cache(maxsize=8)
def guest(triple: str) -> Path:
    """The program that runs an artifact there, from the cache or compiled now."""

    def make(folder: Path) -> None:
        arguments = ["cc", "-target", triple, "-O2", f"-I{HEADER.parent}", _GUEST, "-ldl"]
        toolchain.run("compiling the guest program", [*arguments, "-o", "guest"], folder)

    return compiled_once("guest", triple, [HEADER, _GUEST], make) / "guest"
