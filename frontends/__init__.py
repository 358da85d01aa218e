"""Front ends: a model file of any known format -> ``ir.Module``.

A format is a package here with ``load(path, shapes)`` and ``check(path, shapes)``, named in
``FORMATS``. What a file begins with decides, then its name.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from armlet.compiler.ir import Module
from armlet.errors import ModelFileError

from .report import NodeReport, Problem, Report, Status

__all__ = ["NodeReport", "Problem", "Report", "Status", "check", "format_of", "load"]

#: format -> the suffixes of its files
FORMATS = {"onnx": (".onnx", ".onx"), "tflite": (".tflite", ".lite")}
#: format -> (offset, what its files have there)
MAGIC = {"tflite": (4, b"TFL3")}

#: suffix -> what a file of a format that armlet cannot read yet is called
FOREIGN = {
    ".pb": "a TensorFlow graph",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".pdmodel": "a Paddle model",
    ".caffemodel": "a Caffe model",
    ".h5": "a Keras file",
    ".keras": "a Keras file",
    ".safetensors": "a file of weights alone",
}

Shapes = Mapping[str, Sequence[int]]


def format_of(path: str | os.PathLike[str]) -> str:
    """The name of a file's format; ``ModelFileError`` for one that is known not to be read."""
    head = _head(path)
    for format, (offset, magic) in MAGIC.items():
        if head[offset:].startswith(magic):
            return format
    name = Path(path).name.lower()
    for format, suffixes in FORMATS.items():
        if name.endswith(suffixes):
            return format
    suffix = Path(name).suffix
    if suffix in FOREIGN:
        raise ModelFileError(
            f"{FOREIGN[suffix]} cannot be read",
            where=str(path),
            way_out="export the model as ONNX or TFLite",
        )
    return "onnx"


def _head(path: str | os.PathLike[str]) -> bytes:
    """The first bytes; none where the file cannot be read, of which its front end tells."""
    try:
        with open(path, "rb") as file:
            return file.read(16)
    except (OSError, ValueError):
        return b""


def _front_end(path: str | os.PathLike[str]) -> Any:
    """The package that reads ``path``."""
    return importlib.import_module(f"{__name__}.{format_of(path)}")


def load(path: str | os.PathLike[str], shapes: Shapes | None = None) -> Module:
    """The model as IR. ``shapes`` gives inputs, by name, the shape to compile for.

    Raises ``ModelFileError``, ``ModelShapeError``, ``ExternalDataError``, or
    ``UnsupportedModelError`` with every problem found.
    """
    return _front_end(path).load(path, shapes)


def check(path: str | os.PathLike[str], shapes: Shapes | None = None) -> Report:
    """What ``load`` would do with every node; unsupported ones are told, not raised."""
    return _front_end(path).check(path, shapes)
