"""The machine that the compiler runs on, as a target."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from armlet.errors import TargetError

from .target import Target

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@lru_cache(maxsize=1)
def cpu_flags() -> frozenset[str]:
    """The features of this processor, by the names of /proc/cpuinfo."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_native(target: Target) -> bool:
    """Whether this machine is of the target's kind, if perhaps without some of its features."""
    return (target.system, target.machine) == (platform.system(), platform.machine())


def _cache_bytes(level: int, default: int) -> int:
    units = {"K": 1 << 10, "M": 1 << 20}
    for folder in _CACHES.glob("index*"):
        try:
            if (folder / "type").read_text().strip() == "Instruction":
                continue
            if int((folder / "level").read_text()) == level:
                size = (folder / "size").read_text().strip()
                return int(size[:-1]) * units[size[-1]]
        except (OSError, ValueError, KeyError):
            continue
    return default


def host(named: Mapping[str, Target]) -> Target:
    """The most capable named target that this processor satisfies, with its own sizes."""
    fitting = [t for t in named.values() if is_native(t) and cpu_flags().issuperset(t.features)]
    if not fitting:
        raise TargetError(
            f"no target is known for this machine ({platform.system()} on {platform.machine()})",
            way_out=f"name one of {', '.join(named)}",
        )
    best = max(fitting, key=lambda t: len(t.features))
    return dataclasses.replace(
        best,
        name="host",
        l1_bytes=_cache_bytes(1, best.l1_bytes),
        l2_bytes=_cache_bytes(2, best.l2_bytes),
        cores=cores(),
    )
