"""The register tile of convolutions and matrix products as a loop's body.

A tile is ``rows`` scalars (pixels, or rows of a matrix) by ``columns`` vectors. An iteration
does some *taps*; a tap multiplies ``depth`` adjacent numbers of each row by ``depth`` vectors
of each column. Rows come as 64-bit halves, from which multiply-adds take lanes; the vectors of
a column lie one after the other. The last iteration does not move the pointers: what it loads
for an iteration that does not come, it has read before, so nothing is read beyond the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from armlet.targets import Target

from .pipeline import pipeline
from .schedule import Body, Control, DoesNotFitError, Load, Plan, Step, encodable, schedule

#: bytes of a cache line
_LINE = 64
#: integer registers that a vector's upper half passes through
TEMPORARIES = 4


@dataclass(frozen=True)
class Tap:
    """``offset``: bytes from where row 0 starts; ``rows``: those that the tap has."""

    offset: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Shape:
    """What decides the code of a tile."""

    columns: int
    #: bytes from row 0 to each row
    rows: tuple[int, ...]
    taps: tuple[Tap, ...]
    #: numbers of a tap in a row: 1 to 4
    depth: int
    #: whether iterations are counted in two loops, with steps of their own
    nested: bool = False
    #: bytes that the epilogue writes for each column, if they are asked for in the loop
    written: int = 0

    @property
    def accumulators(self) -> int:
        return len(self.rows) * self.columns

    @cached_property
    def bases(self) -> tuple[int, ...]:
        """Offsets of the pointers into the rows: each load is in reach of one of them."""
        found: list[int] = []
        for offset, size in sorted(self._row_loads()):
            if not found or not encodable(offset - found[-1], size):
                found.append(offset)
        return tuple(found)

    def base_of(self, offset: int, size: int) -> int:
        return max(
            i for i, b in enumerate(self.bases) if b <= offset and encodable(offset - b, size)
        )

    @cached_property
    def lines(self) -> tuple[int, ...]:
        """Offsets from the one pointer into the rows, one in each cache line; else none.

        Rows that lie apart have streams of their own, which the core's prefetcher follows.
        """
        if len(self.bases) > 1:
            return ()
        ends = [offset + size - self.bases[0] for offset, size in self._row_loads()]
        return _lines(max(ends))

    def halves(self) -> Iterator[tuple[int, int]]:
        """(lane, bytes) of the loads of a row's part in a tap."""
        for lane in range(0, self.depth, 2):
            yield lane, 8 if lane + 1 < self.depth else 4

    def _row_loads(self) -> Iterator[tuple[int, int]]:
        for tap in self.taps:
            for row in tap.rows:
                for lane, size in self.halves():
                    yield tap.offset + self.rows[row] + 4 * lane, size


def _lines(size: int) -> tuple[int, ...]:
    """A number's offset in each cache line of ``size`` bytes."""
    return tuple(min(end, size) - 4 for end in range(_LINE, size + _LINE, _LINE))


@dataclass(frozen=True)
class Names:
    """What the assembly calls its registers."""

    bases: Sequence[str]
    columns: Sequence[str]
    written: Sequence[str]
    temporaries: Sequence[str]
    count: str
    row_step: str
    column_step: str
    #: where the rows of the next iteration start
    following: str
    #: of nested loops: the inner count, and the steps and count after it
    inner: str = ""
    inner_count: str = ""
    row_wrap: str = ""
    column_wrap: str = ""
    row_move: str = ""
    column_move: str = ""


def body(shape: Shape, names: Names, registers: int) -> Body:
    """The loop's body; accumulators are the first vector registers, row by row."""
    return Body(
        list(_spine(shape)),
        list(_loads(shape, names)),
        list(_control(shape, names)),
        [str(r) for r in range(shape.accumulators, registers)],
        names.temporaries,
    )


def _spine(shape: Shape) -> Iterator[Step]:
    """By number of the tap, then row, then column: an accumulator's turn comes late."""
    for t, tap in enumerate(shape.taps):
        for i in range(shape.depth):
            for row in tap.rows:
                scalar = f"a{t}_{row}_{i // 2}"
                for column in range(shape.columns):
                    vector, acc = f"w{t}_{i}_{column}", row * shape.columns + column
                    text = f"fmla v{acc}.4s, v{{{vector}}}.4s, v{{{scalar}}}.s[{i % 2}]"
                    yield Step("multiply_add", text, (vector, scalar), str(acc))


