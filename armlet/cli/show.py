"""Tables, numbers with units and JSON on standard output."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from armlet import settings

if TYPE_CHECKING:
    from armlet.compiler.build import Progress


def as_json(document: Any) -> None:
    print(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=True))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table; columns whose name begins with ">" are numbers, aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 1000  # never wrapped, for who reads it by lines
    made = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    with console.capture() as text:
        console.print(made)
    print("\n".join(line.rstrip() for line in text.get().splitlines() if line.strip()))


def pairs(rows: Iterable[tuple[str, object]]) -> None:
    """Lines of ``name  value``."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def size(count: float) -> str:
    """``1536`` -> ``1.5 KiB``."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def number(count: float) -> str:
    """``1536000`` -> ``1.54 M``."""
    for unit in ("", " k", " M", " G"):
        if count < 1000:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.3g} T"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.4g} ms"


def shape(sizes: Sequence[object]) -> str:
    return "x".join(map(str, sizes)) or "scalar"


def working(title: str) -> AbstractContextManager[Progress]:
    """A progress bar, unless ``ARMLET_DEBUG`` prints lines where it would be."""
    from armlet.progress import progress_bar

    if settings.DEBUG.value:
        return nullcontext(lambda stage, done, total: None)
    return progress_bar(title)
