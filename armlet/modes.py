"""Ways to time a model that tell what a phone does: cold, warm, paced, sustained, and all cores.

Each works on any ``Place``: this machine or a device. Figures are seconds, and come with clocks and
temperature, as a figure without them cannot be compared with another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from armlet.here import Place
from armlet.measure import statistics
from armlet.model import OpenModel
from armlet.state import Cluster, State

#: a machine throttles if its late runs take so much longer than the early ones, or its clock falls
#: by so much
MARGIN = 0.10
#: windows of a timeline at most, and the share of them that is early or late
WINDOWS, END = 60, 0.2
#: opened so many times for a cold time
COLD_TIMES = 5

Feeds = Callable[[OpenModel], Mapping[str, Any]]
Progress = Callable[[str, int, int], None]


def state_row(state: State) -> dict[str, Any]:
    """As JSON, which has no NaN."""
    degrees = None if math.isnan(state.temperature) else round(state.temperature, 1)
    return {"temperature": degrees, "mhz": [round(m) for m in state.mhz]}


def warm(
    model: OpenModel,
    feeds: Mapping[str, Any],
    *,
    seconds: float,
    warmup: float,
    rate: float = 0.0,
) -> dict[str, Any]:
    """Runs one after the other, or ``rate`` a second."""
    watched: list[State] = []
    found = model.benchmark(
        feeds, seconds=seconds, warmup=warmup, rate=rate,
        watch=lambda _, state: watched.append(state),
    )  # fmt: skip
    return {**statistics(found.seconds), **state_row(watched[-1])}


def cold(place: Place, path: Path, threads: int, feeds: Feeds) -> dict[str, Any]:
    """Opening and the first run, several times; the file may be in the system's memory."""
    opens, firsts = [], []
    for _ in range(COLD_TIMES):
        with place.open(path, threads=threads) as model:
            given = feeds(model)
            model.run(given)
            opens.append(model.open_seconds)
            firsts.append(model.run_seconds)
    row = {"open": statistics(np.array(opens)), "first_run": statistics(np.array(firsts))}
    return {**row, **state_row(place.state())}


def sustained(
    model: OpenModel,
    feeds: Mapping[str, Any],
    *,
    seconds: float,
    warmup: float,
    rate: float = 0.0,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Times for long, and tells how they drift."""
    parts: list[tuple[np.ndarray, State]] = []

    def watch(times: np.ndarray, state: State) -> None:
        parts.append((times, state))
        elapsed = state.seconds - parts[0][1].seconds
        progress("running", round(min(elapsed, seconds)), round(seconds))

    found = model.benchmark(feeds, seconds=seconds, warmup=warmup, rate=rate, watch=watch)
    timeline = _timeline(parts)
    return {
        **statistics(found.seconds),
        **state_row(parts[-1][1]),
        "timeline": timeline,
        "throttled": throttled(timeline),
    }


def _timeline(parts: Sequence[tuple[np.ndarray, State]]) -> list[dict[str, Any]]:
    """Windows of equal numbers of parts, each with its median and its end's state."""
    width = math.ceil(len(parts) / WINDOWS)
    begun = parts[0][1].seconds
    rows = []
    for at in range(0, len(parts), width):
        window = parts[at : at + width]
        times = np.concatenate([t for t, _ in window])
        state = window[-1][1]
        rows.append({"at": state.seconds - begun, **statistics(times), **state_row(state)})
    return rows


def throttled(timeline: Sequence[Mapping[str, Any]]) -> str:
    """How the machine has slowed down by more than ``MARGIN``; "" if it has not."""
    count = max(1, round(END * len(timeline)))
    early, late = timeline[:count], timeline[-count:]
    before, after = (float(np.median([w["median"] for w in part])) for part in (early, late))
    if after > before * (1 + MARGIN):
        return f"late runs take {after / before - 1:.0%} longer than early ones"
    for cluster, _ in enumerate(timeline[0]["mhz"]):
        first, last = (float(np.mean([w["mhz"][cluster] for w in part])) for part in (early, late))
        # slower, not only resting: the runs had all the time that there was
        if first and last < first * (1 - MARGIN):
            return f"the clock of cluster {cluster} fell from {first:.0f} to {last:.0f} MHz"
    return ""


def sweep(
    place: Place,
    path: Path,
    feeds: Feeds,
    *,
    seconds: float,
    warmup: float,
    progress: Progress = lambda stage, done, total: None,
) -> list[dict[str, Any]]:
    """A row for each cluster, and all of them together, with 1, 2, 4 … threads."""
    settings = list(_settings(place.clusters))
    rows = []
    for done, (name, cpus) in enumerate(settings):
        progress(f"{name}, {len(cpus)} threads", done, len(settings))
        with place.open(path, threads=len(cpus), cpus=cpus) as model:
            found = warm(model, feeds(model), seconds=seconds, warmup=warmup)
            row = {"cluster": name, "cpus": list(cpus), "threads": len(cpus)}
            rows.append({**row, "used_threads": model.threads, **found})
    return rows


def _settings(clusters: Sequence[Cluster]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for index, cluster in enumerate(clusters):
        clock = f" at {cluster.mhz:.0f} MHz" if cluster.mhz else ""
        yield from _counts(f"{index}: {len(cluster.cpus)} cores{clock}", cluster.cpus)
    if len(clusters) > 1:
        # the fastest first, as a model on fewer threads gets the fastest
        everyone = tuple(cpu for c in reversed(clusters) for cpu in c.cpus)
        fastest = len(clusters[-1].cpus)
        yield from (s for s in _counts("all", everyone) if len(s[1]) > fastest)


def _counts(name: str, cpus: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    count = 1
    while count < len(cpus):
        yield name, cpus[:count]
        count *= 2
    yield name, cpus
