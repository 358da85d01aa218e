"""The agent for a target: the program that runs on a device and serves it to ``armlet`` elsewhere.

Compiled like the runtime and kept in the cache; it needs the C library alone.
"""

from __future__ import annotations

from pathlib import Path

import armlet.runtime

from . import formats, runtime, toolchain
from .format import LinkTarget

SOURCES = Path(armlet.runtime.__file__).parent / "agent"
NAME = "armlet-agent"

_FLAGS = tuple(f for f in runtime.FLAGS if f != "-fvisibility=hidden")
_ZIG_FLAGS = ("-O", "ReleaseFast", "-fPIC", "-fstrip", "-ffunction-sections", "-fno-unwind-tables")
#: those that are ready
_READY = ("main", "supervisor", "channel", "session", "store", "facts", "absent")


def agent_program(target: LinkTarget) -> Path:
    """The program, from the cache or made now."""
    triple = target.zig_triple
    files = [SOURCES / f"{name}.c" for name in _READY]
    compiler = [*formats.of_triple(triple).compiler(triple), *_FLAGS, "-fPIC"]

    def make(folder: Path) -> None:
        crypto = ["build-obj", SOURCES / "crypto.zig", "-target", triple, *_ZIG_FLAGS]
        toolchain.run("compiling the agent's cryptography", crypto, folder)
        toolchain.run("compiling the agent", [*compiler, "-c", *files], folder)
        link = ["cc", "-target", triple, "-s", "-o", NAME, *sorted(folder.glob("*.o"))]
        toolchain.run("linking the agent", link, folder)

    recipe = (compiler, triple, _ZIG_FLAGS)
    sources = [*files, *sorted(SOURCES.glob("*.h")), SOURCES / "crypto.zig"]
    return runtime.compiled_once("agent", recipe, sources, make) / NAME
