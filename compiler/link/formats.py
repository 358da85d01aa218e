"""Every kind of binary file that is written or read here."""

from __future__ import annotations

from . import elf_format, macho_format, wasm
from .format import Format, FormatError

_BY_SYSTEM = {
    "freestanding": wasm.FORMAT, "macos": macho_format.DYLIB, "ios": macho_format.ARCHIVE,
}  # fmt: skip
_ALL = (elf_format.FORMAT, *_BY_SYSTEM.values())


def of_triple(triple: str) -> Format:
    """The kind that a system's loader takes."""
    return _BY_SYSTEM.get(triple.split("-")[1].partition(".")[0], elf_format.FORMAT)


def is_known(data: bytes) -> bool:
    """Whether a file that begins so is of one of these kinds."""
    return any(data.startswith(kind.magic) for kind in _ALL)


def of_file(data: bytes | memoryview) -> Format:
    """The kind that a file is; ``FormatError`` if it is none of these."""
    for kind in _ALL:
        if bytes(data[: len(kind.magic)]) == kind.magic:
            return kind
    raise FormatError("it is no binary file of a known kind")
