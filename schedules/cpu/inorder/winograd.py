"""Winograd's transforms of one tile as straight-line assembly, both dimensions in registers.

    void name(float *from, int64_t down, float *to, int64_t apart)      inputs
    void name(float *acc, float *from, int64_t apart)                   products

``down``: bytes from row to row of the tile; ``apart``: bytes from place to place of the
transformed one. LLVM inlines the functions. Of inputs some columns are done at a time, as
many as leave registers free: the first and the last one, then pairs of points +-p.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from armlet.compiler.ops.lazy import tirx
from armlet.compiler.ops.toom_cook import POINTS, TAPS, transforms
from armlet.targets import Target

from ...emit import Array, Code
from .multiply import Operand, int64
from .pipeline import pipeline
from .schedule import DoesNotFitError
from .straight import Instruction, Ordered, order
from .tile import speaks

if TYPE_CHECKING:
    from ..winograd_model import Shape

#: integer registers that a vector's upper half passes through
_TEMPORARIES = 6
#: lanes of a register of constants
_LANES = 4

Terms = Sequence[tuple[Fraction, str]]


class _Sums:
    """Instructions of weighted sums; values are named as they come."""

    def __init__(self) -> None:
        self.code: list[Instruction] = []
        self.constants: list[Fraction] = []
        self._count = 0

    def name(self) -> str:
        self._count += 1
        return f"n{self._count}"

    def load(self, lower: str, upper: str) -> str:
        """A vector from the addresses of its halves."""
        half, integer, whole = self.name(), self.name(), self.name()
        self.code += [
            Instruction("load_half", f"ldr d{{{half}}}, {lower}", half),
            Instruction("load_integer", f"ldr {{{integer}}}, {upper}", integer, integer=True),
            Instruction(
                "insert", f"ins v{{{whole}}}.d[1], {{{integer}}}", whole, (half, integer), half
            ),
        ]
        return whole

    def store(self, value: str, address: str) -> None:
        self.code.append(Instruction("store", f"str q{{{value}}}, {address}", reads=(value,)))

    def sum(self, terms: Terms, last: str = "") -> str:
        """``last`` is a value of coefficient one that nothing reads later."""
        weighted = [t for t in terms if abs(t[0]) != 1]
        if last:
            found, sign = last, 1
        elif weighted:
            (factor, value), *weighted = sorted(weighted, key=lambda t: t[0] < 0)
            found, sign = self._multiply(value, abs(factor)), 1 if factor > 0 else -1
        else:
            found, sign = "", 1
        for factor, value in weighted:
            found = self._accumulate(found, value, abs(factor), factor * sign > 0)
        # a difference needs something to be taken from
        for factor, value in sorted((t for t in terms if abs(t[0]) == 1), key=lambda t: -t[0]):
            if value == last:
                continue
            if not found:
                found = value
            elif sign < 0:
                assert factor > 0
                found, sign = self._two("fsub", value, found), 1
            else:
                found = self._two("fadd" if factor > 0 else "fsub", found, value)
        assert sign > 0
        return found

    def _two(self, name: str, a: str, b: str) -> str:
        made = self.name()
        text = f"{name} v{{{made}}}.4s, v{{{a}}}.4s, v{{{b}}}.4s"
        self.code.append(Instruction("vector", text, made, (a, b)))
        return made

    def _multiply(self, value: str, factor: Fraction) -> str:
        made = self.name()
        text = f"fmul v{{{made}}}.4s, v{{{value}}}.4s, {self._constant(factor)}"
        self.code.append(Instruction("vector", text, made, (value,)))
        return made

    def _accumulate(self, found: str, value: str, factor: Fraction, added: bool) -> str:
        made, name = self.name(), "fmla" if added else "fmls"
        text = f"{name} v{{{made}}}.4s, v{{{value}}}.4s, {self._constant(factor)}"
        self.code.append(Instruction("vector", text, made, (found, value), found))
        return made

    def _constant(self, factor: Fraction) -> str:
        """A lane of the last registers."""
        if factor not in self.constants:
            self.constants.append(factor)
        register, lane = divmod(self.constants.index(factor), _LANES)
        return f"v<constants{register}>.s[{lane}]"

    @property
    def registers(self) -> int:
        """Those that hold the constants, the last ones."""
        return -(-len(self.constants) // _LANES)


def _parts(s: _Sums, m: int, x: Sequence[str], columns: Sequence[int], spent: bool) -> list[str]:
    """Those elements of B^T x; ``spent``: whether nothing else reads the ends of x."""
    rows = transforms(m).b
    found: dict[int, str] = {}

    def part(row: Sequence[Fraction], parity: int, scale: Fraction, last: bool) -> str:
        terms = [(c / scale, v) for i, (c, v) in enumerate(zip(row, x)) if c and i % 2 == parity]
        one = next((v for c, v in reversed(terms) if c == 1), "")
        return s.sum(terms, one if last else "")

    edge, both = m + TAPS - 1, len(columns) > 2
    if 0 in columns:
        found[0] = part(rows[0], 0, Fraction(1), spent and not both)
        found[edge - 1] = part(rows[-1], 1, Fraction(1), spent)
    pairs = [p for p in range(m // 2) if 1 + 2 * p in columns]
    for p in pairs:
        row, point, last = rows[1 + 2 * p], POINTS[m][p], spent and p == pairs[-1]
        even, odd = part(row, 0, Fraction(1), last), part(row, 1, point, last)
        if point != 1:
            odd = s.sum([(point, odd)])
        found[1 + 2 * p] = s.sum([(Fraction(1), even), (Fraction(1), odd)])
        found[2 + 2 * p] = s.sum([(Fraction(1), even), (Fraction(-1), odd)])
    return [found[c] for c in columns]


def _inputs(m: int) -> _Sums:
    """Reads by ``row{r}``, writes to ``place{j}`` + ``rows{i}``."""
    s, edge = _Sums(), m + TAPS - 1
    for columns in ([*range(1, edge - 1)], [0, edge - 1]):
        needed = range(edge) if 0 in columns else range(1, edge - 1)
        made: list[list[str]] = []
        for r in range(edge):
            x = [
                s.load(f"[<row{r}>, #{16 * k}]", f"[<row{r}>, #{16 * k + 8}]")
                if k in needed else ""
                for k in range(edge)
            ]  # fmt: skip
            made.append(_parts(s, m, x, columns, True))
        for place, j in enumerate(columns):
            column = _parts(s, m, [row[place] for row in made], range(edge), True)
            for i, value in enumerate(column):
                s.store(value, f"[<place{j}>, <rows{i}>]" if i else f"[<place{j}>]")
    return s


def _back(s: _Sums, m: int, x: Sequence[str]) -> list[str]:
    """A^T x."""
    one = Fraction(1)
    pairs = list(zip(x[1::2], x[2::2]))
    sums = [s.sum([(one, p), (one, q)]) for p, q in pairs]
    differences = [s.sum([(one, p), (-one, q)]) for p, q in pairs]
    found = []
    for i in range(m):
        terms = [(p**i, v) for p, v in zip(POINTS[m], differences if i % 2 else sums)]
        ends = [(one, x[0])] * (i == 0) + [(one, x[-1])] * (i == m - 1)
        last = x[-1] if i == m - 1 else x[0] if i == 0 else ""
        found.append(s.sum(ends + terms, last))
    return found


def _products(m: int) -> tuple[_Sums, list[str]]:
    """Reads at ``place{j}`` and ``upper{j}`` + ``rows{i}``; what it makes, row by row."""
    s, edge = _Sums(), m + TAPS - 1
    columns = []
    for j in range(edge):
        x = [
            s.load(*(f"[<{p}{j}>, <rows{i}>]" if i else f"[<{p}{j}>]" for p in ("place", "upper")))
            for i in range(edge)
        ]  # fmt: skip
        columns.append(_back(s, m, x))
    return s, [*chain.from_iterable(_back(s, m, [c[i] for c in columns]) for i in range(m))]


@dataclass(frozen=True)
class _Inputs:
    """The function that transforms inputs, by name: ``Code.assembly`` takes it."""

    m: int
    target: Target

    def __call__(self, name: str) -> str:
        return _function(name, self.m, self.target, False)


@dataclass(frozen=True)
class _Products:
    m: int
    target: Target

    def __call__(self, name: str) -> str:
        return _function(name, self.m, self.target, True)


@lru_cache(maxsize=16)
def _ordered(m: int, target: Target, back: bool) -> tuple[Ordered, _Sums, list[str]] | None:
    """The code in order of issue, what it was made of, and its results; None: too large."""
    sums, results = _products(m) if back else (_inputs(m), [])
    vectors = target.vector_registers - sums.registers
    temporaries = [f"<temporary{i}>" for i in range(_TEMPORARIES)]
    try:
        made = order(sums.code, pipeline(target), [str(r) for r in range(vectors)], temporaries)
    except DoesNotFitError:
        return None
    return made, sums, results


def cycles(m: int, target: Target, back: bool) -> int | None:
    """Of a tile, without waiting for lines; None if it does not fit the registers."""
    made = _ordered(m, target, back)
    return made[0].cycles if made else None


def transforms_tile(s: Shape, target: Target) -> bool:
    """Whether a target's transforms of a convolution are assembly."""
    return (
        speaks(target) and s.block == s.lanes == _LANES
        and None not in (cycles(s.m, target, back) for back in (False, True))
    )  # fmt: skip


