"""A small reader of Mach-O files for 64-bit Arm: what the checks ask about.

Layouts are those of Apple's ``mach-o/loader.h`` and ``mach-o/nlist.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from .format import Extent, FormatError

MAGIC = b"\xcf\xfa\xed\xfe"
ARM64 = 0x100000C
#: kinds of files
OBJECT, DYLIB = 1, 6
#: what files are for, as LC_BUILD_VERSION says
MACOS, IOS = 1, 2

_SYMTAB, _LOAD_DYLIB, _ID_DYLIB, _SEGMENT, _SIGNATURE = 0x2, 0xC, 0xD, 0x19, 0x1D
_DATA_IN_CODE, _BUILD = 0x29, 0x32
#: bits of a symbol's type: seen by other files, hidden when linked, in a section
_EXTERNAL, _PRIVATE, _DEFINED = 0x01, 0x10, 0x0E
_WEAK = 0x80
_WRITE, _EXECUTE = 2, 4
#: sections without bytes in the file: zeros at load
_ZEROS = {0x1, 0xC, 0x12}


@dataclass(frozen=True)
class Section:
    name: str
    segment: str
    extent: Extent
    zeros: bool
    #: holds nothing but instructions
    code: bool


@dataclass(frozen=True)
class Segment:
    name: str
    address: int
    protection: int
    sections: tuple[Section, ...]

    @property
    def writable_code(self) -> bool:
        return self.protection & _WRITE != 0 and self.protection & _EXECUTE != 0


def _read(layout: str, data: memoryview, offset: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from("<" + layout, data, offset)
    except struct.error:
        raise FormatError("the file is truncated") from None


def _text(data: memoryview, offset: int, most: int = 4096) -> str:
    return bytes(data[offset : offset + most]).partition(b"\0")[0].decode(errors="replace")


class MachO:
    """``data`` is the whole file; ``kind`` is what it must be."""

    def __init__(self, data: bytes | memoryview, kind: int = DYLIB) -> None:
        self.data = memoryview(data)
        if bytes(self.data[:4]) != MAGIC:
            raise FormatError("it does not begin like a Mach-O file of 64 bits")
        self.machine, _, found, self._count, self._size = _read("iiIII", self.data, 4)
        if found != kind:
            raise FormatError("it is Mach-O, but no dynamic library")

    @cached_property
    def _commands(self) -> tuple[tuple[int, int], ...]:
        """Each load command's number and place."""
        found, at, end = [], 32, 32 + self._size
        for _ in range(self._count):
            number, size = _read("II", self.data, at)
            if size < 8 or at + size > end:
                raise FormatError("the file is damaged")
            found.append((number & 0xFFFF, at))
            at += size
        return tuple(found)

    def _places(self, number: int) -> list[int]:
        return [at for found, at in self._commands if found == number]

    def _strings(self, number: int) -> tuple[str, ...]:
        """The names in load commands, which give them as an offset from their own begin."""
        return tuple(_text(self.data, at + _read("I", self.data, at + 8)[0])
                     for at in self._places(number))  # fmt: skip

    @property
    def needed(self) -> tuple[str, ...]:
        """Libraries that the loader must find."""
        return self._strings(_LOAD_DYLIB)

    @property
    def install_name(self) -> str:
        """The name by which programs that were linked with the library look for it, or ""."""
        return "".join(self._strings(_ID_DYLIB))

    @property
    def build(self) -> tuple[int, tuple[int, int]]:
        """What system it is for, and the oldest version of that."""
        for at in self._places(_BUILD):
            platform, oldest = _read("II", self.data, at + 8)
            return platform, (oldest >> 16, oldest >> 8 & 255)
        return 0, (0, 0)

    @property
    def signed(self) -> bool:
        """Whether it has a signature, without which Apple's Arm machines load nothing."""
        return bool(self._places(_SIGNATURE))

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        found = []
        for at in self._places(_SEGMENT):
            address, *_ = _read("QQQQ", self.data, at + 24)
            _, protection, count, _ = _read("iiII", self.data, at + 56)
            sections = tuple(self._sections(at + 72, count))
            found.append(Segment(_text(self.data, at + 8, 16), address, protection, sections))
        return tuple(found)

    def _sections(self, at: int, count: int) -> Iterator[Section]:
        for row in range(at, at + 80 * count, 80):
            _, size = _read("QQ", self.data, row + 32)
            offset, _, _, _, flags = _read("IIIII", self.data, row + 48)
            yield Section(
                _text(self.data, row, 16), _text(self.data, row + 16, 16), Extent(offset, size),
                flags & 0xFF in _ZEROS, bool(flags & 0x80000000),
            )  # fmt: skip

    @property
    def sections(self) -> Iterator[Section]:
        return (section for segment in self.segments for section in segment.sections)

    def _symbols(self) -> Iterator[tuple[int, int, int]]:
        """Place, type and place of the name of each symbol."""
        for at in self._places(_SYMTAB):
            symbols, count, strings, _ = _read("IIII", self.data, at + 8)
            for row in range(symbols, symbols + 16 * count, 16):
                name, kind = _read("IB", self.data, row)
                yield row, kind, strings + name

    def _seen(self, defined: bool) -> tuple[str, ...]:
        """C's names of symbols that other files see, or that are theirs."""
        found = {
            _text(self.data, name).removeprefix("_")
            for _, kind, name in self._symbols()
            if kind & _EXTERNAL and not kind & _PRIVATE and bool(kind & _DEFINED) is defined
        }
        return tuple(sorted(found))

    def hidden(self) -> bytes:
        """The object with its symbols private to what it is linked into; weak ones, which the
        others define too, to itself."""
        data = bytearray(self.data)
        for row, kind, _ in self._symbols():
            if kind & _EXTERNAL and kind & _DEFINED:
                weak = _read("H", self.data, row + 6)[0] & _WEAK
                data[row + 4] = kind & ~_EXTERNAL if weak else kind | _PRIVATE
        return bytes(data)

    def compacted(self) -> bytes:
        """The object without the gaps that its linker leaves, which may be larger than the rest.

        Addresses stay; what moves is where the parts lie in the file.
        """
        data = bytearray(self.data[: 32 + self._size])

        def move(field: int, size: int, alignment: int = 8) -> None:
            """Appends what lies where the 32 bits at ``field`` say, and lets them say where."""
            (old,) = _read("I", self.data, field)
            data.extend(bytes(-len(data) % alignment))
            struct.pack_into("<I", data, field, len(data) if old else 0)
            data.extend(self.data[old : old + size])

        for at in self._places(_SEGMENT):
            (count,) = _read("I", self.data, at + 64)
            for row in range(at + 72, at + 72 + 80 * count, 80):
                size, _, alignment = _read("QII", self.data, row + 40)
                move(row + 48, size, 1 << alignment)
            begin = 32 + self._size
            struct.pack_into("<QQ", data, at + 40, begin, len(data) - begin)
            for row in range(at + 72, at + 72 + 80 * count, 80):
                move(row + 56, 8 * _read("I", self.data, row + 60)[0])
        for at in self._places(_DATA_IN_CODE):
            move(at + 8, _read("I", self.data, at + 12)[0])
        for at in self._places(_SYMTAB):
            _, count, _, size = _read("IIII", self.data, at + 8)
            move(at + 8, 16 * count)
            move(at + 16, size)
        return bytes(data)

    @property
    def exports(self) -> tuple[str, ...]:
        """Names that others may use."""
        return self._seen(defined=True)

    @property
    def imports(self) -> tuple[str, ...]:
        """Names that must be found elsewhere."""
        return self._seen(defined=False)
