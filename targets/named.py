"""The targets that have a name, and how one is found by it.

A name is a system and an architecture, then what narrows it: a level (``-v3``) or the core
that the code is tuned for and whose instructions it may use (``-cortex-a76``).
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from typing import Any

from armlet.errors import TargetError

from .host import host
from .target import Target

#: what each level of the x86-64 psABI adds, as in /proc/cpuinfo
_V2 = ("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3")
_V3 = (*_V2, "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")

_X86_64 = Target(
    name="linux-x86_64",
    triple="x86_64-linux-gnu",
    cpu="x86-64",
    attributes=(),
    zig_triple="x86_64-linux-gnu.2.17",
    features=(),
    lanes=4,
    vector_registers=16,
)

#: what any processor of Armv8.0 has, and what those of Armv8.2 here add
_V8_0 = ("fp", "asimd")
_V8_2 = (*_V8_0, "atomics", "fphp", "asimdhp", "asimdrdm", "lrcpc", "dcpop", "asimddp")

_ARM64 = Target(
    name="linux-arm64",
    triple="aarch64-linux-gnu",
    cpu="generic",
    attributes=("+neon",),
    zig_triple="aarch64-linux-gnu.2.17",
    features=_V8_0,
    lanes=4,
    vector_registers=32,
    issue_width=3,
    lane_fma=True,
)


def _cortex(cpu: str, **values: Any) -> Target:
    """A core of Arm's; figures from its Software Optimization Guide, sizes as they often are."""
    return dataclasses.replace(_ARM64, name=f"linux-arm64-{cpu}", cpu=cpu, **values)


#: Half a load each cycle: one of 128 bits holds up the issue of everything else for two.
_IN_ORDER = {
    "issue_width": 2, "in_order": True, "fma_units": 1, "fma_latency": 4, "load_units": 0.5,
}  # fmt: skip

_CORTEX = (
    _cortex(
        "cortex-a76", features=_V8_2, issue_width=4, fma_latency=2,
        l1_bytes=64 << 10, l2_bytes=512 << 10,
    ),
    _cortex("cortex-a72", fma_units=1, fma_latency=3, load_units=1, l2_bytes=1 << 20),
    _cortex(
        "cortex-a55", features=_V8_2, pairs=("load_half", "insert"), l2_bytes=128 << 10,
        **_IN_ORDER,
    ),
    _cortex("cortex-a53", l2_bytes=512 << 10, **_IN_ORDER),
)  # fmt: skip

NAMED: dict[str, Target] = {
    t.name: t
    for t in (
        _X86_64,
        dataclasses.replace(_X86_64, name="linux-x86_64-v2", cpu="x86-64-v2", features=_V2),
        dataclasses.replace(
            _X86_64, name="linux-x86_64-v3", cpu="x86-64-v3", features=_V3, lanes=8
        ),
        dataclasses.replace(
            _X86_64,
            name="linux-x86_64-v4",
            cpu="x86-64-v4",
            # LLVM avoids 512-bit registers on generic processors unless it is told
            attributes=("-prefer-256-bit",),
            features=_V4,
            lanes=16,
            vector_registers=32,
            broadcasts_from_memory=True,
            l2_bytes=1 << 20,
        ),
        _ARM64,
        *_CORTEX,
    )
}


def of_fingerprint(fingerprint: str) -> Target | None:
    """The target that a tuning record speaks of, if there still is such a one."""
    l1, l2 = (re.search(rf"{level}=(\d+)K", fingerprint) for level in ("l1", "l2"))
    if not (l1 and l2):
        return None
    sizes = int(l1[1]) << 10, int(l2[1]) << 10
    sized = (dataclasses.replace(t, l1_bytes=sizes[0], l2_bytes=sizes[1]) for t in NAMED.values())
    return next((t for t in sized if t.fingerprint == fingerprint), None)


def target(name: str | Target = "host") -> Target:
    """The target called ``name``; "host" is this machine."""
    if isinstance(name, Target):
        return name
    if name == "host":
        return host(NAMED)
    if name in NAMED:
        return NAMED[name]
    known = ["host", *NAMED]
    close = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"use one of {', '.join(known)}"
    raise TargetError(f"unknown target {name!r}", way_out=hint)
