"""Targets by name.

    FAMILY[-CORE][+EXTENSION…]     linux-arm64, android-arm64+dotprod, linux-x86_64-v3
    DEVICE[+EXTENSION…]            raspberry-pi-4, snapdragon-865
    host                           this machine

A core (or level) is what the code is tuned for and whose instructions it may use.
"""

from __future__ import annotations

import dataclasses
import difflib
import re

from armlet.errors import TargetError

from .cores import CORES
from .devices import DEVICES
from .extensions import extended
from .families import FAMILIES
from .host import best_of, host
from .target import Target


def cores_of(family: Target) -> list[Target]:
    """The family's targets for a named core."""
    return [c.on(family) for c in CORES.values() if c.fits(family)]


#: Every family, each with all its cores; devices and extensions make more.
NAMED: dict[str, Target] = {
    t.name: t for family in FAMILIES.values() for t in (family, *cores_of(family))
}


#: what an artifact of several versions has code for beside its architecture's baseline
_VERSIONS = {
    "x86_64": ("-v3", "-v4"),
    "arm64": ("+dotprod+fp16", "+dotprod+fp16+i8mm"),
    "armv7": ("+vfpv4", "+vfpv4+dotprod+fp16"),
    "riscv64": ("+zvl256b",),
}


def versions_of(family: Target) -> list[Target]:
    """Better processors that a family's artifact may meet, the best one last.

    ``TargetError`` for what is no whole family: a core or a device is one processor.
    """
    endings = _VERSIONS.get(family.architecture, ())
    if family.name not in FAMILIES or not endings:
        raise TargetError(
            f"{family} is one kind of processor, which needs one version of its kernels",
            way_out=f"use a family: {', '.join(n for n in FAMILIES)}",
        )
    return [target(family.name + ending) for ending in endings]


def of_fingerprint(fingerprint: str) -> Target | None:
    """The target that a tuning record speaks of, if there still is such a one."""
    l1, l2 = (re.search(rf"{level}=(\d+)K", fingerprint) for level in ("l1", "l2"))
    if not (l1 and l2):
        return None
    sizes = int(l1[1]) << 10, int(l2[1]) << 10
    sized = (dataclasses.replace(t, l1_bytes=sizes[0], l2_bytes=sizes[1]) for t in NAMED.values())
    return next((t for t in sized if t.fingerprint == fingerprint), None)


def described(
    system: str, architecture: str, flags: frozenset[str], part: tuple[int, ...] | None
) -> Target:
    """The most capable target of a machine that tells its features, and perhaps its core's part."""
    kind = [t for t in NAMED.values() if (t.system, t.architecture) == (system, architecture)]
    if not kind:
        raise TargetError(f"nothing can be compiled for {system} on {architecture}")
    # only x86's cores are levels, of which any that fits will do
    levels = architecture == "x86_64"
    return best_of(kind, flags, set() if levels else {part or _NO_PART})


_NO_PART = (0, 0)


def target(name: str | Target = "host") -> Target:
    """The target called ``name``; ``TargetError`` if there is none."""
    if isinstance(name, Target):
        return name
    base, *extensions = name.split("+")
    return extended(_base(base), tuple(extensions))


def _base(name: str) -> Target:
    if name == "host":
        return host(NAMED)
    if name in NAMED:
        return NAMED[name]
    if name in DEVICES:
        return DEVICES[name].target
    close = difflib.get_close_matches(name, ["host", *NAMED, *DEVICES], n=3)
    known = "use host, or one that `armlet targets` lists"
    hint = f"did you mean {' or '.join(close)}?" if close else known
    raise TargetError(f"unknown target {name!r}", way_out=hint)
