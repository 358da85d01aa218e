"""Back ends: accelerators that take parts of a model, one folder each.

A folder here, or an entry point of the group ``armlet.back_ends`` in any package, is a module
whose ``BACK_END`` is a ``BackEnd`` class; its name is the folder's, with hyphens for underscores,
or the entry point's. ``back_end("ethos-u:u55-128")`` is made for the chip after the colon.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable

from armlet.errors import SettingError

from .base import BackEnd, Estimate, Rejected, Supported, boundary_bytes

GROUP = "armlet.back_ends"

__all__ = ["BackEnd", "Estimate", "Rejected", "Supported", "back_end", "boundary_bytes", "known"]


def known() -> dict[str, Callable[[], type[BackEnd]]]:
    """Name -> what imports its class, for every back end there is."""

    def own(module: str) -> Callable[[], type[BackEnd]]:
        return lambda: importlib.import_module(f"{__name__}.{module}").BACK_END

    found = {
        m.name.replace("_", "-"): own(m.name) for m in pkgutil.iter_modules(__path__) if m.ispkg
    }
    for entry in importlib.metadata.entry_points(group=GROUP):
        found[entry.name] = lambda entry=entry: entry.load().BACK_END  # type: ignore[misc]
    return found


def back_end(text: str) -> BackEnd:
    """The back end of ``NAME`` or ``NAME:CHIP``; ``SettingError`` if there is none."""
    name, _, chip = text.partition(":")
    classes = known()
    if name not in classes:
        names = ", ".join(sorted(classes)) or "none"
        raise SettingError(f"there is no back end {name!r}", way_out=f"there are: {names}")
    return classes[name]()(chip)
