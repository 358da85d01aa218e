"""TFLite models (LiteRT): float32, float16 weights, and quantised ones.

``reader`` parses and checks the file, ``importer`` walks the operators, and the handlers, one
file a family, make our operators (``integer`` has those of quantised tensors): on [N, C, H, W],
between transpositions, where TFLite's are on [N, H, W, C]; ``passes/sink_transposes.py`` brings
those together. Adding an operator is one handler in its family's file (``registry.py`` says how).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from armlet.compiler.ir import Module
from armlet.errors import ArmletError, InternalError
from armlet.frontends.report import Report

from . import (
    binary,
    elementwise,
    gather,
    images,
    integer,
    linear,
    reader,
    reduce,
    resize,
    rnn,
    shape,
)
from .importer import Importer

__all__ = [
    "binary", "check", "elementwise", "gather", "images", "integer", "linear", "load", "reduce",
    "resize", "rnn", "shape",
]  # fmt: skip

Shapes = Mapping[str, Sequence[int]]


def _imported(source: str | os.PathLike[str], shapes: Shapes | None) -> Importer:
    """The walk over a model."""
    importer = None
    file = Path(source)
    try:
        importer = Importer(reader.read(file), file, shapes or {})
        importer.run()
    except ArmletError:
        raise
    except Exception as error:
        node = f", node {importer.emitter.source!r}" if importer else ""
        message = f"{type(error).__name__}: {error}"
        raise InternalError(message, where=f"{file}{node}") from error
    return importer


def load(source: str | os.PathLike[str], shapes: Shapes | None = None) -> Module:
    """The model as IR; raises ``UnsupportedModelError`` with every problem."""
    return _imported(source, shapes).module()


def check(source: str | os.PathLike[str], shapes: Shapes | None = None) -> Report:
    """What becomes of every operator; raises only where the file is no sound model."""
    return _imported(source, shapes).report()
