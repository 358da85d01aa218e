"""Putting a finished file where it belongs: whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from armlet.errors import OutputError


def publish(made: Path, output: Path) -> None:
    """Copies beside ``output``, then renames: whoever opens it sees the old file or the new."""
    beside = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(made, beside)
        os.replace(beside, output)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise OutputError(
            f"it cannot be written: {error.strerror or error}",
            where=str(output),
            way_out="choose another place for the output",
        ) from error
