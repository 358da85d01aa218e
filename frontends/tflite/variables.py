"""Resource variables, which keep their value from run to run, as inputs and outputs of the model.

A variable ``x`` becomes an input ``x``, its value before a run, and an output ``x/next``, its value
after; whoever runs the model hands the one on as the other. What it starts with, the graph tells
that CALL_ONCE names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from armlet.compiler.ir import Const, TensorType, Value, Var
from armlet.frontends.operands import Unsupported

from .model import Tensor
from .tensors import dtype_of

#: operators on variables
OPERATORS = frozenset({"VAR_HANDLE", "CALL_ONCE", "READ_VARIABLE", "ASSIGN_VARIABLE"})


@dataclass(frozen=True)
class Handle:
    """What VAR_HANDLE makes: a variable's name."""

    name: str


@dataclass(frozen=True, eq=False)
class Kept:
    """A variable that a run changes: its output, the tensor assigned to it, what it starts with."""

    output: str
    tensor: str
    start: np.ndarray


class Variables:
    """The variables of one model while it is walked."""

    def __init__(self) -> None:
        self.starts: dict[str, np.ndarray] = {}
        self.inputs: dict[str, Var] = {}
        self.now: dict[str, Value] = {}
        self.assigned: dict[str, str] = {}
        #: whether the walk is in the graph that gives them what they start with
        self.starting = False

    def read(self, handle: Handle, into: Tensor) -> Value:
        if self.starting:
            raise Unsupported("a variable is read before it has a value")
        if handle.name not in self.now:
            if min(into.shape, default=1) < 0:
                raise Unsupported(f"the size of variable {handle.name!r} is not known")
            made = Var(handle.name, TensorType(into.shape, dtype_of(into)))
            self.inputs[handle.name] = self.now[handle.name] = made  # type: ignore[assignment]
        return self.now[handle.name]

    def assign(self, handle: Handle, value: Value, tensor: str) -> None:
        if not self.starting:
            self.now[handle.name], self.assigned[handle.name] = value, tensor
        elif isinstance(value, Const):
            self.starts[handle.name] = value.data
        else:
            raise Unsupported("what a variable starts with is computed")

    def kept(self) -> dict[str, Kept]:
        """By the input, those that were read and assigned."""
        found = {}
        for name, var in self.inputs.items():
            if name in self.assigned:
                start = self.starts.get(name, np.zeros(var.type.static_shape, var.type.dtype))
                found[name] = Kept(f"{name}/next", self.assigned[name], start)
        return found
