"""Tensor types: a shape of static or named symbolic dimensions, and a dtype.

Dimensions are plain ``int`` or ``Dim``.  A ``Dim`` is either a name (``N``) or an
arithmetic expression over names, kept as canonical text, so that two dimensions are
the same exactly when their texts are.  Static arithmetic never makes a ``Dim``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Union

import numpy as np

#: dtype name -> the short name used in the text form
SHORT_NAMES = {
    "float16": "f16", "float32": "f32", "float64": "f64",
    "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
    "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64",
    "bool": "bool",
}  # fmt: skip
LONG_NAMES = {short: long for long, short in SHORT_NAMES.items()}


@dataclass(frozen=True)
class Dim:
    """A symbolic dimension: a name or an expression over names, with optional bounds."""

    text: str
    lower: int | None = field(default=None, compare=False)
    upper: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.text

    def __add__(self, other: Dimension) -> Dimension:
        return self if other == 0 else Dim(f"({self}+{other})")

    def __radd__(self, other: Dimension) -> Dimension:
        return self + other

    def __sub__(self, other: Dimension) -> Dimension:
        return 0 if other == self else self if other == 0 else Dim(f"({self}-{other})")

    def __mul__(self, other: Dimension) -> Dimension:
        return 0 if other == 0 else self if other == 1 else Dim(f"({self}*{other})")

    def __rmul__(self, other: Dimension) -> Dimension:
        return self * other

    def __floordiv__(self, other: Dimension) -> Dimension:
        return 1 if other == self else self if other == 1 else Dim(f"({self}//{other})")


Dimension = Union[int, Dim]
Shape = tuple[Dimension, ...]


@dataclass(frozen=True)
class TensorType:
    """The type of every value: ``f32[1,3,224,224]``, ``i64[]``, ``f32[N,3,H,W]``."""

    shape: Shape
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in SHORT_NAMES:
            raise ValueError(f"unknown dtype {self.dtype!r}; one of {', '.join(SHORT_NAMES)}")
        object.__setattr__(self, "shape", tuple(self.shape))

    def __str__(self) -> str:
        return f"{SHORT_NAMES[self.dtype]}[{','.join(map(str, self.shape))}]"

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        return all(isinstance(d, int) for d in self.shape)

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape as integers; ``ValueError`` where a dimension is symbolic."""
        for d in self.shape:
            if not isinstance(d, int):
                raise ValueError(f"dimension {d} of {self} is symbolic")
        return tuple(int(d) for d in self.shape)  # type: ignore[arg-type]

    @property
    def elements(self) -> int:
        return math.prod(self.static_shape)

    @property
    def bytes(self) -> int:
        return self.elements * np.dtype(self.dtype).itemsize

    def with_shape(self, shape: Iterable[Dimension]) -> TensorType:
        return TensorType(tuple(shape), self.dtype)

    def with_dtype(self, dtype: str) -> TensorType:
        return TensorType(self.shape, dtype)

    @staticmethod
    def of(array: np.ndarray) -> TensorType:
        return TensorType(tuple(int(d) for d in array.shape), array.dtype.name)
