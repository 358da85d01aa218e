"""The agent for a target: the program that runs on a device and serves it to ``armlet`` elsewhere.

Compiled and linked like an artifact, against names alone, and kept in the cache. It needs the C
library and exports the few functions that TVM's compiled code calls.
"""

from __future__ import annotations

from pathlib import Path

import armlet.runtime

from . import bionic, formats, libc, runtime, toolchain
from .format import LinkTarget

SOURCES = Path(armlet.runtime.__file__).parent / "agent"
NAME = "armlet-agent"

#: of the runtime, what the agent has a use for
_SHARED = ("beacon.c", "system.c", "pool.c", "cpu_*.c")
#: files are as large on 32 bits, too; bionic knows no other way
_LARGE_FILES = ("-D_FILE_OFFSET_BITS=64",)
_ZIG_FLAGS = (
    "-O", "ReleaseFast", "-fPIC", "-fstrip", "-ffunction-sections", "-fno-unwind-tables",
)  # fmt: skip
#: what the second version of the cryptography's inner loops may use (runtime/agent/crypto.c)
_FAST = {"x86_64": "x86_64+avx2+bmi2+sha", "aarch64": "baseline+sha2"}
_LINK = (
    "-pie", "--export-dynamic-symbol=TVM*", "--gc-sections", "--as-needed", "--build-id=sha1",
    "--hash-style=both", "--strip-all", "-z", "now", "-z", "relro", "-z", "noexecstack",
    "-z", "text",
)  # fmt: skip
#: where the loader lies: System V's ABI of each architecture, and Android's
_LOADERS = {
    "x86_64": "/lib64/ld-linux-x86-64.so.2",
    "aarch64": "/lib/ld-linux-aarch64.so.1",
    "arm": "/lib/ld-linux-armhf.so.3",
    "riscv64": "/lib/ld-linux-riscv64-lp64d.so.1",
}
_ANDROID_LOADERS = {"arm": "/system/bin/linker"}
_ANDROID_LOADER = "/system/bin/linker64"


def agent_program(target: LinkTarget) -> Path:
    """The program, from the cache or made now."""
    triple, made = target.zig_triple, runtime.runtime(target.zig_triple)
    stubs = libc.program_libraries(triple)
    files = [*sorted(SOURCES.glob("*.c")), *shared_sources()]
    compiler = [
        *formats.of_triple(triple).compiler(triple), *runtime.FLAGS, "-fPIC",
        *(() if bionic.is_android(triple) else _LARGE_FILES),
        f'-DAGENT_VERSION="{armlet.__version__}"',
        f"-I{runtime.HEADER.parent}", f"-I{runtime.SOURCES}",
    ]  # fmt: skip
    sizes = [f"{which}-page-size={target.page_bytes}" for which in ("max", "common")]
    linker = [*_LINK, "-z", sizes[0], "-z", sizes[1], f"--dynamic-linker={_loader(triple)}"]

    def make(folder: Path) -> None:
        compile_cryptography(triple, folder)
        toolchain.run("compiling the agent", [*compiler, "-c", *files], folder)
        for name, functions in stubs.items():
            runtime.make_stub(triple, name, functions, folder)
        inputs = [*sorted(folder.glob("*.o")), *stubs, *made.helpers]
        toolchain.run("linking the agent", ["ld.lld", *linker, "-o", NAME, *inputs], folder)

    recipe = (triple, compiler, linker, stubs, made.helpers, _ZIG_FLAGS, _FAST)
    headers = [runtime.HEADER, *runtime.SOURCES.glob("*.h"), *bionic.HEADERS.rglob("*.h")]
    sources = [*files, *sorted([*headers, *SOURCES.glob("*.h")]), SOURCES / "crypto.zig"]
    return runtime.compiled_once("agent", recipe, sources, make) / NAME


def shared_sources() -> list[Path]:
    """Files of the runtime that the agent is made of, too."""
    return [path for name in _SHARED for path in sorted(runtime.SOURCES.glob(name))]


def _loader(triple: str) -> str:
    architecture = triple.split("-")[0]
    if bionic.is_android(triple):
        return _ANDROID_LOADERS.get(architecture, _ANDROID_LOADER)
    return _LOADERS[architecture]


def compile_cryptography(triple: str, folder: Path) -> list[Path]:
    """The objects of ``crypto.zig``, one for each kind of processor that crypto.c knows."""
    versions = {"crypto-plain.o": "baseline"}
    if fast := _FAST.get(triple.split("-")[0]):
        versions["crypto-fast.o"] = fast
    for name, processor in versions.items():
        options = ["-target", triple, "-mcpu", processor, *_ZIG_FLAGS, f"-femit-bin={name}"]
        command = ["build-obj", SOURCES / "crypto.zig", *options]
        toolchain.run("compiling the agent's cryptography", command, folder)
    return [folder / name for name in versions]
