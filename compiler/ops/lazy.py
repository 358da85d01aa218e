"""TVM, imported at first use: commands that only look at a model start without it."""

from __future__ import annotations

import importlib
import types
from typing import Any


class _LazyModule(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


te: Any = _LazyModule("tvm.te")
tirx: Any = _LazyModule("tvm.tirx")
