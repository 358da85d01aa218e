"""From a plan to an artifact: tables, weights, kernels and runtime in one shared library.

Everything is made in a temporary folder; the output appears whole, by a rename, or not at
all. The same plan gives the same bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from armlet.compiler.plan.plan import Plan
from armlet.errors import OutputError, UnsupportedModelError

from . import formats, runtime, tables, toolchain
from .check import check_artifact
from .format import LinkTarget
from .publish import publish
from .seal import seal
from .selftest import SelfTest

#: code reaches its tables over the weights by 32-bit offsets
MOST_CONSTANT_BYTES = 1900 << 20


def link(
    plan: Plan,
    *,
    target: LinkTarget,
    manifest: Mapping[str, Any],
    selftest: SelfTest | None,
    output: Path,
    soname: str = "",
) -> None:
    """Writes the artifact ``output``, which knows itself by ``soname`` if it is given.

    ``ToolchainError`` if a tool fails, ``OutputError`` if a file cannot be written.
    """
    if plan.constant_bytes > MOST_CONSTANT_BYTES:
        raise UnsupportedModelError(
            f"the weights take {plan.constant_bytes >> 20} MiB; an artifact holds at most "
            f"{MOST_CONSTANT_BYTES >> 20} MiB",
            way_out="compile the model in a smaller precision, or in parts",
        )
    made, format = runtime.runtime(target.zig_triple), formats.of_triple(target.zig_triple)
    try:
        with tempfile.TemporaryDirectory(prefix="armlet-link-") as name:
            folder = Path(name)
            _compile_tables(plan, target, manifest, selftest, folder)
            shims = runtime.shims(target.zig_triple, plan.shims)
            objects = [*made.objects, *shims, *_objects(plan, folder)]
            inputs = [*objects, *made.stubs, *made.helpers]
            artifact = format.link(inputs, runtime.exports(), target, soname, folder)
            check_artifact(artifact, target)
            seal(artifact)
            publish(artifact, Path(output))
    except OSError as error:
        raise OutputError(
            f"a temporary file could not be written: {error.strerror or error}",
            where=tempfile.gettempdir(),
            way_out="free some space there, or set TMPDIR to another folder",
        ) from error


def _compile_tables(
    plan: Plan,
    target: LinkTarget,
    manifest: Mapping[str, Any],
    selftest: SelfTest | None,
    folder: Path,
) -> None:
    constants = Path("constants.bin")
    with (folder / constants).open("wb") as file:
        tables.write_constants(plan, file)
    format = formats.of_triple(target.zig_triple)
    text = tables.source(plan, target.features, manifest, selftest, constants, format.section)
    (folder / "tables.c").write_text(text)
    arguments = [
        "clang", f"--target={toolchain.llvm_triple(target.zig_triple)}", "-std=gnu11", "-O1",
        *format.flags, "-ffreestanding", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables",
        "-nostdinc", "-isystem", toolchain.headers(), f"-I{runtime.SOURCES}",
        f"-I{runtime.HEADER.parent}", "-c", "tables.c", "-o", "tables.o",
    ]  # fmt: skip
    toolchain.run("compiling the tables", arguments, folder)


def _objects(plan: Plan, folder: Path) -> list[str]:
    """The names of the model's own objects in ``folder``."""
    objects = ["tables.o"]
    for i, kernel in enumerate(plan.code):
        objects.append(f"kernel-{i}.o")
        (folder / objects[-1]).write_bytes(kernel.object)
    return objects
