"""The library that a stock TVM RPC server is given, so that it starts an agent (runtime/bridge)."""

from __future__ import annotations

from pathlib import Path

from . import agent, formats, runtime, toolchain
from .format import LinkTarget

SOURCE = agent.SOURCES.parent / "bridge" / "tvm_bridge.c"
NAME = "armlet-bridge.so"


def bridge_library(target: LinkTarget) -> Path:
    """The library, from the cache or made now."""
    triple = target.zig_triple
    compiler = [*formats.of_triple(triple).compiler(triple), *runtime.FLAGS, "-fPIC"]
    # what it calls is in the server already: the C library, and TVM's
    linker = ["ld.lld", "-shared", "--strip-all", "-z", "noexecstack", "-o", NAME]

    def make(folder: Path) -> None:
        toolchain.run(
            "compiling the bridge", [*compiler, f"-I{agent.SOURCES}", "-c", SOURCE], folder
        )
        toolchain.run("linking the bridge", [*linker, *folder.glob("*.o")], folder)

    sources = [SOURCE, agent.SOURCES / "tvm_abi.h"]
    return runtime.compiled_once("bridge", (triple, compiler, linker), sources, make) / NAME
