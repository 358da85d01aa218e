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

#: of the runtime: parallel loops of TVM's kernels run on its threads
_SHARED = ("cores.c", "pool.c", "beacon.c")
_ZIG#: of the runtime, what the agent has a use for
_SHARED = ("beacon.c", "cores.c", "pool.c", *(p.name for p in runtime.SOURCES.glob("cpu_*.c")))
_ZIG_FLAGS = ("-O", "ReleaseFast", "-fPIC", "-fstrip", "-ffunction-sections", "-fno-unwind-tables")


def agent_program(target: LinkTarget) -> Path:
    """The program, from the cache or made now."""
    triple = target.zig_triple
    files = [*sorted(SOURCES.glob("*.c")), *(runtime.SOURCES / name for name in _SHARED)]
    includes = [f"-I{runtime.HEADER.parent}", f"-I{runtime.SOURCES}"]
    compiler = [*formats.of_triple(triple).compiler(triple), *runtime.FLAGS, "-fPIC", *includes]

    def make(folder: Path) -> None:
        crypto = ["build-obj", SOURCES / "crypto.zig", "-target", triple, *_ZIG_FLAGS]
        toolchain.run("compiling the agent's cryptography", crypto, folder)
        toolchain.run("compiling the agent", [*compiler, "-c", *files], folder)
        link = ["cc", "-target", triple, "-s", "-pie", "-rdynamic", "-Wl,--gc-sections", "-o", NAME]
        objects = sorted(folder.glob("*.o"))
        toolchain.run("linking the agent", [*link, *objects, "-ldl", "-lpthread"], folder)

    recipe = (compiler, triple, _ZIG_FLAGS)
    headers = [runtime.HEADER, *runtime.SOURCES.glob("*.h"), *SOURCES.glob("*.h")]
    sources = [*files, *sorted(headers), SOURCES / "crypto.zig"]
    return runtime.compiled_once("agent", recipe, sources, make) / NAME
