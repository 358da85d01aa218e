"""ONNX models, opset 7 to 28.

``reader`` parses and checks the file, ``importer`` walks the nodes, ``normalize`` brings old
versions to the newest form, and the handlers, one file a family, make our operators. Adding
an operator is one handler in its family's file (``registry.py`` says how).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Union

import onnx

from armlet.compiler.ir import Module
from armlet.errors import ArmletError, InternalError
from armlet.frontends.report import Report

from . import (
    binary,
    constants,
    elementwise,
    linear,
    microsoft,
    microsoft_nn,
    nn,
    pool,
    quantize,
    reader,
    reduce,
    resize,
    rnn,
    shape,
)
from .importer import Importer

__all__ = [
    "binary", "check", "constants", "elementwise", "linear", "load", "microsoft", "microsoft_nn",
    "nn", "pool", "quantize", "reduce", "resize", "rnn", "shape",
]  # fmt: skip


Source = Union[str, "os.PathLike[str]", onnx.ModelProto]
Shapes = Mapping[str, Sequence[int]]


def _imported(source: Source, shapes: Shapes | None) -> Importer:
    """The walk over a model, which may be in memory already."""
    importer = None
    file = Path("<memory>") if isinstance(source, onnx.ModelProto) else Path(source)
    try:
        if isinstance(source, onnx.ModelProto):
            model = source
            reader.check_header(model, file)
        else:
            model = reader.read(file)
        importer = Importer(model, file, shapes or {})
        importer.run()
    except ArmletError:
        raise
    except Exception as error:
        node = f", node {importer.emitter.source!r}" if importer else ""
        message = f"{type(error).__name__}: {error}"
        raise InternalError(message, where=f"{file}{node}") from error
    return importer


def load(source: Source, shapes: Shapes | None = None) -> Module:
    """The model as IR; raises ``UnsupportedModelError`` with every problem."""
    return _imported(source, shapes).module()


def check(source: Source, shapes: Shapes | None = None) -> Report:
    """What becomes of every node; raises only where the file is no sound model."""
    return _imported(source, shapes).report()
