"""The machine that the compiler runs on, as a target."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Iterable, Mapping, Set
from functools import lru_cache
from pathlib import Path

from armlet.errors import TargetError

from .cores import CORES
from .extensions import EXTENSIONS, extended
from .target import Target

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_SYSTEMS = {"Linux": "linux", "Darwin": "macos"}


@lru_cache(maxsize=1)
def _cpuinfo() -> dict[str, set[str]]:
    """Key -> its values over all processors, of /proc/cpuinfo."""
    found: dict[str, set[str]] = {}
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), set()).add(value.strip())
    return found


def cpu_flags() -> frozenset[str]:
    """The features that every processor here has, by the names of /proc/cpuinfo."""
    rows = _cpuinfo().get("flags") or _cpuinfo().get("Features") or set()
    return frozenset.intersection(*(frozenset(r.split()) for r in rows)) if rows else frozenset()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_native(target: Target) -> bool:
    """Whether this machine is of the target's kind, if perhaps without some of its features."""
    here = (_SYSTEMS.get(platform.system()), platform.machine())
    return (target.system, target.machine) == here


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


def _parts() -> set[tuple[int, ...]]:
    """Implementer and part of the cores, where the system tells (Arm)."""
    makers = _cpuinfo().get("CPU implementer", set())
    return {(int(m, 16), int(p, 16)) for m in makers for p in _cpuinfo().get("CPU part", set())}


def host(named: Mapping[str, Target]) -> Target:
    """The most capable named target that this processor satisfies, with its own sizes."""
    fitting = [t for t in named.values() if is_native(t)]
    if not fitting:
        raise TargetError(
            f"no target is known for this machine ({platform.system()} on {platform.machine()})",
            way_out="name what to compile for: `armlet targets` lists it",
        )
    best = best_of(fitting, cpu_flags(), _parts())
    return dataclasses.replace(
        best,
        name="host",
        l1_bytes=_cache_bytes(1, best.l1_bytes),
        l2_bytes=_cache_bytes(2, best.l2_bytes),
        cores=cores(),
    )


def best_of(
    targets: Iterable[Target], flags: frozenset[str], parts: Set[tuple[int, ...]]
) -> Target:
    """The most capable target that a processor satisfies.

    Arm's cores do not grow by levels: there it is the target of the core that is found, or its
    family's with the extensions that are.
    """
    fitting = [t for t in targets if flags.issuperset(t.features)]
    if not fitting:
        raise TargetError(
            "this processor lacks what every target needs",
            way_out="name what to compile for: `armlet targets` lists it",
        )
    if parts:
        here = [c.name for c in CORES.values() if c.part in parts]
        mine = [t for t in fitting if any(t.name.endswith(f"-{name}") for name in here)]
        fitting = mine or [_with_extensions(fitting[0], flags)]
    return max(fitting, key=lambda t: (len(t.features), t.fma_units))


def _with_extensions(family: Target, flags: frozenset[str]) -> Target:
    rows = EXTENSIONS[family.architecture].items()
    return extended(family, tuple(n for n, e in rows if flags.issuperset(e.features)))
