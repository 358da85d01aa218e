"""An ONNX node whose inputs are values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from armlet.compiler.ir import Value
from armlet.frontends.operands import FreeDimension, Operand, Symbolic, Unsupported


def same(value: Value) -> Value:
    return value


@dataclass
class Node:
    """An ONNX node whose inputs are values. ``finish`` is applied to its first output."""

    operator: str
    domain: str
    version: int
    source: str
    operands: list[Operand | None]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    finish: Callable[[Value], Value] = same

    def operand(self, index: int) -> Operand | None:
        return self.operands[index] if index < len(self.operands) else None

    def value(self, index: int) -> Value:
        """An operand that must be there, and not a shape with free dimensions."""
        found = self.operand(index)
        if found is None:
            raise Unsupported(f"input {index} is missing")
        if isinstance(found, Symbolic):
            raise FreeDimension(f"its input {index} depends on", found.free)
        return found

    def set_operand(self, index: int, value: Operand | None) -> None:
        self.operands += [None] * (index + 1 - len(self.operands))
        self.operands[index] = value
