"""IR nodes: values, calls, functions, modules.

A ``Function`` is a list of bindings in A-normal form: each ``Call`` applies one operator
to values that exist already and binds its outputs.  Everything is immutable and compared
by identity (structural comparison lives in ``structural.py``).  A ``Var`` keeps its name
through every pass as long as it denotes the same tensor, so that any stage of the
compiler can be compared with the source model by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Union

import numpy as np

from .types import TensorType


class Operator:
    """An operator with its attributes: a frozen dataclass whose fields are the attributes.

    The IR knows no more of an operator than this; ``compiler.ops`` says what each means.
    """

    name: ClassVar[str]

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        """The output types; ``TypeError`` with a plain sentence where operands do not fit."""
        raise NotImplementedError

    def attributes(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Var:
    """A tensor bound once: a parameter of a function or an output of a call."""

    name: str
    type: TensorType

    def __str__(self) -> str:
        return f"%{self.name}"


@dataclass(frozen=True, eq=False)
class Const:
    """A tensor known at compile time. ``data`` is C-contiguous and must not be written."""

    name: str
    data: np.ndarray

    def __post_init__(self) -> None:
        data = np.ascontiguousarray(self.data).reshape(np.shape(self.data))
        data.flags.writeable = False
        object.__setattr__(self, "data", data)

    def __str__(self) -> str:
        return f"${self.name}"

    @cached_property
    def type(self) -> TensorType:
        return TensorType.of(self.data)


Value = Union[Var, Const]


@dataclass(frozen=True, eq=False)
class Call:
    """One binding: ``outputs = op(operands)``. ``source`` is the framework's layer name."""

    op: Operator
    operands: tuple[Value, ...]
    outputs: tuple[Var, ...]
    source: str = ""

    @property
    def output(self) -> Var:
        """The only output."""
        (only,) = self.outputs
        return only


@dataclass(frozen=True, eq=False)
class Function:
    """Parameters, bindings in order, results."""

    params: tuple[Var, ...]
    bindings: tuple[Call, ...]
    results: tuple[Value, ...]
    name: str = "main"

    @cached_property
    def producers(self) -> dict[Var, Call]:
        """The call that binds each variable (parameters have none)."""
        return {out: call for call in self.bindings for out in call.outputs}

    @cached_property
    def readers(self) -> dict[Value, list[Call]]:
        """The calls that read each value, once for each operand; results are not counted."""
        found: dict[Value, list[Call]] = {}
        for call in self.bindings:
            for operand in call.operands:
                found.setdefault(operand, []).append(call)
        return found

    @cached_property
    def constants(self) -> tuple[Const, ...]:
        """Every constant that is read, in order of first use."""
        seen: dict[Const, None] = {}
        for value in [v for c in self.bindings for v in c.operands] + list(self.results):
            if isinstance(value, Const):
                seen[value] = None
        return tuple(seen)

    def has_single_reader(self, value: Value) -> bool:
        return len(self.readers.get(value, ())) == 1 and value not in self.results

    def __iter__(self) -> Iterator[Call]:
        return iter(self.bindings)


@dataclass(frozen=True)
class Module:
    """A model: its function, the names of its results, and where it came from.

    Inputs are named by the parameters of ``main``; results need names of their own because
    a result may be a parameter, a constant, or the same value twice.
    """

    main: Function
    outputs: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