def transform_inputs(
    code: Code, target: Target, m: int, tile: Operand, down: Any, to: Operand, apart: int
) -> None:
    """One tile from rows that lie ``down`` bytes apart."""
    name = code.assembly("inputs", _Inputs(m, target))
    operands = [tile.address, int64(down), to.address, int64(apart)]
    code.emit(tirx.Evaluate(tirx.call_extern("void", name, *operands)))


def transform_products(
    code: Code, target: Target, m: int, acc: Array, tile: Operand, apart: int
) -> None:
    """The m x m outputs of a tile into registers."""
    name = code.assembly("outputs", _Products(m, target))
    operands = [Operand(acc, 0).address, tile.address, int64(apart)]
    code.emit(tirx.Evaluate(tirx.call_extern("void", name, *operands)))


def _pointers(m: int, back: bool) -> Iterator[tuple[str, str]]:
    """The integers that the assembly takes, and how they are made of the arguments."""
    edge = m + TAPS - 1
    for i in range(edge):
        if back:
            yield f"place{i}", _moved(f"place{i - 1}" if i else "from", "apart" if i else "0")
            yield f"upper{i}", _moved(f"place{i}", "8")
        else:
            yield f"row{i}", _moved(f"row{i - 1}" if i else "from", "down" if i else "0")
            yield f"place{i}", _moved(f"place{i - 1}" if i else "to", "apart" if i else "0")
        if i:
            yield f"rows{i}", f"mul i64 %apart, {i * edge}"


