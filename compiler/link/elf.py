"""A small reader of little-endian ELF shared libraries: what the checks ask about."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

from .format import FormatError

MACHINES = {"x86_64": 62, "armv7l": 40, "aarch64": 183, "riscv64": 243}

#: kinds of files
RELOCATABLE, SHARED = 1, 3
_PT_LOAD, _PT_GNU_STACK, _PT_GNU_RELRO = 1, 0x6474E551, 0x6474E552
_DT_NEEDED, _DT_HASH, _DT_SONAME, _DT_TEXTREL, _DT_FLAGS = 1, 4, 14, 22, 30
_DF_TEXTREL = 4


@dataclass(frozen=True)
class Section:
    name: str
    offset: int
    size: int
    link: int
    flags: int = 0


@dataclass(frozen=True)
class Segment:
    type: int
    flags: int
    offset: int
    file_size: int
    align: int

    @property
    def writable(self) -> bool:
        return bool(self.flags & 2)

    @property
    def executable(self) -> bool:
        return bool(self.flags & 1)


def _read(layout: str, data: bytes | memoryview, offset: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from("<" + layout, data, offset)
    except struct.error:
        raise FormatError("the file is truncated") from None


@dataclass(frozen=True)
class _Layout:
    """How a class of ELF lays out what is read here; ``struct`` letters and, of each row, the
    places of the fields asked for (System V ABI, chapters 4 and 5)."""

    header: str
    segment: str
    #: type, flags, offset, file size, alignment
    segment_at: tuple[int, ...]
    section: str
    dynamic: str
    symbol: str
    #: name, section
    symbol_at: tuple[int, int]


_LAYOUTS = {
    1: _Layout("HHIIIIIHHHHHH", "8I", (0, 6, 1, 4, 7), "10I", "iI", "IIIBBH", (0, 5)),
    2: _Layout("HHIQQQIHHHHHH", "IIQQQQQQ", (0, 1, 2, 5, 7), "IIQQQQIIQQ", "qQ", "IBBHQQ", (0, 3)),
}


class Elf:
    """``data`` is the whole file; ``kind`` is what it must be."""

    def __init__(self, data: bytes | memoryview, kind: int = SHARED) -> None:
        self.data = data
        if bytes(data[:4]) != b"\x7fELF":
            raise FormatError("it does not begin like an ELF file")
        bits, order = _read("BB", data, 4)
        if bits not in _LAYOUTS or order != 1:
            raise FormatError("it is not little-endian")
        self._layout = _LAYOUTS[bits]
        header = _read(self._layout.header, data, 16)
        found, self.machine = header[:2]
        if found != kind:
            raise FormatError("it is not a shared library")
        self._programs, self._sections = header[4], header[5]
        self._program_count, self._section_count, self._names = header[9], header[11], header[12]

    def _rows(self, layout: str, offset: int, count: int) -> list[tuple[int, ...]]:
        size = struct.calcsize("<" + layout)
        return [_read(layout, self.data, offset + size * i) for i in range(count)]

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        rows = self._rows(self._layout.segment, self._programs, self._program_count)
        return tuple(Segment(*(r[i] for i in self._layout.segment_at)) for r in rows)

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        rows = self._rows(self._layout.section, self._sections, self._section_count)
        if self._names >= len(rows):
            raise FormatError("the file is damaged")
        names = rows[self._names][4]
        return tuple(Section(self._string(names + r[0]), r[4], r[5], r[6], r[2]) for r in rows)

    def section(self, name: str) -> Section | None:
        return next((s for s in self.sections if s.name == name), None)

    def _string(self, offset: int) -> str:
        text = bytes(self.data[offset : offset + 4096])
        return text.partition(b"\0")[0].decode(errors="replace")

    @cached_property
    def dynamic(self) -> tuple[tuple[int, int], ...]:
        section = self.section(".dynamic")
        if section is None:
            raise FormatError("it has no dynamic section")
        count = section.size // struct.calcsize("<" + self._layout.dynamic)
        return tuple(self._rows(self._layout.dynamic, section.offset, count))  # type: ignore[arg-type]

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """Libraries that the loader must find."""
        return self._dynamic_strings(_DT_NEEDED)

    @property
    def soname(self) -> str:
        """The name by which programs that were linked with the library look for it, or ""."""
        return "".join(self._dynamic_strings(_DT_SONAME))

    def _dynamic_strings(self, tag: int) -> tuple[str, ...]:
        strings = self.section(".dynstr")
        assert strings is not None
        return tuple(self._string(strings.offset + v) for t, v in self.dynamic if t == tag)

    @cached_property
    def _symbols(self) -> tuple[tuple[str, bool], ...]:
        """(name, whether it is defined here) of dynamic symbols."""
        symbols = self.section(".dynsym")
        assert symbols is not None
        strings = self.sections[symbols.link]
        name, section = self._layout.symbol_at
        count = symbols.size // struct.calcsize("<" + self._layout.symbol)
        rows = self._rows(self._layout.symbol, symbols.offset, count)[1:]
        return tuple((self._string(strings.offset + r[name]), r[section] != 0) for r in rows)

    @property
    def exports(self) -> tuple[str, ...]:
        """Names that others may use: defined and dynamic."""
        return tuple(sorted(name for name, defined in self._symbols if defined))

    @property
    def imports(self) -> tuple[str, ...]:
        """Names that the loader must find elsewhere."""
        return tuple(sorted(name for name, defined in self._symbols if not defined))

    @property
    def has_sysv_hash(self) -> bool:
        """Whether loaders find names in it that do not know the newer table, of GNU."""
        return any(tag == _DT_HASH for tag, _ in self.dynamic)

    @property
    def has_text_relocations(self) -> bool:
        flags = dict(self.dynamic).get(_DT_FLAGS, 0)
        return bool(flags & _DF_TEXTREL) or any(tag == _DT_TEXTREL for tag, _ in self.dynamic)

    @property
    def loads(self) -> tuple[Segment, ...]:
        return tuple(s for s in self.segments if s.type == _PT_LOAD)

    @property
    def has_executable_stack(self) -> bool:
        stack = [s for s in self.segments if s.type == _PT_GNU_STACK]
        return not stack or stack[0].executable

    @property
    def has_relro(self) -> bool:
        return any(s.type == _PT_GNU_RELRO for s in self.segments)