def _loads(shape: Shape, names: Names) -> Iterator[Load]:
    for t, tap in enumerate(shape.taps):
        if not tap.rows:
            continue
        for row in tap.rows:
            for lane, size in shape.halves():
                offset = tap.offset + shape.rows[row] + 4 * lane
                base = shape.base_of(offset, size)
                within = offset - shape.bases[base]
                yield Load(f"a{t}_{row}_{lane // 2}", names.bases[base], within, size)
        for i in range(shape.depth):
            for column in range(shape.columns):
                offset = 16 * (t * shape.depth + i)
                yield Load(f"w{t}_{i}_{column}", names.columns[column], offset, 16)


def _control(shape: Shape, names: Names) -> Iterator[Control]:
    n = names
    row, column = n.row_step, n.column_step
    if n.inner:
        yield Control("alu", f"subs {n.inner}, {n.inner}, #1")
        yield Control("alu", f"csel {n.row_move}, {row}, {n.row_wrap}, ne")
        yield Control("alu", f"csel {n.column_move}, {column}, {n.column_wrap}, ne")
        yield Control("alu", f"csel {n.inner}, {n.inner}, {n.inner_count}, ne")
        row, column = n.row_move, n.column_move
    yield Control("alu", f"subs {n.count}, {n.count}, #1")
    yield Control("alu", f"csel {row}, {row}, xzr, gt")
    yield Control("alu", f"csel {column}, {column}, xzr, gt")
    if shape.lines:
        # a plane of the input is too far from the last one for the core to foresee it
        yield Control("alu", f"add {n.following}, {n.bases[0]}, {row}")
        for offset in shape.lines:
            yield Control("load_integer", f"ldr wzr, [{n.following}, #{offset}]")
        yield Control("alu", f"mov {n.bases[0]}, {n.following}", moves=n.bases[0])
    else:
        for pointer in n.bases:
            yield Control("alu", f"add {pointer}, {pointer}, {row}", moves=pointer)
    for offset in _lines(shape.written):
        for pointer in n.written:
            # few stores may wait for memory, and while they do, nothing else issues
            yield Control("load_integer", f"ldr wzr, [{pointer}, #{offset}]")
    for pointer in n.columns:
        yield Control("alu", f"add {pointer}, {pointer}, {column}", moves=pointer)
    yield Control("branch", "b.gt 1b")


#: any names do to learn how long an iteration takes
def _placeholders(shape: Shape) -> Names:
    nested = dict.fromkeys(
        ("inner", "inner_count", "row_wrap", "column_wrap", "row_move", "column_move"), "x0"
    )
    return Names(
        [f"a{i}" for i in range(len(shape.bases))],
        [f"w{i}" for i in range(shape.columns)],
        [f"o{i}" for i in range(shape.columns if shape.written else 0)],
        [f"t{i}" for i in range(TEMPORARIES)], "n", "x1", "x2", "x3",
        **(nested if shape.nested else {}),
    )  # fmt: skip


@lru_cache(maxsize=1024)
def interval(shape: Shape, target: Target) -> int | None:
    """Cycles of an iteration; None if there are too few registers."""
    if not shape.accumulators < target.vector_registers:
        return None
    try:
        return plan(shape, _placeholders(shape), target).interval
    except DoesNotFitError:
        return None


def step_cycles(rows: int, columns: int, target: Target) -> float:
    """Cycles of one step of a reduction over a row's adjacent numbers."""
    shape = Shape(columns, tuple(16 * r for r in range(rows)), (Tap(0, tuple(range(rows))),), 4)
    return (interval(shape, target) or 16 * shape.accumulators) / shape.depth


def speaks(target: Target) -> bool:
    """Whether tiles, which are written in A64 and of float32, are for the target."""
    return target.in_order and target.architecture == "arm64" and target.element_bytes == 4


def fits(shape: Shape, target: Target) -> bool:
    return speaks(target) and interval(shape, target) is not None


def plan(shape: Shape, names: Names, target: Target) -> Plan:
    return schedule(body(shape, names, target.vector_registers), pipeline(target))
