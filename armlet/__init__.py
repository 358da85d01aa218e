"""armlet: from a trained model to one shared library that needs nothing but libc.

    model = armlet.compile("model.onnx")
    model.save("model.so")
    outputs = armlet.open("model.so").run({"x": picture})

The names below are imported at first use, so that ``import armlet`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "load": "armlet.api",
    "compile": "armlet.api",
    "open": "armlet.api",
    "check": "armlet.api",
    "device": "armlet.rpc.device",
    "CompiledModel": "armlet.artifact",
    "ArmletError": "armlet.errors",
}

__all__ = ["ArmletError", "CompiledModel", "check", "compile", "device", "load", "open"]

if TYPE_CHECKING:
    from armlet.api import check, compile, load, open
    from armlet.artifact import CompiledModel
    from armlet.errors import ArmletError
    from armlet.rpc.device import device


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'armlet' has no attribute {name!r}")
