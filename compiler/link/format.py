"""What linking and looking need to know of a kind of binary file.

A new kind is a module with such a value and its place in ``formats.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

#: section or segment of the weights, apart from code and tables
CONSTANT_SECTION = ".armlet_constants"


class LinkTarget(Protocol):
    """What linking needs to know of a target."""

    @property
    def zig_triple(self) -> str: ...

    @property
    def features(self) -> tuple[str, ...]: ...

    @property
    def page_bytes(self) -> int: ...


class FormatError(ValueError):
    """The bytes are no file of a kind that can be read here."""


@dataclass(frozen=True)
class Extent:
    """Bytes of a file."""

    offset: int
    size: int


@dataclass(frozen=True)
class Format:
    #: how a file begins
    magic: bytes
    #: clang's options for code of this kind
    flags: tuple[str, ...]
    #: zig triple -> the command that compiles the runtime, without files
    compiler: Callable[[str], list[object]]
    #: folder of ``runtime/`` whose files take the places of their namesakes in ``runtime/src``
    instead: str
    #: assembly that begins the section of the weights, and hides ``armlet_constants`` from others
    section: tuple[str, ...]
    #: (objects and libraries, the functions to export, target, the name by which it knows itself
    #: or "", folder) -> the finished file
    link: Callable[[Sequence[object], Sequence[str], LinkTarget, str, Path], Path]
    #: (file, target, the functions of armlet.h) -> promises that it breaks
    problems: Callable[[bytes, LinkTarget, Sequence[str]], list[str]]
    #: what of an artifact is code, tables and weights; FormatError if it is damaged
    parts: Callable[[memoryview], dict[str, Extent]]
    #: what a relocatable object adds to the memory of a program
    code_bytes: Callable[[bytes], int]
    #: the instructions in such an object, which names and addresses are not part of
    instructions: Callable[[bytes], bytes]
    #: what must precede ``size`` bytes behind the end, so that the file stays one of its kind;
    #: None where nothing may follow
    trailer: Callable[[int], bytes] | None
