"""Loops over every element of a shape: vectors along the last axis, parallel over the first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

from armlet.compiler.ops.lazy import tirx

from .emit import Code, unravel

#: elements that are worth a step of the parallel axis
GRAIN = 4096
#: steps of the parallel axis beyond which more do not balance better
STEPS = 64


def powers(size: int) -> Iterator[tuple[int, int]]:
    """``size`` as (start, width) of falling powers of two: vectors that every target has."""
    start = 0
    while size:
        width = 1 << (size.bit_length() - 1)
        yield start, width
        start, size = start + width, size - width


def vectors(code: Code, size: int, lanes: int, body: Callable[[Any], None]) -> None:
    """``body(i)`` for every i below ``size``, in vectors and then in shorter vectors."""
    full = size // lanes
    if full:
        with code.loop(full) as i, code.vector(lanes) as v:
            body(i * lanes + v)
    for start, width in powers(size % lanes):
        with code.vector(width) as v:
            body(full * lanes + start + v)


def nest(code: Code, shape: Sequence[int], stack: ExitStack) -> list[Any]:
    """Serial loops over a shape, closed with the stack."""
    return [stack.enter_context(code.loop(n)) for n in shape]


def cut(shape: Sequence[int], cores_grain: int = GRAIN) -> int:
    """How many leading axes to run in parallel, so that there are enough steps and no more."""
    total = math.prod(shape)
    wanted = max(1, min(STEPS, total // cores_grain))
    taken, steps = 0, 1
    while taken < len(shape) and steps < wanted:
        steps *= shape[taken]
        taken += 1
    return taken


def cover(
    code: Code, shape: Sequence[int], lanes: int, body: Callable[[Sequence[Any]], None]
) -> None:
    """``body(indices)`` for every element of ``shape``; the one parallel loop is outermost."""
    shape = list(shape) or [1]
    taken = cut(shape[:-1] + [1], max(1, GRAIN // max(1, shape[-1])))
    if math.prod(shape[:-1]) == 1:
        _cover_row(code, shape, lanes, body)
        return
    steps = math.prod(shape[:taken])
    with ExitStack() as stack:
        p = stack.enter_context(code.parallel(steps)) if steps > 1 else 0
        outer = unravel(p, shape[:taken])
        inner = nest(code, shape[taken:-1], stack)
        vectors(code, shape[-1], lanes, lambda i: body([*outer, *inner, i]))


def share(
    code: Code, p: Any, steps: int, size: int, lanes: int, body: Callable[[Any], None]
) -> None:
    """The part of a row of ``size`` elements that step ``p`` of ``steps`` does, in vectors."""
    full = size // lanes
    chunk = -(-full // steps)
    if full:
        count = chunk
        if full % steps:
            count = tirx.max(0, tirx.min(chunk, full - p * chunk))
        with code.loop(count) as i, code.vector(lanes) as v:
            body((p * chunk + i) * lanes + v)
    if size % lanes:
        with code.when(p == steps - 1) if steps > 1 else nullcontext():
            for start, width in powers(size % lanes):
                with code.vector(width) as v:
                    body(full * lanes + start + v)


def steps_for(elements: int) -> int:
    """How many steps of the parallel axis so many elements are worth."""
    return max(1, min(STEPS, elements // GRAIN))


def _cover_row(
    code: Code, shape: Sequence[int], lanes: int, body: Callable[[Sequence[Any]], None]
) -> None:
    """All elements lie along the last axis."""
    zeros, steps = [0] * (len(shape) - 1), steps_for(shape[-1])
    with code.parallel(steps) as p:
        share(code, p, steps, shape[-1], lanes, lambda i: body([*zeros, i]))
