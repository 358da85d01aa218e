"""What every artifact promises, read off the finished file."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from armlet.errors import InternalError

from . import bionic, libc, runtime
from .elf import Elf


class CheckTarget(Protocol):
    """What decides the promises."""

    @property
    def zig_triple(self) -> str: ...

    @property
    def page_bytes(self) -> int: ...


def check_artifact(path: Path, target: CheckTarget) -> None:
    """``InternalError`` that lists every broken promise."""
    elf = Elf(path.read_bytes())
    problems = [*_names(elf, target.zig_triple), *_memory(elf, target.page_bytes)]
    if bionic.is_android(target.zig_triple):
        problems += _android(elf)
    if problems:
        raise InternalError("; ".join(problems), where="the linked artifact")


def _names(elf: Elf, triple: str) -> list[str]:
    problems = []
    allowed = libc.libraries(triple)
    surplus = set(elf.exports) ^ set(runtime.exports())
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
