"""Writes the text of one OpenCL kernel: lines, loops and names, with expressions printed.

It takes the place of ``emit.Code`` under a ``TensorGraph``: what is bound there becomes a
line of C here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tvm

from armlet.compiler.ops.lazy import tirx

from ..emit import Array
from .expression import C_NAMES, LANES, NotAVector, Printer, Text


class Source:
    """The statements of a kernel, as they are written."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.vectors: set[str] = set()
        #: what ``bind`` named, by keys of whoever asks for names
        self.named: dict[Any, Any] = {}
        self._analyzer = tvm.sym.Analyzer()
        self._count = 0
        self._depth = 1
        self.print = Printer(self.vectors, self._nonnegative)

    def _nonnegative(self, index: Any) -> bool:
        return bool(self._analyzer.can_prove(tirx.convert(index) >= 0))

    def name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def line(self, text: str) -> None:
        self.lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """``header { … }``; what is named inside is not known after it."""
        self.line(f"{header} {{")
        before, self._depth = dict(self.named), self._depth + 1
        yield
        self.named, self._depth = before, self._depth - 1
        self.line("}")

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Takes back what was written if an exception leaves."""
        lines, named = list(self.lines), dict(self.named)
        try:
            yield
        except Exception:
            self.lines[:], self.named = lines, named
            raise

    def index(self, text: str, extent: int, stem: str = "i") -> Any:
        """An index, named, that is ``text`` and known to lie in [0, ``extent``)."""
        if extent == 1:
            return tirx.const(0, "int32")
        var = self.ranged(self.name(stem), extent)
        self.line(f"const int {var.name} = {text};")
        return var

    def bound(self, index: Any, stem: str = "i") -> Any:
        """A name for an index, its divisions cancelled, unless it is a name or a number."""
        index = self.simple(index)
        if isinstance(index, (tirx.Var, tirx.IntImm)):
            return index
        known = self._analyzer.const_int_bound(index)
        var = tirx.Var(self.name(stem), "int32")
        self._analyzer.bind(var, tvm.ir.Range(int(known.min_value), int(known.max_value) + 1))
        self.line(f"const int {var.name} = {self.text(index)};")
        return var

    def ranged(self, name: str, extent: int) -> Any:
        """A variable that the kernel has, known to lie in [0, ``extent``)."""
        var = tirx.Var(name, "int32")
        self._analyzer.bind(var, tvm.ir.Range.from_min_extent(0, extent))
        return var

    @contextmanager
    def loop(self, extent: int, stem: str = "k", header: str = "") -> Iterator[Any]:
        """``for 0 <= k < extent``; a loop of one step leaves no trace."""
        if extent == 1:
            yield tirx.const(0, "int32")
            return
        var = self.ranged(self.name(stem), extent)
        with self.block(f"{header}for (int {var.name} = 0; {var.name} < {extent}; ++{var.name})"):
            yield var

    def text(self, value: Any) -> str:
        """An expression as C."""
        return self.print(tirx.convert(value)).text

    def simple(self, index: Any) -> Any:
        """An index with its divisions cancelled."""
        return self._analyzer.simplify(tirx.convert(index))

    def bind(self, value: Any) -> Any:
        """A name for a value that is used more than once."""
        return self.declare(self.print(value), constant=True)

    def declare(self, value: Text, constant: bool = False, stem: str = "t") -> Any:
        """A variable that begins as ``value``."""
        if value.mask:
            # a mask has no dtype of the IR: it is written where it is used
            raise NotAVector("a name for a truth value")
        var = tirx.Var(self.name(stem), value.dtype)
        if value.vector:
            self.vectors.add(var.name)
        self.line(f"{'const ' * constant}{value.c_type} {var.name} = {value.text};")
        return var

    def variable(self, dtype: str, text: str, vector: bool, stem: str = "t") -> Any:
        """As ``declare``, of C that is at hand."""
        return self.declare(Text(text, dtype, vector), stem=stem)

    def store_at(self, array: Array, place: Any, value: Any) -> None:
        """``array[place] = value``."""
        self.named.clear()
        self.line(f"{array.buffer.name}[{self.text(place)}] = {self.text(value)};")


def vector_type(dtype: str) -> str:
    return f"{C_NAMES[dtype]}{LANES}"
