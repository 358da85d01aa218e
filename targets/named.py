"""The targets that have a name, and how one is found by it."""

from __future__ import annotations

import dataclasses
import difflib

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
    )
}


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
