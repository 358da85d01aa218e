"""What ``ARMLET_DEBUG`` prints on standard error while a model is compiled."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from armlet.settings import DEBUG

Progress = Callable[[str, int, int], None]


def show(level: int, text: Callable[[], str]) -> None:
    """Prints a text that is worth making only where ``ARMLET_DEBUG`` is at least ``level``."""
    if DEBUG.value >= level:
        print(text(), file=sys.stderr, flush=True)


def stages(progress: Progress) -> Progress:
    """``progress``, which at level 1 also tells how long each stage took."""
    if not DEBUG.value:
        return progress
    running, begun = "", time.perf_counter()

    def end() -> None:
        if running:
            show(1, lambda: f"[armlet] {running}: {time.perf_counter() - begun:.3f} s")

    def watch(stage: str, done: int, total: int) -> None:
        nonlocal running, begun
        if stage != running:
            end()
            running, begun = stage, time.perf_counter()
        if done >= total:
            end()
            running = ""
        progress(stage, done, total)

    return watch
