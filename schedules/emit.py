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

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from armlet.compiler.ops.lazy import tirx


def sequence(statements: Sequence[Any]) -> Any:
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(list(statements))


class Code:
    """The statements of one kernel, as they are written."""

    def __init__(self) -> None:
        self._open: list[list[Any]] = [[]]
        self._bound: list[tuple[Any, Any]] = []
        self._count = 0

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
    def loop(self, extent: Any, name: str = "i", start: Any = 0, kind: Any = None) -> Iterator[Any]:
        """``for start <= i < start + extent``; a loop of one step leaves no trace."""
        kind = tirx.ForKind.SERIAL if kind is None else kind
        if isinstance(extent, int) and extent == 1 and kind == tirx.ForKind.SERIAL:
            yield start
            return
        var = tirx.Var(self._name(name), "int32")
        with self._block() as body:
            yield var
        self.emit(tirx.For(var, start, extent, kind, sequence(body)))

    def parallel(self, extent: int) -> Any:
        """The one loop that threads share; it must be the outermost."""
        return self.loop(extent, "p", kind=tirx.ForKind.PARALLEL)

    def vector(self, extent: int) -> Any:
        """One vector instruction for the statements inside."""
        return self.loop(extent, "v", kind=tirx.ForKind.VECTORIZED if extent > 1 else None)

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

    def buffer(self, shape: Sequence[int], dtype: str, scope: str) -> Any:
        made = tirx.decl_buffer(list(shape), dtype, name=self._name("b"), scope=scope)
        self.emit(tirx.AllocBuffer(made))
        return made

    def registers(self, *shape: int, dtype: str = "float32") -> Any:
        """A tile that LLVM keeps in registers: index it by constants and vector lanes."""
        return self.buffer(shape, dtype, "local")

    def scratch(self, *shape: int, dtype: str = "float32") -> Any:
        """Memory in the arena that each thread has of its own."""
        return self.buffer(shape, dtype, "global")

    def bind(self, value: Any) -> Any:
        """A name, in the next store, for a value that it uses more than once."""
        var = tirx.Var(self._name("t"), value.expr_ty())
        self._bound.append((var, value))
        return var

    def store(self, buffer: Any, indices: Sequence[Any], value: Any) -> None:
        for var, bound in reversed(self._bound):
            value = tirx.Let(var, bound, value)
        self._bound.clear()
        self.emit(tirx.BufferStore(buffer, tirx.convert(value), list(indices)))

    def function(self, parameters: Sequence[Any]) -> Any:
        """The PrimFunc whose parameters are these buffers."""
        (body,) = self._open
        return tirx.PrimFunc(list(parameters), sequence(body))


def pieces(size: int, tile: int) -> list[tuple[int, int, int]]:
    """``size`` cut into equal tiles of at most ``tile``: (start, width, count) of each width.

    The widths differ by one at most, so two variants of code do for any size.
    """
    count = -(-size // tile)
    small, wide = divmod(size, count)
    runs = [(0, small + 1, wide), (wide * (small + 1), small, count - wide)]
    return [run for run in runs if run[1] and run[2]]
