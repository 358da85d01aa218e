"""The runtime for a target, compiled once and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import armlet.runtime

from . import bionic, formats, libc, toolchain

SOURCES = Path(armlet.runtime.__file__).parent / "src"
HEADER = Path(armlet.runtime.__file__).parent / "include" / "armlet.h"

#: no ``-march``: baseline code alone may run before the CPU is checked
FLAGS = (
    "-std=c11", "-Os", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections",
    "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fno-stack-protector",
    "-Wall", "-Wextra", "-Wconversion", "-Werror",
)  # fmt: skip

#: architectures without instructions for all that C has, such as division of 64 bits
_INCOMPLETE = ("arm-", "thumb-")
_HELPER_FLAGS = ("-O", "ReleaseSmall", "-fPIC", "-ffunction-sections", "-fstrip")


@dataclass(frozen=True)
class Runtime:
    objects: tuple[Path, ...]
    #: stubs of the C library's parts
    stubs: tuple[Path, ...]
    #: libraries of what the compiler calls where the processor lacks it
    helpers: tuple[Path, ...]


@lru_cache(maxsize=1)
def exports() -> tuple[str, ...]:
    """The functions of ``armlet.h``."""
    found = re.findall(r"^ARMLET_API[^;(]*?\b(armlet_\w+)\(", HEADER.read_text(), re.MULTILINE)
    return tuple(sorted(found))


@lru_cache(maxsize=8)
def runtime(triple: str) -> Runtime:
    """Objects and stubs for a zig triple, from the cache or compiled now."""
    stubs = libc.libraries(triple)
    format = formats.of_triple(triple)
    c_files = sources(format.instead)
    includes = [f"-I{HEADER.parent}", f"-I{SOURCES}"]
    command = [*format.compiler(triple), *FLAGS, *format.flags, *includes]

    def make(folder: Path) -> None:
        toolchain.run("compiling the runtime", [*command, "-c", *c_files], folder)
        for name, functions in stubs.items():
            make_stub(triple, name, functions, folder)
        if triple.startswith(_INCOMPLETE):
            _make_helpers(triple, folder)

    recipe = (triple, command, stubs, _INCOMPLETE, _HELPER_FLAGS)
    own = (SOURCES.parent / format.instead).glob("*.h")
    headers = [*HEADER.parent.glob("*.h"), *SOURCES.glob("*.h"), *own, *bionic.HEADERS.rglob("*.h")]
    folder = compiled_once("runtime", recipe, [*sorted(headers), *c_files], make)
    return Runtime(
        objects=tuple(sorted(folder.glob("*.o"))),
        stubs=tuple(folder / name for name in stubs),
        helpers=tuple(folder.glob("*.a")),
    )


def shims(triple: str, files: Sequence[Path]) -> list[Path]:
    """Objects of these files, which may include the runtime's headers and those beside them."""
    format = formats.of_triple(triple)
    folders = (HEADER.parent, SOURCES)
    includes = [f"-I{folder}" for folder in folders]
    command = [*format.compiler(triple), *FLAGS, *format.flags, *includes]
    objects: list[Path] = []
    for file in files:
        what = [*command, "-c", file]
        headers = sorted(h for folder in (*folders, file.parent) for h in folder.glob("*.h"))
        folder = compiled_once(
            "shims", (triple, command), [*headers, file],
            lambda folder, what=what: toolchain.run("compiling a shim", what, folder),  # type: ignore[misc]
        )  # fmt: skip
        objects += folder.glob("*.o")
    return objects


def sources(instead: str) -> list[Path]:
    """The runtime's files, and a system's own, which take the places of their namesakes."""
    own = (SOURCES.parent / instead).glob("*.c") if instead else ()
    files = {path.name: path for path in (*SOURCES.glob("*.c"), *own)}
    return [files[name] for name in sorted(files)]


def compiled_once(
    name: str, recipe: object, sources: Sequence[Path], make: Callable[[Path], None]
) -> Path:
    """The cache's folder of what ``make`` makes of these sources."""
    content = hashlib.sha256(repr((recipe, toolchain.version())).encode())
    for path in sources:
        content.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    folder = toolchain.cache_dir(name) / content.hexdigest()[:32]
    if not folder.is_dir():
        _made_beside(folder, make)
    return folder


def _made_beside(folder: Path, make: Callable[[Path], None]) -> None:
    """Made beside and renamed: another process may be making the same."""
    beside = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        make(beside)
        os.rename(beside, folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _make_helpers(triple: str, folder: Path) -> None:
    source = toolchain.zig().parent / "lib" / "compiler_rt.zig"
    options = ["-target", triple, "--name", "compiler_rt", *_HELPER_FLAGS]
    toolchain.run("compiling the compiler's helpers", ["build-lib", source, *options], folder)


def make_stub(triple: str, name: str, functions: list[str], folder: Path) -> None:
    """The library ``name`` in ``folder``, which has these functions in name only."""
    source, part = folder / f"{name}.s", folder / f"{name}.part"
    source.write_text(libc.stub(functions))
    target = f"--target={toolchain.llvm_triple(triple)}"
    what = f"making a stub of {name}"
    toolchain.run(what, ["clang", target, "-c", source, "-o", part], folder)
    toolchain.run(what, ["ld.lld", "-shared", f"-soname={name}", part, "-o", folder / name], folder)
    part.unlink()
    source.unlink()
