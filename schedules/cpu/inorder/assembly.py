"""A scheduled tile as a function of LLVM's language, which TVM's loops call.

    void name(float *acc, float *start, float *rows, float *columns, int64_t between,
              int64_t count, int64_t row_step, int64_t column_step
              [, int64_t inner, int64_t inner_count, int64_t row_wrap, int64_t column_wrap],
              float *written, int64_t between_written)

The body is one piece of inline assembly that leaves the accumulators in registers. LLVM
inlines the function, so a tile's epilogue works on these registers, and no symbol remains.
Steps are bytes; column v starts at ``columns`` + v x ``between``. Accumulators begin at the
vectors ``start``, one for each column, or at zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from armlet.targets import Target

from .schedule import Placed, Plan
from .tile import TEMPORARIES, Names, Shape, plan

_STEPS = ("count", "row_step", "column_step")
_NESTED = ("inner", "inner_count", "row_wrap", "column_wrap")
_MOVES = ("row_move", "column_move")


@dataclass(frozen=True)
class _Operands:
    """The integer operands of the assembly by name, in order after the accumulators."""

    accumulators: int
    given: tuple[str, ...]
    #: registers that the assembly uses for itself
    own: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.given + self.own

    def __getitem__(self, name: str) -> str:
        return f"${self.accumulators + self.names.index(name)}"

    def all(self, stem: str) -> list[str]:
        return [self[n] for n in self.names if n.rstrip("0123456789") == stem]


def _operands(shape: Shape) -> _Operands:
    given = [f"base{i}" for i in range(len(shape.bases))]
    given += [f"column{i}" for i in range(shape.columns)]
    given += [f"written{i}" for i in range(shape.columns if shape.written else 0)]
    own = [*(f"temporary{i}" for i in range(TEMPORARIES)), "following"]
    given += [*_STEPS, *(_NESTED if shape.nested else ()), "start"]
    own += _MOVES if shape.nested else ()
    return _Operands(shape.accumulators, tuple(given), tuple(own))


def _names(shape: Shape, o: _Operands) -> Names:
    nested = {n: o[n] for n in (*_NESTED, *_MOVES)} if shape.nested else {}
    steps = {n: o[n] for n in (*_STEPS, "following")}
    return Names(
        o.all("base"), o.all("column"), o.all("written"), o.all("temporary"), **steps, **nested
    )


def lines(shape: Shape, target: Target, biased: bool) -> list[str]:
    """The assembly."""
    o = _operands(shape)
    made = plan(shape, _names(shape, o), target)
    return [*_prologue(shape, made, o["start"], biased), "1:", *_texts(made.kernel())]


def _texts(placed: Sequence[Placed]) -> list[str]:
    return [p.text for p in placed]


def _prologue(shape: Shape, made: Plan, start: str, biased: bool) -> Iterator[str]:
    """First loads, and the accumulators' beginnings among them."""
    columns, held = shape.columns, range(shape.accumulators)
    if biased:
        yield from (f"ldr q{v}, [{start}, #{16 * v}]" for v in range(columns))
        fills = [f"mov v{acc}.16b, v{acc % columns}.16b" for acc in held[columns:]]
    else:
        fills = [f"movi v{acc}.2d, #0" for acc in held]
    loads = _texts(made.prologue())
    for i in range(max(len(loads), len(fills))):
        yield from loads[i : i + 1]
        yield from fills[i : i + 1]


def _typed(name: str) -> str:
    is_pointer = name.rstrip("0123456789") in ("base", "column", "written", "start")
    return f"{'ptr' if is_pointer else 'i64'} %{name}"


def _call(shape: Shape, target: Target, biased: bool) -> tuple[str, str]:
    """The type of what the assembly returns, and its call."""
    o, n = _operands(shape), shape.accumulators
    types = ["<4 x float>"] * n + [_typed(x).split()[0] for x in o.names]
    returned = f"{{ {', '.join(types)} }}"
    constraints = [
        *(f"={{v{i}}}" for i in range(n)),
        *("=&r" for _ in o.names),
        *(str(n + i) for i in range(len(o.given))),
        *(f"~{{v{i}}}" for i in range(n, target.vector_registers)),
        "~{cc}",
        "~{memory}",
    ]
    text = r"\0A".join(lines(shape, target, biased))
    arguments = ", ".join(map(_typed, o.given))
    return (
        returned,
        f'call {returned} asm sideeffect "{text}", "{",".join(constraints)}"({arguments})',
    )


@lru_cache(maxsize=256)
def function(name: str, shape: Shape, target: Target, biased: bool) -> str:
    """LLVM's text of the function."""
    parameters = ["ptr %acc", "ptr %start", "ptr %rows", "ptr %columns", "i64 %between"]
    parameters += [f"i64 %{x}" for x in (*_STEPS, *(_NESTED if shape.nested else ()))]
    parameters += ["ptr %written", "i64 %between_written"]
    returned, call = _call(shape, target, biased)
    text = [f"define void @{name}({', '.join(parameters)}) {{"]
    for i, base in enumerate(shape.bases):
        text.append(f"  %base{i} = getelementptr i8, ptr %rows, i64 {base}")
    for i in range(shape.columns):
        before = f"%column{i - 1}, i64 %between" if i else "%columns, i64 0"
        text.append(f"  %column{i} = getelementptr i8, ptr {before}")
        before = f"%written{i - 1}, i64 %between_written" if i else "%written, i64 0"
        text.append(f"  %written{i} = getelementptr i8, ptr {before}")
    text.append(f"  %r = {call}")
    for i in range(shape.accumulators):
        text += [
            f"  %v{i} = extractvalue {returned} %r, {i}",
            f"  %p{i} = getelementptr i8, ptr %acc, i64 {16 * i}",
            f"  store <4 x float> %v{i}, ptr %p{i}, align 4",
        ]
    return "\n".join([*text, "  ret void", "}", ""])
