"""Android's C library: what it has at an API level, and how C is compiled for it without the NDK.

``bionic.toml`` lists its functions; ``runtime/bionic`` declares those that the runtime uses. The
level is the version at the end of a zig triple, such as ``aarch64-linux-android.21``.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path

import armlet.runtime

from . import toolchain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HEADERS = Path(armlet.runtime.__file__).parent / "bionic"

#: where the kernel's headers for an architecture lie in the toolchain
_KERNEL = {"aarch64": "aarch64-linux-any", "arm": "arm-linux-any", "x86_64": "x86-linux-any"}


def is_android(triple: str) -> bool:
    return "-linux-android" in triple


def level_of(triple: str) -> int:
    """The lowest API level that artifacts of a zig triple run on."""
    return int(triple.rpartition(".")[2])


@lru_cache(maxsize=1)
def _since() -> dict[str, dict[int, list[str]]]:
    text = Path(__file__).with_suffix(".toml").read_text()
    return {
        library: {int(level): names.split() for level, names in levels.items()}
        for library, levels in tomllib.loads(text).items()
    }


def libraries(level: int) -> dict[str, list[str]]:
    """Name of a library -> the functions that it has at an API level."""
    return {
        library: [n for since, names in levels.items() if since <= level for n in names]
        for library, levels in _since().items()
    }


def compiler(triple: str) -> list[object]:
    """The command that compiles C for Android, up to its flags."""
    kernel = toolchain.zig().parent / "lib" / "libc" / "include"
    folders = [
        toolchain.headers(), HEADERS, kernel / _KERNEL[triple.split("-")[0]],
        kernel / "any-linux-any",
    ]  # fmt: skip
    found = [argument for folder in folders for argument in ("-isystem", folder)]
    # atomics in place: the functions that choose them at run time are the NDK's
    inline = ["-mno-outline-atomics"] if triple.startswith("aarch64") else []
    return ["clang", f"--target={toolchain.llvm_triple(triple)}", *inline, "-nostdinc", *found]
