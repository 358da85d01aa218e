"""Builds bindings one at a time, inferring types and keeping names unique."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .nodes import Call, Const, Function, Operator, Value, Var
from .types import TensorType


class Builder:
    """Collects bindings for a new function.

    ``source`` is the layer name given to calls that do not name their own.
    """

    def __init__(self, taken: Iterable[str] = (), source: str = "") -> None:
        self.bindings: list[Call] = []
        self.source = source
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def unique(self, name: str) -> str:
        """``name``, or ``name.1``, ``name.2`` … where that is taken; now taken itself."""
        candidate, number = name, self._next.get(name, 0)
        while candidate in self._taken:
            number += 1
            candidate = f"{name}.{number}"
        self._next[name] = number
        self._taken.add(candidate)
        return candidate

    def param(self, name: str, type: TensorType) -> Var:
        return Var(self.unique(name), type)

    def const(self, data: np.ndarray, name: str = "c") -> Const:
        return Const(self.unique(name), data)

    def call(
        self, op: Operator, *operands: Value, name: str | None = None, source: str | None = None
    ) -> Var:
        """Binds an operator of one output and returns it; ``TypeError`` if operands misfit."""
        (output,) = self.multi(op, *operands, names=[name] if name else None, source=source)
        return output

    def multi(
        self,
        op: Operator,
        *operands: Value,
        names: Iterable[str] | None = None,
        source: str | None = None,
    ) -> tuple[Var, ...]:
        """As ``call``, for an operator of any number of outputs."""
        types = op.infer([v.type for v in operands])
        wanted = list(names) if names is not None else [op.name] * len(types)
        outputs = tuple(Var(self.unique(n), t) for n, t in zip(wanted, types, strict=True))
        call = Call(op, operands, outputs, self.source if source is None else source)
        self.bindings.append(call)
        return outputs

    def function(
        self, params: Iterable[Var], results: Iterable[Value], name: str = "main"
    ) -> Function:
        return Function(tuple(params), tuple(self.bindings), tuple(results), name)
