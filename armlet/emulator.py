"""Emulators of other machines: qemu's user mode, with a C library for programs to run on.

Compiling goes on without one, and says so. Adding an architecture is a row of ``_MACHINES``.
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


@dataclass(frozen=True)
class _Machine:
    #: qemu-NAME
    qemu: str
    #: the dynamic loader's path, below the root of its C library
    loader: str
    #: that root and who brings it, on Debian
    root: str
    package: str
    options: tuple[str, ...] = ()


_MACHINES = {
    "arm64": _Machine(
        "aarch64", "lib/ld-linux-aarch64.so.1", "/usr/aarch64-linux-gnu", "libc6-arm64-cross"
    ),
    "armv7": _Machine(
        "arm", "lib/ld-linux-armhf.so.3", "/usr/arm-linux-gnueabihf", "libc6-armhf-cross"
    ),
    "riscv64": _Machine(
        "riscv64", "lib/ld-linux-riscv64-lp64d.so.1", "/usr/riscv64-linux-gnu",
        "libc6-riscv64-cross", ("-cpu", "rv64,v=true,vext_spec=v1.0,vlen=256,elen=64"),
    ),
}  # fmt: skip

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
    machine = _MACHINES.get(target.architecture) if target.system == "linux" else None
    if machine is None:
        return Emulator(missing=f"no emulator is known for {target.name}")
    qemu = shutil.which(f"qemu-{machine.qemu}")
    install = f"apt install qemu-user {machine.package}"
    if qemu is None:
        return Emulator(missing=f"qemu-{machine.qemu} is not installed (Debian: {install})")
    # a processor that the user names wins
    options = () if "QEMU_CPU" in os.environ else machine.options
    for root in filter(None, [os.environ.get("QEMU_LD_PREFIX"), machine.root, "/"]):
        if Path(root, machine.loader).exists():
            return Emulator((qemu, *options, "-L", root))
    return Emulator(
        missing=f"there is no C library for {target.name} (Debian: {install}; else set "
        "QEMU_LD_PREFIX to a root folder of such a system)"
    )


@lru_cache(maxsize=8)
def guest(triple: str) -> Path:
    """The program that runs an artifact there, from the cache or compiled now."""

    def make(folder: Path) -> None:
        arguments = ["cc", "-target", triple, "-O2", f"-I{HEADER.parent}", _GUEST, "-ldl"]
        toolchain.run("compiling the guest program", [*arguments, "-o", "guest"], folder)

    return compiled_once("guest", triple, [HEADER, _GUEST], make) / "guest"
