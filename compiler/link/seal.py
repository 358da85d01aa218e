"""The seal at an artifact's end: whoever opens it can tell that it is one, and whole.

A damaged library can crash the dynamic loader. The seal holds the file's length and a
checksum of everything but the weights, so that checking a large model is as quick as a
small one. The loader ignores what lies behind an ELF file.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from .elf import Elf, ElfError

#: section of the weights, apart from code and tables
CONSTANT_SECTION = ".armlet_constants"

_MAGIC = b"armlet1\0"
#: magic, bytes before the seal, checksum
_SEAL = struct.Struct("<8sQI")


def _checksum(data: memoryview) -> int:
    weights = Elf(data).section(CONSTANT_SECTION)
    if weights is None:
        raise ElfError("it was not made by armlet")
    behind = zlib.crc32(data[weights.offset + weights.size :])
    return zlib.crc32(data[: weights.offset], behind)


def seal(path: Path) -> None:
    data = path.read_bytes()
    with path.open("ab") as file:
        file.write(_SEAL.pack(_MAGIC, len(data), _checksum(memoryview(data))))


def check_seal(data: memoryview) -> None:
    """``ElfError`` unless ``data`` is an artifact as it was written."""
    length = len(data) - _SEAL.size
    found = _SEAL.unpack(data[length:]) if length > 0 else (b"", 0, 0)
    if found[0] != _MAGIC:
        raise ElfError("it was not made by armlet, or was cut or stripped since")
    body = data[:length]
    if found[1] != length or found[2] != _checksum(body):
        raise ElfError("it is damaged: its checksum is wrong")
