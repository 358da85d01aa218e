"""Timing beside a peer: in turns, with the same inputs, after the answers were compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from armlet.artifact import CompiledModel
from armlet.compare import TOLERANCE, Difference, allowances, difference
from armlet.errors import VerificationError
from armlet.reference import Runtime

#: seconds of a turn; short, so that both meet the same weather
TURN = 0.2
#: after a turn, until the other's waiting threads have gone to sleep
REST = 0.02


def statistics(seconds: np.ndarray) -> dict[str, float]:
    """In seconds: median, p90, p99 and min; and the number of runs."""
    middle, p90, p99 = (float(p) for p in np.percentile(seconds, [50, 90, 99]))
    return {
        "median": middle,
        "p90": p90,
        "p99": p99,
        "min": float(seconds.min()),
        "runs": len(seconds),
    }


def compared(
    model: CompiledModel, reference: Runtime, feeds: Mapping[str, np.ndarray]
) -> list[Difference]:
    """The differences of the outputs; ``VerificationError`` if one is too large."""
    right = reference.run(feeds)
    allowed = allowances(reference, feeds, right, TOLERANCE)
    found = model.run(feeds)
    apart = [difference(name, data, found[name]) for name, data in right.items()]
    for each in apart:
        if not each.within(allowed[each.name]):
            raise VerificationError(
                f"the answers differ, so times mean nothing: {each}",
                where=str(model.path),
                way_out=f"armlet diff {reference.path} {model.path}",
            )
    return apart


def _turn(run: Callable[[], Any], seconds: float) -> list[float]:
    clock = time.perf_counter
    run()
    times: list[float] = []
    until = clock() + seconds
    while not times or clock() < until:
        start = clock()
        run()
        times.append(clock() - start)
    time.sleep(REST)
    return times


def in_turns(
    model: CompiledModel,
    reference: Runtime,
    feeds: Mapping[str, np.ndarray],
    seconds: float,
    warmup: float,
) -> tuple[np.ndarray, np.ndarray, list[Difference]]:
    """Seconds of every run of the artifact and of the peer, and how their answers differ."""
    apart = compared(model, reference, feeds)
    peer = reference.bound(feeds)
    ours: list[float] = []
    theirs: list[float] = []

    def turns(length: float) -> None:
        until = time.perf_counter() + 2 * length
        while not ours or time.perf_counter() < until:
            part = min(TURN, length)
            ours.extend(model.benchmark(feeds, seconds=part, warmup=0).seconds)
            time.sleep(REST)
            theirs.extend(_turn(peer, part))

    turns(warmup)
    ours.clear()
    theirs.clear()
    turns(seconds)
    return np.array(ours), np.array(theirs), apart
