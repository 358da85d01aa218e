"""Bounded access to the tables of a flatbuffer.

The generated classes follow whatever offsets the bytes hold. Here every vector's length is
charged to a budget that a sound file cannot exhaust, so that a hostile one, whose vectors
overlap, cannot make the reader work for longer than its size warrants.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import tflite


class Damaged(Exception):
    """The bytes are no sound flatbuffer of the schema; says why."""


#: what the flatbuffers package raises on offsets that lead nowhere
UNSOUND = (Damaged, ArithmeticError, LookupError, TypeError, ValueError, struct.error)


class Tables:
    """One file's tables. Methods take a table and the name of its field."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        # elements may be shared by several vectors: a few times as many as fit
        self._budget = 4 * len(data) + 4096

    def _spend(self, count: int) -> int:
        self._budget -= count + 1
        if count < 0 or self._budget < 0:
            raise Damaged("its vectors hold more than the file")
        return count

    def vector(self, table: Any, field: str) -> Iterator[Any]:
        """The members of a vector of tables or strings."""
        member = getattr(table, field)
        for index in range(self._spend(getattr(table, f"{field}Length")())):
            yield member(index)

    def numbers(self, table: Any, field: str) -> np.ndarray:
        """A vector of numbers."""
        if getattr(table, f"{field}IsNone")():
            return np.empty(0, np.int32)
        self._spend(getattr(table, f"{field}Length")())
        return np.asarray(getattr(table, f"{field}AsNumpy")())

    def integers(self, table: Any, field: str) -> tuple[int, ...]:
        return tuple(map(int, self.numbers(table, field)))

    def text(self, data: bytes | None) -> str:
        """A string."""
        self._spend(len(data or b""))
        try:
            return (data or b"").decode()
        except UnicodeDecodeError:
            raise Damaged("a name in it is not UTF-8 text") from None

    def union(self, holder: type, number: int, table: Any) -> Any:
        """The table that a union holds, by the name of its number; None if there is none."""
        if table is None or not number:
            return None
        name = names_of(holder).get(number)
        if name is None:
            raise Damaged(f"{holder.__name__} has no member {number}")
        found = getattr(tflite, name)()
        found.Init(table.Bytes, table.Pos)
        return found

    def fields(self, table: Any) -> dict[str, Any]:
        """Every field of a table of options, by its name in the schema."""
        found = {}
        for name, method, kind in _fields(type(table)):  # type: ignore[arg-type]
            value: Any
            if kind == "vector":
                value = tuple(self.numbers(table, method).tolist())
            else:
                value = getattr(table, method)()
            found[name] = self.text(value) if isinstance(value, bytes) else value
        return found


@cache
def names_of(holder: type) -> dict[int, str]:
    """Number -> name, of an enumeration of the schema."""
    return {v: k for k, v in vars(holder).items() if isinstance(v, int)}


@cache
def _fields(table: type) -> tuple[tuple[str, str, str], ...]:
    """(name in the schema, method, kind) of the fields of a generated class."""
    members = [m for m in vars(table) if m[0] != "_" and m != "Init"]
    methods = [m for m in members if not m.startswith("GetRootAs")]
    methods = [m for m in methods if not m.endswith(("BufferHasIdentifier", "AsNumpy", "IsNone"))]
    vectors = {m.removesuffix("Length") for m in methods if m.endswith("Length")}
    return tuple(
        (option_name(m), m, "vector" if m in vectors else "scalar")
        for m in methods
        if not m.endswith("Length")
    )


def option_name(method: str) -> str:
    """``stride_w`` of ``StrideW``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower()


def options_of(table: type) -> frozenset[str]:
    """The names of the fields that a class of options has."""
    return frozenset(name for name, _, _ in _fields(table))
