"""Loops over every element of a shape: vectors along the last axis, parallel over the first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

from armlet.compiler.ops.lazy import tirx

from .emit import Code, ceil_div, unravel

#: elements that are worth a step of the parallel axis
GRAIN = 4096
#: steps of the parallel axis beyond which more do not balance better
STEPS = 64
#: rows of a band of which one more or less does not matter
MANY_ROWS = 16


def powers(size: int) -> Iterator[tuple[int, int]]:
    """``size`` as (start, width) of falling powers of two: vectors that every target has."""
    start = 0
    while size:
        width = 1 << (size.bit_length() - 1)
        yield start, width
        start, size = start + width, size - width


def vectors(code: Code, size: int, lanes: int, body: Callable[[Any], None]) -> None:
    """``body(i)`` for every i below ``size``, in vectors and then in shorter vectors."""
    _cover_row(code, 0, 1, size, lanes, body)


def steps_for(elements: int) -> int:
    """How many steps of the parallel axis so many elements are worth."""
    return max(1, min(STEPS, elements // GRAIN))


def cut(shape: Sequence[int], steps: int) -> int:
    """How many leading axes make at least ``steps`` steps, if they can."""
    taken, made = 0, 1
    while taken < len(shape) and made < steps:
        made *= shape[taken]
        taken += 1
    return taken


def blocks_of(rows: int, others: int, least: int = 1) -> tuple[int, int]:
    """(blocks, rows in a block) where each block makes ``others`` steps of the parallel axis.

    At least ``least`` blocks, and as few more as keep 2, 4 or 8 threads busy to the end.
    """

    def cost(blocks: int) -> float:
        size = ceil_div(rows, blocks)
        steps = ceil_div(rows, size) * others
        idle = [ceil_div(steps, t) * size * t / (rows * others) for t in (2, 4, 8)]
        return 2 * idle[0] + idle[1] + 0.5 * idle[2] + 0.01 * blocks

    best = min(range(min(least, rows), min(rows, max(least, STEPS)) + 1), key=cost)
    size = ceil_div(rows, best)
    return ceil_div(rows, size), size


def bands_of(rows: int, tile: int, least: int) -> int:
    """Bands of at least so many rows into which ``rows`` go evenly, or nearly if there are many.

    Threads that do the same rows of one tensor after the other find in their own caches what
    they read; lines that another core has written take several times as long. Among bands of
    several sizes those of whole tiles are the better ones.
    """
    sizes = {bands: rows // bands for bands in range(2, min(rows, STEPS) + 1)}
    even = (b for b, size in sizes.items() if rows % b == 0 or size >= MANY_ROWS)
    fitting = [b for b in even if sizes[b] >= least * tile]
    return max(fitting, key=lambda b: (sizes[b] % tile == 0, b), default=1)


def band(code: Code, index: Any, bands: int, rows: int) -> tuple[Any, Any]:
    """First and number of the rows of band ``index``."""
    if rows % bands == 0:
        return code.index(index * (rows // bands)), rows // bands
    first = code.index(index * rows // bands)
    return first, code.index((index + 1) * rows // bands - first)


def share(code: Code, p: Any, steps: int, size: int) -> tuple[Any, Any]:
    """First and number of the ``size`` things that step ``p`` of ``steps`` does."""
    each = ceil_div(size, steps)
    if size % steps == 0:
        return p * each, each
    return p * each, tirx.max(0, tirx.min(each, size - p * each))


def cover(
    code: Code,
    p: Any,
    steps: int,
    shape: Sequence[int],
    lanes: int,
    body: Callable[[Sequence[Any]], None],
) -> None:
    """``body(indices)`` for step ``p``'s share of the elements of ``shape``."""
    *outer, last = list(shape) or [1]
    if math.prod(outer) == 1:
        _cover_row(code, p, steps, last, lanes, lambda i: body([0] * len(outer) + [i]))
        return
    taken = cut(outer, steps)
    with ExitStack() as stack:
        first, count = share(code, p, steps, math.prod(outer[:taken]))
        i = stack.enter_context(code.loop(count)) if taken else 0
        if not taken and steps > 1:
            stack.enter_context(code.when(p == 0))
        indices = unravel(first + i, outer[:taken])
        indices = [code.index(n) for n in indices]
        indices += [stack.enter_context(code.loop(n)) for n in outer[taken:]]
        _cover_row(code, 0, 1, last, lanes, lambda i: body([*indices, i]))


def _cover_row(
    code: Code, p: Any, steps: int, size: int, lanes: int, body: Callable[[Any], None]
) -> None:
    full = size // lanes
    if full:
        first, count = share(code, p, steps, full)
        with code.loop(count) as i, code.vector(lanes) as v:
            body((first + i) * lanes + v)
    if size % lanes:
        with code.when(p == steps - 1) if steps > 1 else nullcontext():
            for start, width in powers(size % lanes):
                with code.vector(width) as v:
                    body(full * lanes + start + v)
