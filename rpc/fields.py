"""The fields of messages: little-endian numbers, and bytes with their length before them."""

from __future__ import annotations

import struct

from armlet.errors import DeviceProtocolError

HASH_BYTES = 32


def pack(format: str, *numbers: float) -> bytes:
    """Numbers without gaps, by the letters of ``struct``."""
    return struct.pack(f"<{format}", *numbers)


def block(data: bytes | memoryview | str) -> bytes:
    """A ``bytes`` or ``str``."""
    raw = data.encode() if isinstance(data, str) else data
    return b"".join((pack("I", len(raw)), raw))


class Reader:
    """Reads what was packed; ``DeviceProtocolError`` if there is less of it."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data, self._at = memoryview(data), 0

    def raw(self, size: int) -> memoryview:
        found = self._data[self._at : self._at + size]
        if len(found) < size:
            raise DeviceProtocolError("the device's answer ends too early")
        self._at += size
        return found

    def numbers(self, format: str) -> tuple:
        return struct.unpack(f"<{format}", self.raw(struct.calcsize(f"<{format}")))

    def u32(self) -> int:
        return self.numbers("I")[0]

    def u64(self) -> int:
        return self.numbers("Q")[0]

    def f64(self) -> float:
        return self.numbers("d")[0]

    def block(self) -> memoryview:
        return self.raw(self.u32())

    def text(self) -> str:
        return str(self.block(), errors="replace")

    def rest(self) -> memoryview:
        return self.raw(len(self._data) - self._at)
