"""Progress on standard error for whatever takes more than two seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

PATIENCE = 2.0


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """A function of (stage, done, total) that draws a bar once two seconds have passed."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(), console=console, transient=True,
    )  # fmt: skip
    begun = time.monotonic()
    task = bar.add_task(title)
    shown = False

    def update(stage: str, done: int, total: int) -> None:
        nonlocal shown
        if not shown and time.monotonic() - begun > PATIENCE and console.is_terminal:
            bar.start()
            shown = True
        bar.update(task, description=f"{title}: {stage}", completed=done, total=total)

    try:
        yield update
    finally:
        if shown:
            bar.stop()
