"""What a form is: one way to compute a call, on operands in given layouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from armlet.compiler.ir import Call, Const, TensorType, Value
from armlet.compiler.ops import Op

from .layouts import ROW_MAJOR, in_layout


@dataclass(frozen=True)
class Constant:
    """A constant that a form reads, made when the form is taken."""

    name: str
    type: TensorType
    make: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Form:
    """``op`` on the call's first operands in these layouts, then on ``constants``."""

    op: Op
    operands: tuple[int, ...]
    result: int
    constants: tuple[Constant, ...] = ()

    def operand_types(self, call: Call) -> list[TensorType]:
        given = [operand_type(v, layout) for v, layout in zip(call.operands, self.operands)]
        return [*given, *(c.type for c in self.constants)]


def is_scalar(value: Value) -> bool:
    return isinstance(value, Const) and value.type.elements == 1


def operand_type(value: Value, layout: int) -> TensorType:
    """The type of an operand in a layout; constants are broadcast to four axes first."""
    if layout == ROW_MAJOR or is_scalar(value):
        return value.type
    return in_layout(value.type.with_shape(four_axes(value.type)), layout)


def four_axes(type: TensorType) -> tuple[int, ...]:
    return (1,) * (4 - type.rank) + type.static_shape
