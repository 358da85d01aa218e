"""A compiled kernel: object code of one group with a plain C signature.

    void symbol(T0 *p0, …, Tn *pn, int32_t begin, int32_t end, void *scratch)

Pointers are the group's inputs in order, then its output. ``begin`` and ``end`` cut the
outermost parallel axis, ``[0, extent)``; ``scratch`` is an arena for each thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Kernel:
    #: content key of the group, target, template and compiler version
    key: str
    symbol: str
    #: an object file (ELF, Mach-O, wasm) that defines ``symbol``
    object: bytes
    #: extent of the parallel axis, at least 1
    extent: int
    #: bytes of scratch that a call needs, 64-byte aligned
    scratch: int
    #: name of the schedule template, for reports
    template: str
    #: threads that a call is worth, at least 1
    ways: int
    #: the template's knobs, and whether a tuning record chose them
    config: Mapping[str, int] = field(default_factory=dict)
    recorded: bool = False
