"""Putting a finished file where it belongs: whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from armlet.errors import OutputError


def publish(made: Path, output: Path) -> None:
    """Copies beside ``output``, then renames: whoever opens it sees the old file or the new."""
    with writing(output) as file, made.open("rb") as source:
        shutil.copyfileobj(source, file, 1 << 20)


@contextlib.contextmanager
def writing(output: Path) -> Iterator[BinaryIO]:
    """A new file that becomes ``output`` when the block ends well, and vanishes otherwise."""
    beside = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        _check_kind(output)
        with beside.open("wb") as file:
            yield file
        os.replace(beside, output)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):
            raise _error(output, error.strerror or str(error)) from error
        raise


def check_writable(output: Path) -> None:
    """``OutputError`` now rather than after the work, where ``output`` cannot be written."""
    beside = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        _check_kind(output)
        beside.open("wb").close()
        beside.unlink()
    except OSError as error:
        raise _error(output, error.strerror or str(error)) from error


def _check_kind(output: Path) -> None:
    """A rename would replace a device, too."""
    if output.exists() and not output.is_file():
        raise OSError("there is a folder or device of that name")


def _error(output: Path, reason: str) -> OutputError:
    return OutputError(
        f"it cannot be written: {reason}",
        where=str(output),
        way_out="choose another place for the output",
    )
