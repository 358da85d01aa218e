"""Names of values that say how they differ from the value they are named after."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TRANSPOSED = re.compile(r"@t(\d+(?:_\d+)*)$")


def transposed_name(name: str, perm: Sequence[int]) -> str:
    """What ``transpose(name) {perm=perm}`` is called: ``x@t0_3_1_2``; the name itself for none."""
    base, before = split_transposed(name)
    both = [before[axis] for axis in perm] if before else list(perm)
    if both == sorted(both):
        return base
    return f"{base}@t{'_'.join(map(str, both))}"


def split_transposed(name: str) -> tuple[str, tuple[int, ...]]:
    """The value that a transposed one is named after, and the permutation; () for none."""
    found = _TRANSPOSED.search(name)
    if not found:
        return name, ()
    return name[: found.start()], tuple(map(int, found[1].split("_")))
