"""``libarmlet_jni.so``: what Java's classes of ``runtime/bindings/java`` call, for a target.

Compiled and linked like an artifact, and kept in the cache; no JDK and no NDK is needed.
"""

from __future__ import annotations

import re
from pathlib import Path

from armlet.errors import InternalError

from . import formats, runtime, toolchain
from .format import LinkTarget

BINDING = runtime.HEADER.parent.parent / "bindings" / "java"
NAME = "libarmlet_jni.so"

_SOURCE = BINDING / "armlet_jni.c"


def functions() -> tuple[str, ...]:
    """What it exports: the native methods."""
    names = re.findall(r"^NATIVE\(\w+, (\w+)", _SOURCE.read_text(), re.MULTILINE)
    return tuple(f"Java_io_armlet_Native_{name}" for name in names)


def library(target: LinkTarget) -> Path:
    """The library, from the cache or made now."""
    triple, made = target.zig_triple, runtime.runtime(target.zig_triple)
    format = formats.of_triple(triple)
    compiler = [*format.compiler(triple), *runtime.FLAGS, *format.flags]

    def make(folder: Path) -> None:
        includes = [f"-I{runtime.HEADER.parent}", f"-I{BINDING}"]
        compile = [*compiler, *includes, "-c", _SOURCE, "-o", "jni.o"]
        toolchain.run("compiling the binding for Java", compile, folder)
        inputs = ["jni.o", *made.stubs, *made.helpers]
        linked = format.link(inputs, functions(), target, NAME, folder)
        if problems := format.problems(linked.read_bytes(), target, functions()):
            raise InternalError("; ".join(problems), where=NAME)
        linked.rename(folder / NAME)

    recipe = (compiler, triple, target.page_bytes, made.stubs)
    sources = [runtime.HEADER, *sorted(BINDING.glob("*.[ch]"))]
    return runtime.compiled_once("jni", recipe, sources, make) / NAME
