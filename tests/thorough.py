"""How many cases of a sweep are tried: a fifth of them, or all (`make slow`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
THOROUGH = "ARMLET_THOROUGH" in os.environ


def thinned(cases: Sequence[T]) -> Sequence[T]:
    """The first, the last, and every fifth between them, unless all are asked for."""
    return cases if THOROUGH else [*cases[:-1:5], *cases[-1:]]
