"""Calls of scheduled tiles from the loops of templates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from armlet.compiler.ops.lazy import tirx
from armlet.targets import Target

from ...emit import Array, Code
from .assembly import function
from .tile import Shape


@dataclass(frozen=True)
class Steps:
    """How often the tile's body runs, and by how many bytes rows and columns move on."""

    count: Any
    row: Any
    column: Any


@dataclass(frozen=True)
class Nested:
    """Every ``count`` runs the pointers move by these bytes instead."""

    count: Any
    row: Any
    column: Any


@dataclass(frozen=True)
class Operand:
    """The element of a buffer at which something starts."""

    array: Array
    place: Any

    @property
    def address(self) -> Any:
        return tirx.address_of(tirx.BufferLoad(self.array.buffer, [self.place]))


def multiply(
    code: Code,
    target: Target,
    shape: Shape,
    acc: Array,
    rows: Operand,
    columns: Operand,
    between: int,
    steps: Steps,
    nested: Nested | None = None,
    start: Operand | None = None,
) -> None:
    """acc[row, column, lane] = start[column, lane] + the sum of rows x columns.

    ``between``: bytes between the columns' vectors. ``start``: zeros if there is none.
    """
    biased = start is not None
    name = code.assembly(f"tile{'_biased' * biased}", _Text(shape, target, biased))
    values = [steps.count, steps.row, steps.column]
    if nested is not None:
        values += [nested.count, nested.count, nested.row, nested.column]
    begin = Operand(acc, 0) if start is None else start
    pointers = [o.address for o in (Operand(acc, 0), begin, rows, columns)]
    integers = [tirx.const(between, "int64"), *map(_int64, values)]
    code.emit(tirx.Evaluate(tirx.call_extern("void", name, *pointers, *integers)))


def _int64(value: Any) -> Any:
    return tirx.const(value, "int64") if isinstance(value, int) else value.astype("int64")


@dataclass(frozen=True)
class _Text:
    shape: Shape
    target: Target
    biased: bool

    def __call__(self, name: str) -> str:
        return function(name, self.shape, self.target, self.biased)
