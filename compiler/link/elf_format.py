"""Shared libraries for Linux and Android: how they are linked, and what they promise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import bionic, libc, toolchain
from .elf import RELOCATABLE, Elf
from .format import CONSTANT_SECTION, Extent, Format, FormatError, LinkTarget

_OPTIONS = (
    "-shared", "--version-script=exports.map", "--gc-sections", "--as-needed", "--build-id=sha1",
    "--hash-style=both", "--strip-all", "-Bsymbolic", "-z", "defs", "-z", "now", "-z", "relro",
    "-z", "noexecstack", "-z", "text",
)  # fmt: skip

_PARTS = {".text": "code", ".rodata": "tables", CONSTANT_SECTION: "weights"}
_SHF_ALLOC = 2


def _compiler(triple: str) -> list[object]:
    return bionic.compiler(triple) if bionic.is_android(triple) else ["cc", "-target", triple]


def _link(
    inputs: Sequence[object], names: Sequence[str], target: LinkTarget, soname: str, folder: Path
) -> Path:
    exported = "".join(f" {name};" for name in names)
    (folder / "exports.map").write_text(f"{{ global:{exported} local: *; }};\n")
    (folder / "inputs").write_text("".join(f'"{name}"\n' for name in inputs))
    artifact = folder / "model.so"
    sizes = [f"{which}-page-size={target.page_bytes}" for which in ("max", "common")]
    options = [*_OPTIONS, "-z", sizes[0], "-z", sizes[1]]
    if soname:
        options.append(f"-soname={soname}")
    toolchain.run("linking", ["ld.lld", *options, "-o", artifact, "@inputs"], folder)
    return artifact


def _problems(data: bytes, target: LinkTarget, names: Sequence[str]) -> list[str]:
    elf = Elf(data)
    problems = [*_names(elf, target.zig_triple, names), *_memory(elf, target.page_bytes)]
    if bionic.is_android(target.zig_triple):
        problems += _android(elf)
    return problems


def _names(elf: Elf, triple: str, names: Sequence[str]) -> list[str]:
    problems = []
    allowed = libc.libraries(triple)
    surplus = set(elf.exports) ^ set(names)
    if surplus:
        problems.append(f"exports are not those of armlet.h: {', '.join(sorted(surplus))}")
    foreign = set(elf.needed) - set(allowed)
    if foreign:
        problems.append(f"it needs more than the C library: {', '.join(sorted(foreign))}")
    missing = set(elf.imports).difference(*allowed.values())
    if missing:
        oldest = f"the C library of {triple} does not have"
        problems.append(f"{oldest} {', '.join(sorted(missing))}")
    return problems


def _memory(elf: Elf, page_bytes: int) -> list[str]:
    problems = []
    if elf.has_text_relocations:
        problems.append("it has text relocations")
    if elf.has_executable_stack:
        problems.append("it asks for an executable stack")
    if not elf.has_relro:
        problems.append("its tables stay writable (no RELRO)")
    if any(s.writable and s.executable for s in elf.loads):
        problems.append("a segment is writable and executable")
    if any(s.align % page_bytes for s in elf.loads):
        problems.append(f"a segment is not aligned to pages of {page_bytes >> 10} KiB")
    return problems


def _android(elf: Elf) -> list[str]:
    """What Android's loaders and stores ask for beyond that."""
    problems = []
    if not elf.soname:
        problems.append("it has no SONAME")
    if not elf.section(".note.gnu.build-id"):
        problems.append("it has no build-id, by which crash reports know it")
    if not elf.has_sysv_hash:
        problems.append("it has no table of names that Android before 6.0 reads")
    return problems


def _parts(data: memoryview) -> dict[str, Extent]:
    sections = {s.name: Extent(s.offset, s.size) for s in Elf(data).sections}
    if CONSTANT_SECTION not in sections:
        raise FormatError("it was not made by armlet")
    return {what: sections[name] for name, what in _PARTS.items() if name in sections}


def _code_bytes(object: bytes) -> int:
    return sum(s.size for s in Elf(object, RELOCATABLE).sections if s.flags & _SHF_ALLOC)


def _instructions(object: bytes) -> bytes:
    sections = [s for s in Elf(object, RELOCATABLE).sections if s.name.startswith(".text")]
    return b"".join(object[s.offset : s.offset + s.size] for s in sections)


FORMAT = Format(
    magic=b"\x7fELF",
    flags=("-fPIC",),
    compiler=_compiler,
    instead="",
    section=(f'.section {CONSTANT_SECTION},"a",%progbits', ".hidden armlet_constants"),
    link=_link,
    problems=_problems,
    parts=_parts,
    code_bytes=_code_bytes,
    instructions=_instructions,
    # the loader ignores what lies behind
    trailer=lambda size: b"",
)
