"""What runs artifacts for other machines: qemu's user mode, with a C library for programs to run
on, and Node for WebAssembly.

Compiling goes on without one, and says so. Adding a family under qemu is a row of ``_MACHINES``.
What is for Android runs on glibc, behind a ``libc.so`` that has bionic's layouts
(``runtime/guest/bionic.c``).
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import armlet.runtime
from armlet.compiler.link import toolchain
from armlet.compiler.link.runtime import HEADER, compiled_once
from armlet.errors import ExecutionError
from armlet.targets import Target


@dataclass(frozen=True)
class _Machine:
    #: qemu-NAME, and what the kernel calls such a machine, which needs none
    qemu: str
    #: the dynamic loader's path, below the root of its C library
    loader: str
    #: that root and who brings it, on Debian
    root: str
    package: str
    #: zig's triple of programs for it, where it is not the target's own
    triple: str = ""
    options: tuple[str, ...] = ()


_ARM64 = ("aarch64", "lib/ld-linux-aarch64.so.1", "/usr/aarch64-linux-gnu", "libc6-arm64-cross")

_MACHINES = {
    "linux-arm64": _Machine(*_ARM64),
    "linux-armv7": _Machine(
        "arm", "lib/ld-linux-armhf.so.3", "/usr/arm-linux-gnueabihf", "libc6-armhf-cross"
    ),
    "linux-riscv64": _Machine(
        "riscv64", "lib/ld-linux-riscv64-lp64d.so.1", "/usr/riscv64-linux-gnu",
        "libc6-riscv64-cross",
        options=("-cpu", "rv64,v=true,vext_spec=v1.0,vlen=256,elen=64"),
    ),
    "android-arm64": _Machine(*_ARM64, "aarch64-linux-gnu.2.17"),
    # floats go in integer registers there as they do in Debian's armel
    "android-armv7": _Machine(
        "arm", "lib/ld-linux.so.3", "/usr/arm-linux-gnueabi", "libc6-armel-cross",
        "arm-linux-gnueabi.2.17",
    ),
    "android-x86_64": _Machine(
        "x86_64", "lib64/ld-linux-x86-64.so.2", "/usr/x86_64-linux-gnu", "libc6-amd64-cross",
        "x86_64-linux-gnu.2.17",
    ),
}  # fmt: skip

_GUEST = Path(armlet.runtime.__file__).parent / "guest" / "guest.c"
#: Android's libraries, which are made for a guest of glibc, and of what
_BIONIC: dict[str, list[object]] = {
    "libc.so": [_GUEST.with_name("bionic.c"), "-ldl", "-lpthread", "-lm"],
    "libm.so": ["-xc", os.devnull],
    "libdl.so": ["-xc", os.devnull],
}
_WEB_GUEST = _GUEST.with_name("guest.mjs")


@dataclass(frozen=True)
class Emulator:
    command: tuple[str, ...] = ()
    #: the program that runs an artifact there, made when it is asked for
    guest: Callable[[], Path] = Path
    #: why nothing can be run, and the way out; "" if it can
    missing: str = ""

    def run(self, arguments: Sequence[object]) -> None:
        """``ExecutionError`` with what it complains of if the program fails."""
        done = subprocess.run(
            [*self.command, str(self.guest()), *map(str, arguments)],
            capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        if done.returncode:
            said = done.stderr.strip() or f"exit status {done.returncode}"
            raise ExecutionError(f"the emulated program failed: {said}", where=self.command[0])


def find(target: Target) -> Emulator:
    """The emulator for a target's programs."""
    look = _node if target.system == "web" else _qemu
    return look(target)


def _node(target: Target) -> Emulator:
    node = shutil.which("node")
    if node is None:
        return Emulator(missing="node is not installed (Debian: apt install nodejs)")
    done = subprocess.run([node, "--version"], capture_output=True, text=True)
    # versions before 21 know relaxed SIMD if they are told
    old = int(done.stdout.strip().lstrip("v").split(".")[0] or 0) < 21
    told = "relaxed-simd" in target.features and old
    options = ["--experimental-wasm-relaxed-simd"] if told else []
    return Emulator((node, *options), lambda: _WEB_GUEST)


def _qemu(target: Target) -> Emulator:
    machine = _MACHINES.get(f"{target.system}-{target.architecture}")
    if machine is None:
        return Emulator(missing=f"no emulator runs programs for {target.name}")
    if machine.qemu == platform.machine() and Path("/", machine.loader).exists():
        return Emulator(guest=partial(_guest, target))
    qemu = shutil.which(f"qemu-{machine.qemu}")
    install = f"apt install qemu-user {machine.package}"
    if qemu is None:
        return Emulator(missing=f"qemu-{machine.qemu} is not installed (Debian: {install})")
    # a processor that the user names wins
    options = () if "QEMU_CPU" in os.environ else machine.options
    for root in filter(None, [os.environ.get("QEMU_LD_PREFIX"), machine.root, "/"]):
        if Path(root, machine.loader).exists():
            return Emulator((qemu, *options, "-L", root), partial(_guest, target))
    return Emulator(
        missing=f"there is no C library for {target.name} (Debian: {install}; else set "
        "QEMU_LD_PREFIX to a root folder of such a system)"
    )


@lru_cache(maxsize=8)
def _guest(target: Target) -> Path:
    """From the cache or compiled now."""
    triple = _MACHINES[f"{target.system}-{target.architecture}"].triple or target.zig_triple
    compiler = ["cc", "-target", triple, "-O2", f"-I{HEADER.parent}"]
    libraries = _BIONIC if target.system == "android" else {}
    # found before glibc's functions, and beside the guest
    first = ["-Wl,--no-as-needed", *libraries, "-Wl,-rpath,$ORIGIN"] if libraries else []

    def make(folder: Path) -> None:
        for name, arguments in libraries.items():
            shared = [*compiler, "-shared", "-fPIC", *arguments, f"-Wl,-soname,{name}", "-o", name]
            toolchain.run(f"compiling the guest's {name}", shared, folder)
        program = [*compiler, _GUEST, *first, "-ldl", "-o", "guest"]
        toolchain.run("compiling the guest program", program, folder)

    recipe, sources = (compiler, libraries, first), [HEADER, *sorted(_GUEST.parent.iterdir())]
    return compiled_once("guest", recipe, sources, make) / "guest"
