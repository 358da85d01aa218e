"""What every artifact promises, read off the finished file."""

from __future__ import annotations

from pathlib import Path

from armlet.errors import InternalError

from . import formats, runtime
from .format import LinkTarget


def check_artifact(path: Path, target: LinkTarget) -> None:
    """``InternalError`` that lists every broken promise."""
    format = formats.of_triple(target.zig_triple)
    if problems := format.problems(path.read_bytes(), target, runtime.exports()):
        raise InternalError("; ".join(problems), where="the linked artifact")
