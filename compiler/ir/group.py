"""A group: the calls that share one kernel.

At most one call is the anchor (convolution, matrix product, reduction, …). Elementwise calls
of the anchor's output shape follow it; without an anchor all calls are elementwise or move
elements. A chain has *producers* as well: anchors with elementwise calls of their own, each of
which only the next one reads, so that its result need never be whole. Only the output leaves
the kernel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from .nodes import Call, Const, Value, Var
from .printer import attribute, attributes


def is_immediate(value: Value) -> bool:
    """A constant of one element is part of the code; every other one is passed by pointer."""
    return isinstance(value, Const) and value.data.size == 1


@dataclass(frozen=True, eq=False)
class Group:
    """Calls in order; the kernel takes ``inputs`` by pointer, then its one output."""

    calls: tuple[Call, ...]
    anchor: Call | None
    inputs: tuple[Value, ...]
    output: Var
    #: the anchors of a chain before ``anchor``, in order
    producers: tuple[Call, ...] = ()

    @staticmethod
    def of(
        calls: Iterable[Call],
        anchor: Call | None = None,
        output: Var | None = None,
        producers: Iterable[Call] = (),
    ) -> Group:
        """The group of some calls; its output is the last call's unless it is named."""
        calls = tuple(calls)
        made = {v for c in calls for v in c.outputs}
        operands = dict.fromkeys(v for c in calls for v in c.operands)
        inputs = tuple(v for v in operands if v not in made and not is_immediate(v))
        output = calls[-1].output if output is None else output
        return Group(calls, anchor, inputs, output, tuple(producers))

    @property
    def source(self) -> str:
        """The framework's name of the layer that the kernel does."""
        return (self.anchor or self.calls[-1]).source

    @property
    def dtype(self) -> str:
        """What the kernel computes in, as far as that decides its vectors."""
        return (self.anchor.operands[0] if self.anchor else self.output).type.dtype

    @property
    def op_names(self) -> str:
        return "+".join(c.op.name for c in self.calls)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of all calls."""
        return sum(
            c.op.macs([v.type for v in c.operands], [v.type for v in c.outputs])  # type: ignore[attr-defined]
            for c in self.calls
        )

    @cached_property
    def text(self) -> str:
        """What decides the code: structure, types, attributes and immediates, without names."""
        names: dict[Value, str] = {v: f"p{i}" for i, v in enumerate(self.inputs)}

        def name(value: Value) -> str:
            if isinstance(value, Const) and is_immediate(value):
                return f"{value.type}={attribute(value.data.ravel()[0].item())}"
            return names[value]

        lines = [", ".join(f"{names[v]}: {v.type}" for v in self.inputs)]
        for number, call in enumerate(self.calls):
            names.update((v, f"v{number}.{i}") for i, v in enumerate(call.outputs))
            types = ", ".join(str(v.type) for v in call.outputs)
            operands = ", ".join(map(name, call.operands))
            mark = "anchor " if call is self.anchor else "producer " * (call in self.producers)
            lines.append(f"{mark}{call.op.name}({operands}){attributes(call.op)} : {types}")
        return "\n".join([*lines, f"return {names[self.output]}"])

    @cached_property
    def workload(self) -> str:
        """The anchors alone, with their types: what tuning records speak of; "" without one."""
        anchors = [] if self.anchor is None else [*self.producers, self.anchor]
        return " -> ".join(map(_signature, anchors))

    def key(self, target_key: str) -> str:
        """Equal for groups that one kernel can serve on one target."""
        return hashlib.sha256(f"{target_key}\n{self.text}".encode()).hexdigest()


def _signature(call: Call) -> str:
    operands, results = (
        ", ".join(str(v.type) for v in values) for values in (call.operands, call.outputs)
    )
    return f"{call.op.name}({operands}){attributes(call.op)} : {results}"
