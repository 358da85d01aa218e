"""Offsets of buffers in one arena, so that bytes that matter together never overlap.

Dynamic storage allocation is NP-hard; greedy assignment in a good order comes close
(Pisarchyk and Lee, arXiv 2001.03288). Several orders are tried and the best is improved
by swaps until it meets the lower bound or the attempts run out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from .plan import ALIGNMENT
from .storage import Buffer, Span, lower_bound

ATTEMPTS = 300
#: share of the attempts that move the highest buffer
GUIDED = 0.5


def _lowest(buffer: Buffer, placed: Sequence[tuple[int, Span]]) -> int:
    """The lowest offset at which no span of the buffer meets one that is placed."""
    taken = sorted(
        (at + other.start - span.end, at + other.end - span.start)
        for span in buffer.spans
        for at, other in placed
        if span.first <= other.last and other.first <= span.last
    )
    offset = 0
    for above, below in taken:
        if offset <= above:
            break
        offset = max(offset, -(-below // ALIGNMENT) * ALIGNMENT)
    return offset


def _place(order: Sequence[Buffer]) -> tuple[int, dict[Buffer, int]]:
    """Each buffer in turn at the lowest offset where it fits."""
    placed: list[tuple[int, Span]] = []
    size, offsets = 0, {}
    for buffer in order:
        offset = offsets[buffer] = _lowest(buffer, placed)
        placed += [(offset, span) for span in buffer.spans]
        size = max(size, offset + buffer.bytes)
    return size, offsets


def assign(buffers: Sequence[Buffer]) -> tuple[int, dict[Buffer, int]]:
    """(bytes of the arena, offset of each buffer); deterministic."""
    if not buffers:
        return 0, {}
    bound = lower_bound(buffers)
    orders = [
        sorted(buffers, key=lambda b: (-b.bytes, b.first)),
        sorted(buffers, key=lambda b: (b.first, -b.bytes)),
        sorted(buffers, key=lambda b: (-(b.last - b.first), -b.bytes)),
        sorted(buffers, key=lambda b: (-(b.last - b.first + 1) * b.bytes, b.first)),
    ]
    results = [(*_place(order), order) for order in orders]
    best, offsets, order = min(results, key=lambda r: r[0])
    rng = random.Random(0)
    for _ in range(ATTEMPTS):
        if best == bound or len(order) < 2:
            break
        trial = list(order)
        # whoever ends last is in the way of a smaller arena: it goes earlier
        highest = max(range(len(trial)), key=lambda i: offsets[trial[i]] + trial[i].bytes)
        if highest and rng.random() < GUIDED:
            i, j = highest, rng.randrange(highest)
        else:
            i, j = rng.sample(range(len(trial)), 2)
        trial.insert(j, trial.pop(i))
        size, placed = _place(trial)
        if size <= best:
            best, offsets, order = size, placed, trial
    return best, offsets
