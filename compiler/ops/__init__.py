"""The operators: ``registry.py`` says what a record is, one file per family holds them.

``OPERATORS`` maps names to records once this package is imported. A new family is a file
and a name in the import below.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from armlet.compiler.ir import Function, parse_function

from . import (
    activation,
    arrange,
    attention,
    binary,
    blocked,
    elementwise,
    fixed_point,
    gather,
    matmul,
    nn,
    normalize,
    pool,
    quads,
    quantize,
    recurrent,
    reduce,
    resize,
    shape,
    views,
    winograd,
)
from .registry import OPERATORS, Fusion, Layout, Op, Sample, op

__all__ = [
    "OPERATORS", "Fusion", "Layout", "Op", "Sample", "activation", "arrange", "attention", "binary",
    "blocked", "elementwise", "fixed_point", "gather", "matmul", "nn", "normalize", "op", "parse",
    "pool", "quads", "quantize", "recurrent", "reduce", "resize", "shape", "views", "winograd",
]  # fmt: skip


def parse(text: str, constants: Mapping[str, np.ndarray] | None = None) -> Function:
    """The function that ``text`` describes (``compiler/ir/parser.py``)."""
    return parse_function(text, OPERATORS, constants)
