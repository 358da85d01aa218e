"""The seal at an artifact's end: whoever opens it can tell that it is one, and whole.

A damaged library can crash the dynamic loader. The seal holds the file's length and a
checksum of everything but the weights, so that checking a large model is as quick as a
small one. It lies where no loader minds (``Format.trailer``); kinds of files that end with their
own signature, or are no libraries, have none.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from . import formats
from .format import FormatError

_MAGIC = b"armlet1\0"
#: magic, bytes before the seal, checksum
_SEAL = struct.Struct("<8sQI")


def _checksum(data: memoryview) -> int:
    weights = formats.of_file(data).parts(data)["weights"]
    behind = zlib.crc32(data[weights.offset + weights.size :])
    return zlib.crc32(data[: weights.offset], behind)


def seal(path: Path) -> None:
    data = path.read_bytes()
    trailer = formats.of_file(data).trailer
    if trailer is None:
        return
    before = trailer(_SEAL.size)
    data += before
    with path.open("ab") as file:
        file.write(before + _SEAL.pack(_MAGIC, len(data), _checksum(memoryview(data))))


def check_seal(data: memoryview) -> None:
    """``FormatError`` unless ``data`` is an artifact as it was written."""
    length = len(data) - _SEAL.size
    found = _SEAL.unpack(data[length:]) if length > 0 else (b"", 0, 0)
    if found[0] != _MAGIC:
        raise FormatError("it was not made by armlet, or was cut or stripped since")
    body = data[:length]
    if found[1] != length or found[2] != _checksum(body):
        raise FormatError("it is damaged: its checksum is wrong")
