"""ONNX models, opset 7 to 28.

``reader`` parses and checks the file, ``importer`` walks the nodes, ``normalize`` brings old
versions to the newest form, and the handlers, one file a family, make our operators. Adding
an operator is one handler in its family's file (``registry.py`` says how).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from armlet.compiler.ir import Module
from armlet.errors import ArmletError, InternalError, ModelFileError
from armlet.frontends.report import Report

from . import binary, constants, elementwise, linear, nn, pool, reader, reduce, resize, rnn, shape
from .importer import Importer

__all__ = [
    "binary", "check", "constants", "elementwise", "linear", "load", "nn", "pool", "reduce",
    "resize", "rnn", "shape",
]  # fmt: skip


def _imported(path: str | os.PathLike[str], shapes: Mapping[str, Sequence[int]] | None) -> Importer:
    file = Path(path)
    try:
        importer = Importer(reader.read(file), file, shapes or {})
        importer.run()
    except UnicodeDecodeError:
        raise ModelFileError("a name in the model is not UTF-8 text", where=str(file)) from None
    except ArmletError:
        raise
    except Exception as error:
        where = f"{file}, node {importer.emitter.source!r}" if "importer" in locals() else str(file)
        raise InternalError(f"{type(error).__name__}: {error}", where=where) from error
    return importer


def load(
    path: str | os.PathLike[str], shapes: Mapping[str, Sequence[int]] | None = None
) -> Module:
    """The model as IR; raises ``UnsupportedModelError`` with every problem."""
    return _imported(path, shapes).module()


def check(
    path: str | os.PathLike[str], shapes: Mapping[str, Sequence[int]] | None = None
) -> Report:
    """What becomes of every node; raises only where the file is no sound model."""
    return _imported(path, shapes).report()
