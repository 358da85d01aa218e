"""Sums of float16 products that add up in float32: float16 within a block, float32 across blocks.

A sum of K products in float16 has an error that grows with the root of K, and one in blocks that
of the blocks' length. A register tile adds up a block as ever; its sums go to memory in between,
where conversions, additions and stores are few beside a block's products.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from armlet.compiler.ops.lazy import tirx

from ..emit import Array, Code

#: products of a block, about
LENGTH = 128
WIDE = "float32"


class WideSums:
    """The sums of a register tile, which start as what is in the tile."""

    def __init__(self, code: Code, tile: Array) -> None:
        self.code, self.tile = code, tile
        self.sums = code.scratch(*tile.shape, dtype=WIDE)
        for at in self._each():
            code.store(self.sums, at, tile[at].astype(WIDE))

    @contextmanager
    def block(self) -> Iterator[None]:
        """What is added to the tile inside is a block."""
        dtype = self.tile.buffer.dtype
        for at in self._each():
            self.code.store(self.tile, at, tirx.const(0, dtype))
        yield
        for at in self._each():
            total = self.sums[at] + self.tile[at].astype(WIDE)
            self.code.store(self.sums, at, total)

    def end(self) -> None:
        """The sums are in the tile again."""
        for at in self._each():
            self.code.store(self.tile, at, self.sums[at].astype(self.tile.buffer.dtype))

    def _each(self) -> Iterator[tuple[Any, ...]]:
        *outer, lanes = self.tile.shape
        for index in itertools.product(*map(range, outer)):
            with self.code.vector(lanes) as v:
                yield (*index, v)


def stretches(
    code: Code, tile: Array, op: Any, length: int, whole: int, rest: int
) -> Iterator[tuple[Any, int]]:
    """First and number of ``whole`` blocks of ``length`` products, as an operator adds them up.

    What is a ``rest`` of a block comes last, with number 0.
    """
    if not op.wide_sums:
        yield from [(0, whole)] * (whole > 0) + [(whole, 0)] * (rest > 0)
        return
    sums, together = WideSums(code, tile), max(1, LENGTH // length)
    if whole // together:
        with code.loop(whole // together, "sum", rolled=True) as i, sums.block():
            yield i * together, together
    if whole % together:
        with sums.block():
            yield whole // together * together, whole % together
    if rest:
        with sums.block():
            yield whole, 0
    sums.end()
