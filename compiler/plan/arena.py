"""Offsets of buffers in one arena, so that buffers alive together never overlap.

Dynamic storage allocation is NP-hard; greedy assignment in a good order comes close
(Pisarchyk and Lee, arXiv 2001.03288). Several orders are tried and the best is improved
by swaps until it meets the lower bound or the attempts run out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from .storage import Buffer, lower_bound

ATTEMPTS = 300


def _place(order: Sequence[Buffer]) -> tuple[int, dict[Buffer, int]]:
    """Each buffer in turn at the lowest offset where it fits."""
    placed: list[tuple[int, Buffer]] = []
    size, offsets = 0, {}
    for buffer in order:
        at = 0
        for offset, other in sorted(
            ((o, b) for o, b in placed if b.overlaps(buffer)), key=lambda p: p[0]
        ):
            if offset - at >= buffer.aligned:
                break
            at = max(at, offset + other.aligned)
        placed.append((at, buffer))
        offsets[buffer] = at
        size = max(size, at + buffer.aligned)
    return size, offsets


def assign(buffers: Sequence[Buffer]) -> tuple[int, dict[Buffer, int]]:
    """(bytes of the arena, offset of each buffer); deterministic."""
    if not buffers:
        return 0, {}
    bound = lower_bound(buffers)
    orders = [
        sorted(buffers, key=lambda b: (-b.aligned, b.first)),
        sorted(buffers, key=lambda b: (b.first, -b.aligned)),
        sorted(buffers, key=lambda b: (-(b.last - b.first), -b.aligned)),
        sorted(buffers, key=lambda b: (-(b.last - b.first + 1) * b.aligned, b.first)),
    ]
    results = [(*_place(order), order) for order in orders]
    best, offsets, order = min(results, key=lambda r: r[0])
    rng = random.Random(0)
    for _ in range(ATTEMPTS):
        if best == bound or len(order) < 2:
            break
        trial = list(order)
        i, j = rng.sample(range(len(trial)), 2)
        trial.insert(j, trial.pop(i))
        size, placed = _place(trial)
        if size <= best:
            best, offsets, order = size, placed, trial
    return best, offsets
