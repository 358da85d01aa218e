"""What every artifact promises, read off the finished file."""

from __future__ import annotations

from pathlib import Path

from armlet.errors import InternalError

from . import libc, runtime
from .elf import Elf


def check_artifact(path: Path, triple: str) -> None:
    """``InternalError`` that lists every broken promise."""
    elf = Elf(path.read_bytes())
    problems = []
    surplus = set(elf.exports) ^ set(runtime.exports())
    if surplus:
        problems.append(f"exports are not those of armlet.h: {', '.join(sorted(surplus))}")
    foreign = set(elf.needed) - set(libc.libraries(triple))
    if foreign:
        problems.append(f"it needs more than the C library: {', '.join(sorted(foreign))}")
    if elf.has_text_relocations:
        problems.append("it has text relocations")
    if elf.has_executable_stack:
        problems.append("it asks for an executable stack")
    if not elf.has_relro:
        problems.append("its tables stay writable (no RELRO)")
    if any(s.writable and s.executable for s in elf.loads):
        problems.append("a segment is writable and executable")
    if problems:
        raise InternalError("; ".join(problems), where="the linked artifact")
