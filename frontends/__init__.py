"""Front ends: a model file of any known format -> ``ir.Module``.

A format is a package here with ``load(path, shapes)`` and ``check(path, shapes)``, named in
``FORMATS`` with the suffixes of its files and the function that knows its content.
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

__all__ = ["NodeReport", "Problem", "Report", "Status", "check", "load"]

#: format -> the suffixes of its files
FORMATS = {"onnx": (".onnx", ".onx")}

#: suffix -> what a file of a format that armlet cannot read yet is called
FOREIGN = {
    ".tflite": "a TensorFlow Lite model",
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


def _front_end(path: str | os.PathLike[str]) -> Any:
    """The package that reads ``path``: by its suffix, else by what it looks like."""
    name = Path(path).name.lower()
    for format, suffixes in FORMATS.items():
        if name.endswith(suffixes):
            return importlib.import_module(f"{__name__}.{format}")
    suffix = Path(name).suffix
    if suffix in FOREIGN:
        raise ModelFileError(
            f"{FOREIGN[suffix]} cannot be read",
            where=str(path),
            way_out="export the model as ONNX",
        )
    return importlib.import_module(f"{__name__}.onnx")


def load(path: str | os.PathLike[str], shapes: Shapes | None = None) -> Module:
    """The model as IR. ``shapes`` gives inputs, by name, the shape to compile for.

    Raises ``ModelFileError``, ``ModelShapeError``, ``ExternalDataError``, or
    ``UnsupportedModelError`` with every problem found.
    """
    return _front_end(path).load(path, shapes)


def check(path: str | os.PathLike[str], shapes: Shapes | None = None) -> Report:
    """What ``load`` would do with every node; unsupported ones are told, not raised."""
    return _front_end(path).check(path, shapes)
