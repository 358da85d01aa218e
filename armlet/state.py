"""How a machine does while it measures: clocks, temperature, memory; and which cores it has."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_THERMAL = Path("/sys/class/thermal")


@dataclass(frozen=True)
class State:
    """At ``seconds`` of the machine's steady clock."""

    seconds: float
    #: °C of the hottest sensor, NaN where none tells
    temperature: float
    free_bytes: int
    #: MHz of each cluster, 0 where it does not tell
    mhz: tuple[float, ...]


@dataclass(frozen=True)
class Cluster:
    """Cores that share a clock."""

    cpus: tuple[int, ...]
    #: at most, 0 where it does not tell
    mhz: float = 0.0


def state_here() -> State:
    """This machine's."""
    degrees = [
        value / 1000
        for zone in _THERMAL.glob("thermal_zone*/temp")
        if (value := _number(zone)) is not None and 0 < value < 200_000
    ]
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    clocks = tuple((_number(p / "scaling_cur_freq") or 0) / 1000 for p in _policies())
    return State(time.monotonic(), max(degrees, default=math.nan), free, clocks or (0.0,))


def clusters_here() -> list[Cluster]:
    """Of the CPUs that this process may use, the slowest first."""
    allowed = os.sched_getaffinity(0)
    found = []
    for policy in _policies():
        cpus = {int(cpu) for cpu in (policy / "related_cpus").read_text().split()}
        if usable := tuple(sorted(cpus & allowed)):
            found.append(Cluster(usable, (_number(policy / "cpuinfo_max_freq") or 0) / 1000))
    return sorted(found, key=lambda c: c.mhz) or [Cluster(tuple(sorted(allowed)))]


def _policies() -> Iterator[Path]:
    yield from sorted(_CPUS.glob("cpufreq/policy*"))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
