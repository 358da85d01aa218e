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
    """The element at which something starts; ``between``: bytes from column to column."""

    array: Array
    place: Any
    between: int = 0

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
    steps: Steps,
    nested: Nested | None = None,
    start: Operand | None = None,
    written: Operand | None = None,
) -> None:
    """acc[row, column, lane] = start[column, lane] + the sum of rows x columns.

    ``start``: zeros if there is none. ``written``: where the epilogue will store row 0, if
    ``shape.written`` says how much.
    """
    biased = start is not None
    name = code.assembly(f"tile{'_biased' * biased}", _Text(shape, target, biased))
    values = [columns.between, steps.count, steps.row, steps.column]
    if nested is not None:
        values += [nested.count, nested.count, nested.row, nested.column]
    accumulators = Operand(acc, 0)
    # the address of the accumulators must not reach the assembly: they would stay in memory
    pointers = [o.address for o in (accumulators, start or rows, rows, columns)]
    out = written or rows
    values = [*map(int64, values), out.address, int64(out.between)]
    code.emit(tirx.Evaluate(tirx.call_extern("void", name, *pointers, *values)))


def int64(value: Any) -> Any:
    return tirx.const(value, "int64") if isinstance(value, int) else value.astype("int64")


@dataclass(frozen=True)
class _Text:
    shape: Shape
    target: Target
    biased: bool

    def __call__(self, name: str) -> str:
        return function(name, self.shape, self.target, self.biased)
