"""What handlers work on: resolved operands, partly known shapes, refusals."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Union

import numpy as np

from armlet.compiler.ir import Const, Dim, Var

#: the most axes of a tensor: NumPy 1 has no more
MAX_RANK = 32


class Unsupported(Exception):
    """A node cannot be imported; becomes a ``Problem``."""

    def __init__(self, reason: str, *, attribute: str = "", way_out: str = "") -> None:
        super().__init__(reason)
        self.reason, self.attribute, self.way_out = reason, attribute, way_out


class FreeDimension(Unsupported):
    """A node cannot be imported until the sizes of some dimensions are given."""

    def __init__(self, what: str, dims: Iterable[Dim]) -> None:
        found = [name for dim in dims for name in re.findall(r"[A-Za-z_][A-Za-z0-9_.]*", dim.text)]
        #: the free dimensions of the inputs, of which ``dims`` are made
        self.names = tuple(dict.fromkeys(found))
        plural = "s" if len(self.names) > 1 else ""
        super().__init__(f"{what} the free dimension{plural} {', '.join(self.names)}")


@dataclass(frozen=True, eq=False)
class Symbolic:
    """A small integer tensor (a shape) some elements of which are free dimensions.

    ``data`` is an array of objects, each an ``int`` or a ``Dim``.
    """

    data: np.ndarray

    @property
    def free(self) -> tuple[Dim, ...]:
        return tuple(d for d in self.data.ravel() if isinstance(d, Dim))


#: what an operand may be, and what is known of it at compile time
Operand = Union[Var, Const, Symbolic]
Known = Union[Const, Symbolic]


def dimensions(known: Known) -> list[Any]:
    """A one-dimensional tensor of integers as a list of ``int`` and ``Dim``."""
    if known.data.ndim > 1 or known.data.dtype.kind not in "iuO":
        raise Unsupported(f"integers in one row expected, found {known.data.dtype} data")
    return [d if isinstance(d, Dim) else int(d) for d in known.data.ravel()]
