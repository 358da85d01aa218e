"""Writes loop nests: a template says loops, stores and buffers in order, in Python.

    with code.parallel(rows) as i:
        tile = code.registers(8, 16)
        for j in range(8):                      # unrolled: a Python loop
            with code.vector(16) as v:
                code.store(tile, (j, v), 0.0)

Register tiles are indexed by constants only, so that LLVM keeps them in registers. An axis
whose extent is not a multiple of its tile is cut by ``pieces``: no tail is scalar.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tvm

from armlet.compiler.ops.lazy import tirx

#: marks the statements of a function of their own
OUTLINED = "armlet.outlined"


#: annotation of a loop that LLVM must not unroll
ROLLED = "rolled"


class Array:
    """A row-major buffer: ``array[i, j]`` reads an element.

    TVM sees one dimension only: its own flattening simplifies every index anew, which takes
    longer than all its other passes together.
    """

    def __init__(self, shape: Sequence[int], dtype: str, name: str, scope: str = "global") -> None:
        self.shape = tuple(shape)
        size = max(1, math.prod(self.shape))
        self.buffer = tirx.decl_buffer((size,), dtype, name=name, scope=scope)

    def at(self, indices: Sequence[Any]) -> Any:
        """Where an element lies."""
        flat: Any = 0
        for index, size in zip(indices, self.shape, strict=True):
            flat = flat * size + index if isinstance(flat, tvm.ir.Expr) or flat else index
        return flat

    def __getitem__(self, indices: Sequence[Any]) -> Any:
        return tirx.BufferLoad(self.buffer, [self.at(indices)])


def unravel(index: Any, shape: Sequence[int]) -> list[Any]:
    """The indices of the element that is ``index`` in row-major order."""
    found: list[Any] = []
    for axis, size in reversed(list(enumerate(shape))):
        outermost = math.prod(shape[:axis]) == 1
        found.append(0 if size == 1 else index if outermost else index % size)
        index = index // size if size > 1 else index
    return found[::-1]


def sequence(statements: Sequence[Any]) -> Any:
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(list(statements))


class Code:
    """The statements of one kernel, as they are written."""

    def __init__(self) -> None:
        self._open: list[list[Any]] = [[]]
        #: knows the ranges of the loops, for ``simple``
        self._analyzer = tvm.sym.Analyzer()
        #: lane and lanes of the vector that is being written
        self._lane: tuple[Any, int] | None = None
        #: what ``bind`` named for the next store, by keys of whoever asks for names
        self.named: dict[Any, Any] = {}
        self._count = 0
        #: functions in LLVM's language that the statements call, by what makes them
        self._functions: dict[Any, str] = {}
        self._begin: Any = None

    def emit(self, stmt: Any) -> None:
        self._open[-1].append(stmt)

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    @contextmanager
    def _block(self) -> Iterator[list[Any]]:
        self._open.append([])
        try:
            yield self._open[-1]
        finally:
            self._open.pop()

    @contextmanager
    def loop(
        self, extent: Any, name: str = "i", start: Any = 0, kind: Any = None, rolled: bool = False
    ) -> Iterator[Any]:
        """``for start <= i < start + extent``; a loop of one step leaves no trace.

        ``rolled`` keeps LLVM from unrolling it: what several steps load it would load once, and
        hold in registers that a tile needs.
        """
        kind = tirx.ForKind.SERIAL if kind is None else kind
        if isinstance(extent, int) and extent == 1 and kind == tirx.ForKind.SERIAL:
            yield start
            return
        var = tirx.Var(self._name(name), "int32")
        self._analyzer.bind(var, tvm.ir.Range.from_min_extent(start, extent))
        with self._block() as body:
            yield var
        notes = {ROLLED: True} if rolled else None
        self.emit(tirx.For(var, start, extent, kind, sequence(body), None, notes))

    def parallel(self, extent: int) -> Any:
        """The one loop that threads share; it must be the outermost."""
        return self.loop(extent, "p", kind=tirx.ForKind.PARALLEL)

    @property
    def begin(self) -> Any:
        """The first step of the parallel loop that this call of the kernel does."""
        if self._begin is None:
            self._begin = tirx.Var("begin", "int32")
        return self._begin

    @contextmanager
    def vector(self, extent: int) -> Iterator[Any]:
        """One vector instruction for the statements inside."""
        with self.loop(extent, "v", kind=tirx.ForKind.VECTORIZED if extent > 1 else None) as v:
            self._lane = (v, extent) if extent > 1 else None
            yield v
            self._lane = None

    @contextmanager
    def discarded(self) -> Iterator[None]:
        """What is written inside is not kept: for looking at expressions."""
        with self._block():
            yield

    @contextmanager
    def outlined(self) -> Iterator[None]:
        """A function of its own for the statements inside.

        LLVM then allocates its registers without regard to what is around: it would keep
        constants of other loops in them, and spill the accumulators of this one.
        """
        with self._block() as body:
            yield
        mark = tirx.const(0, "int32")
        self.emit(tirx.AttrStmt(mark, OUTLINED, mark, sequence(body)))

    @contextmanager
    def when(self, condition: Any) -> Iterator[None]:
        with self._block() as body:
            yield
        self.emit(tirx.IfThenElse(condition, sequence(body), None))

    @contextmanager
    def choose(self, condition: Any) -> Iterator[tuple[Any, Any]]:
        """``yes, no`` are contexts for the two branches."""
        branches: list[list[Any]] = [[], []]

        @contextmanager
        def branch(index: int) -> Iterator[None]:
            with self._block() as body:
                yield
            branches[index] = body

        yield branch(0), branch(1)
        yes, no = map(sequence, branches)
        self.emit(tirx.IfThenElse(condition, yes, no))

    def buffer(self, shape: Sequence[int], dtype: str, scope: str) -> Array:
        made = Array(shape, dtype, self._name("b"), scope)
        self.emit(tirx.AllocBuffer(made.buffer))
        return made

    def registers(self, *shape: int, dtype: str = "float32") -> Array:
        """A tile that LLVM keeps in registers: index it by constants and vector lanes."""
        return self.buffer(shape, dtype, "local")

    def scratch(self, *shape: int, dtype: str = "float32") -> Array:
        """Memory in the arena that each thread has of its own."""
        return self.buffer(shape, dtype, "global")

    def simple(self, index: Any) -> Any:
        """An index with its divisions cancelled, before vectors make that impossible."""
        return self._analyzer.simplify(tirx.convert(index))

    def index(self, value: Any) -> Any:
        """A name for an index, so that what is built on it stays short."""
        if isinstance(value, (int, tirx.Var, tirx.IntImm)):
            return value
        var = tirx.Var(self._name("n"), "int32")
        self.emit(tirx.Bind(var, value))
        return var

    def named_vector(self, value: Any) -> Any:
        """A name for a value that is a vector already, written without ``vector``."""
        var = tirx.Var(self._name("x"), value.expr_ty())
        self.emit(tirx.Bind(var, value))
        return var

    def bind(self, value: Any) -> Any:
        """A register for a value that the next store uses more than once.

        Not a ``Let``: TVM's analyser refuses one inside the value of another. A truth value is
        held as a byte: negated as a vector of bits in bytes, it would be 254.
        """
        if str(value.expr_ty()) == "bool":
            return self.bind(value.astype("uint8")) != 0
        lane, lanes = self._lane or (0, 1)
        held = Array((lanes,), str(value.expr_ty()), self._name("t"), "local")
        self._open[-2 if self._lane else -1].append(tirx.AllocBuffer(held.buffer))
        self.emit(tirx.BufferStore(held.buffer, value, [lane]))
        return held[[lane]]

    def store(self, array: Array, indices: Sequence[Any], value: Any) -> None:
        self.store_at(array, array.at(indices), value)

    def store_at(self, array: Array, place: Any, value: Any) -> None:
        self.named.clear()
        self.emit(tirx.BufferStore(array.buffer, tirx.convert(value), [place]))

    def prefetch(self, array: Array, indices: Sequence[Any], level: int = 2) -> None:
        """Asks for the cache line of an element, which may lie beyond the array, in L2 or L1."""
        place = tirx.address_of(array[indices])
        read, locality, data = (tirx.const(n, "int32") for n in (0, 4 - level, 1))
        call = tirx.call_llvm_intrin("void", "llvm.prefetch.p0", place, read, locality, data)
        self.emit(tirx.Evaluate(call))

    def function(self, parameters: Sequence[Array]) -> Any:
        """The PrimFunc whose parameters are these arrays, and ``begin`` if it is asked for."""
        (statements,) = self._open
        body = sequence(statements)
        for make, name in self._functions.items():
            text = tvm.ir.StringImm(make(name))
            body = tirx.AttrStmt(tirx.const(0), "pragma_import_llvm", text, body)
        begin = [] if self._begin is None else [self._begin]
        return tirx.PrimFunc([*(p.buffer for p in parameters), *begin], body)

    def assembly(self, stem: str, make: Callable[[str], str]) -> str:
        """The name under which statements may call the LLVM function that ``make(name)`` is.

        Equal makers are one function; it is inlined and leaves no symbol.
        """
        return self._functions.setdefault(make, f"{stem}{len(self._functions)}")


def ceil_div(size: int, step: int) -> int:
    """How many steps cover ``size``."""
    return -(-size // step)


def pieces(size: int, tile: int) -> list[tuple[int, int, int]]:
    """``size`` cut into equal tiles of at most ``tile``: (start, width, count) of each width.

    The widths differ by one at most, so two variants of code do for any size.
    """
    count = ceil_div(size, tile)
    small, wide = divmod(size, count)
    runs = [(0, small + 1, wide), (wide * (small + 1), small, count - wide)]
    return [run for run in runs if run[1] and run[2]]
