"""What template spaces are made of: the choices of one knob, and what keeps spaces small.

A cut is a tile size; sizes that ``pieces`` would cut alike are one choice. A tuner measures
with one thread, so a space offers only numbers of steps that threads can share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .emit import ceil_div

#: points of a space
MOST = 2000
#: of the work of threads, what may be lost by waiting for the last one
LOSS = 1.07
#: numbers of threads that the steps of a kernel should suit
THREADS = (2, 4)


def cuts(size: int, most: int | None = None) -> list[int]:
    """Every tile size up to ``most`` that cuts ``size`` in another way than a smaller one."""
    top = min(size, most or size)
    return sorted({ceil_div(size, ceil_div(size, tile)) for tile in range(1, top + 1)})


def few_cuts(size: int, *wanted: int) -> list[int]:
    """A handful of tile sizes: ``wanted`` ones, powers of two, and the whole."""
    doubling = [1 << n for n in range(size.bit_length())]
    sizes = {min(size, tile) for tile in (*wanted, *doubling, size) if tile > 0}
    return sorted({ceil_div(size, ceil_div(size, tile)) for tile in sizes})


def divisors(size: int, *choices: int) -> list[int]:
    """Those of ``choices`` that divide ``size``."""
    return [c for c in choices if size % c == 0]


def waiting(steps: int) -> float:
    """The time of threads that share ``steps`` alike, relative to ideal."""
    return max(ceil_div(steps, threads) * threads / steps for threads in THREADS)


def shares_well(steps: int, usual: int) -> bool:
    """Whether threads share ``steps`` about as well as the ``usual`` number."""
    return waiting(steps) <= max(LOSS, waiting(usual))


def thinned(points: Iterable[dict[str, int]], first: Sequence[dict[str, int]]) -> list:
    """``first`` and the other points, each once; evenly picked ones where they are too many."""
    kept = {tuple(p.items()): p for p in first}
    others = {key: p for p in points if (key := tuple(p.items())) not in kept}
    room, values = MOST - len(kept), list(others.values())
    if len(values) > room:
        values = [values[i * len(values) // room] for i in range(room)]
    return [*kept.values(), *values]