def _moved(pointer: str, by: str) -> str:
    return f"getelementptr i8, ptr %{pointer}, i64 {by if by.isdigit() else '%' + by}"


def _function(name: str, m: int, target: Target, back: bool) -> str:
    """LLVM's text."""
    made = _ordered(m, target, back)
    assert made is not None
    ordered, sums, results = made
    given, outputs = dict(_pointers(m, back)), [ordered.kept[r] for r in results]
    first = target.vector_registers - sums.registers
    held = [f"constants{i}" for i in range(sums.registers)]
    own = [f"temporary{i}" for i in range(_TEMPORARIES)]
    places = {n: f"${i}" for i, n in enumerate([*own, *given], len(outputs))}
    places |= {n: str(first + i) for i, n in enumerate(held)}
    text = re.sub(r"<(\w+)>", lambda found: places[found[1]], r"\0A".join(ordered.texts))
    constraints = [*(f"={{v{r}}}" for r in outputs), *("=&r" for _ in own), *("r" for _ in given)]
    constraints += [f"{{v{places[n]}}}" for n in held]
    clobbered = [str(r) for r in range(first) if str(r) not in outputs]
    constraints += [*(f"~{{v{r}}}" for r in clobbered), "~{memory}"]
    returned = ", ".join(["<4 x float>"] * len(outputs) + ["i64"] * len(own))
    operands = [f"{'i64' if n.startswith('rows') else 'ptr'} %{n}" for n in given]
    operands += [
        f"<4 x float> {_vector(sums.constants[4 * i : 4 * i + 4])}" for i in range(len(held))
    ]
    parameters = "ptr %acc, ptr %from" if back else "ptr %from, i64 %down, ptr %to"
    lines = [f"define void @{name}({parameters}, i64 %apart) {{"]
    lines += [f"  %{n} = {value}" for n, value in given.items()]
    asm = f'asm sideeffect "{text}", "{",".join(constraints)}"'
    lines.append(f"  %r = call {{ {returned} }} {asm}({', '.join(operands)})")
    for i in range(len(outputs)):
        lines += [
            f"  %v{i} = extractvalue {{ {returned} }} %r, {i}",
            f"  %p{i} = getelementptr i8, ptr %acc, i64 {16 * i}",
            f"  store <4 x float> %v{i}, ptr %p{i}, align 4",
        ]
    return "\n".join([*lines, "  ret void", "}", ""])


def _vector(constants: Sequence[Fraction]) -> str:
    """Floats as LLVM writes them: the bits of a double."""
    filled = [*map(float, constants), *[0.0] * (_LANES - len(constants))]
    return f"<{', '.join(f'float 0x{struct.pack(chr(62) + chr(100), f).hex()}' for f in filled)}>"
