"""From a plan to an artifact: tables, weights, kernels and runtime in one shared library.

Everything is made in a temporary folder; the output appears whole, by a rename, or not at
all. The same plan gives the same bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from armlet.compiler.plan.plan import Plan
from armlet.errors import OutputError, UnsupportedModelError

from . import runtime, tables, toolchain
from .check import check_artifact
from .publish import publish
from .seal import seal
from .selftest import SelfTest

#: code reaches its tables over the weights by 32-bit offsets
MOST_CONSTANT_BYTES = 1900 << 20

_OPTIONS = (
    "-shared", "--version-script=exports.map", "--gc-sections", "--as-needed", "--build-id=sha1",
    "--hash-style=both", "--strip-all", "-Bsymbolic", "-z", "defs", "-z", "now", "-z", "relro",
    "-z", "noexecstack", "-z", "text",
)  # fmt: skip


class LinkTarget(Protocol):
    """What linking needs to know of a target."""

    @property
    def zig_triple(self) -> str: ...

    @property
    def features(self) -> tuple[str, ...]: ...

    @property
    def page_bytes(self) -> int: ...


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
    made = runtime.runtime(target.zig_triple)
    try:
        with tempfile.TemporaryDirectory(prefix="armlet-link-") as name:
            folder = Path(name)
            _compile_tables(plan, target, manifest, selftest, folder)
            names = [f"-soname={soname}"] if soname else []
            sizes = [f"{which}-page-size={target.page_bytes}" for which in ("max", "common")]
            pages = ["-z", sizes[0], "-z", sizes[1]]
            artifact = _link(plan, made, [*_OPTIONS, *pages, *names], folder)
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
    text = tables.source(plan, target.features, manifest, selftest, constants)
    (folder / "tables.c").write_text(text)
    arguments = [
        "clang", f"--target={toolchain.llvm_triple(target.zig_triple)}", "-std=gnu11", "-O1",
        "-fPIC", "-ffreestanding", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables",
        "-nostdinc", "-isystem", toolchain.headers(), f"-I{runtime.SOURCES}",
        "-c", "tables.c", "-o", "tables.o",
    ]  # fmt: skip
    toolchain.run("compiling the tables", arguments, folder)


def _link(plan: Plan, made: runtime.Runtime, options: Sequence[str], folder: Path) -> Path:
    objects = ["tables.o"]
    for i, kernel in enumerate(plan.kernels):
        objects.append(f"kernel-{i}.o")
        (folder / objects[-1]).write_bytes(kernel.object)
    exported = "".join(f" {name};" for name in runtime.exports())
    (folder / "exports.map").write_text(f"{{ global:{exported} local: *; }};\n")
    inputs = [*map(str, made.objects), *objects, *map(str, made.stubs), *map(str, made.helpers)]
    (folder / "inputs").write_text("".join(f'"{name}"\n' for name in inputs))
    artifact = folder / "model.so"
    toolchain.run("linking", ["ld.lld", *options, "-o", artifact, "@inputs"], folder)
    return artifact
