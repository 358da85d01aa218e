"""A function cut into parts that follow one another: regions, and what lies between them.

    def main(%x) {                  part 0, inputs %x, outputs %a:   %a = relu(%x)
      %a = relu(%x)                 part 1, inputs %a, outputs %b:   %b = conv2d(%a, $w)
      %b = conv2d(%a, $w)      ->
      return %b                     (a region)
    }

Passes are applied to each part by itself, so what crosses a border keeps its type, and is plain
and row-major. All parts together are a function again, in which names are unique.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from armlet.compiler.ir import Builder, Call, Const, Function, Value, Var
from armlet.compiler.passes import separate_results

R = TypeVar("R")


@dataclass(frozen=True)
class Part(Generic[R]):
    """Calls in order; what they read that others make, and what others read that they make."""

    calls: tuple[Call, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    #: whatever the part is marked with
    region: R | None = None

    @property
    def function(self) -> Function:
        params = tuple(v for v in self.inputs if isinstance(v, Var))
        return Function(params, self.calls, self.outputs)


@dataclass(frozen=True)
class Parts(Generic[R]):
    """A whole function in parts."""

    params: tuple[Var, ...]
    results: tuple[Value, ...]
    name: str
    parts: tuple[Part[R], ...]

    @property
    def function(self) -> Function:
        calls = tuple(c for part in self.parts for c in part.calls)
        return Function(self.params, calls, self.results, self.name)

    def apart(self) -> Parts[R]:
        """Each region's results in bytes of their own: no accelerator writes where it reads."""
        return self.apply(separate_results.run, lambda part: part.region is not None)

    def apply(
        self,
        change: Callable[[Function], Function],
        where: Callable[[Part[R]], bool] = lambda part: True,
    ) -> Parts[R]:
        """What a pass makes of each part of that kind."""
        if len(self.parts) == 1 and self.parts[0].region is None:
            only = change(self.function)
            part = replace(self.parts[0], calls=only.bindings, outputs=only.results)
            return replace(self, params=only.params, results=only.results, parts=(part,))
        joined = _Joined(self.params)
        changed = (change(p.function) if where(p) else p.function for p in self.parts)
        parts = tuple(map(joined.add, self.parts, changed))
        return replace(self, results=tuple(map(joined.now, self.results)), parts=parts)


class _Joined:
    """The names and values of parts that are changed one after the other."""

    def __init__(self, params: Sequence[Var]) -> None:
        self._names = Builder(p.name for p in params)
        #: what stands for the values of before, and of changed parts
        self._now: dict[Value, Value] = {}

    def now(self, value: Value) -> Value:
        return self._now.get(value, value)

    def add(self, old: Part[R], new: Function) -> Part[R]:
        inputs = tuple(map(self.now, old.inputs))
        variables = [now for was, now in zip(old.inputs, inputs) if isinstance(was, Var)]
        self._now.update(zip(new.params, variables, strict=True))
        calls = tuple(self._renamed(call) for call in new.bindings)
        outputs = tuple(map(self._operand, new.results))
        self._now.update(zip(old.outputs, outputs, strict=True))
        return replace(old, calls=calls, inputs=inputs, outputs=outputs)

    def _renamed(self, call: Call) -> Call:
        operands = tuple(map(self._operand, call.operands))
        outputs = tuple(map(self._output, call.outputs))
        return Call(call.op, operands, outputs, call.source)

    def _output(self, var: Var) -> Var:
        name = self._names.unique(var.name)
        if name == var.name:
            return var
        self._now[var] = made = Var(name, var.type)
        return made

    def _operand(self, value: Value) -> Value:
        if isinstance(value, Const) and value not in self._now:
            name = self._names.unique(value.name)
            self._now[value] = value if name == value.name else Const(name, value.data)
        return self._now.get(value, value)


def cut(function: Function, regions: Iterable[tuple[Sequence[Call], R | None]]) -> Parts[R]:
    """The parts of a function whose bindings are these calls in this order.

    Neighbours without a mark become one part; a function without a marked call is one part, with
    the function's own inputs and outputs. Those of a marked part are in the order of its calls.
    """
    groups: list[tuple[list[Call], R | None]] = []
    for calls, region in regions:
        if groups and region is None and groups[-1][1] is None:
            groups[-1][0].extend(calls)
        else:
            groups.append((list(calls), region))
    groups = groups or [([], None)]
    home: dict[Value, int] = {}
    for i, (calls, _) in enumerate(groups):
        home |= {v: i for c in calls for v in c.outputs}
    leaving = set(function.results)
    for i, (calls, _) in enumerate(groups):
        leaving.update(v for c in calls for v in c.operands if home.get(v, i) != i)
    parts = []
    for i, (calls, region) in enumerate(groups):
        read = dict.fromkeys(v for c in calls for v in c.operands if isinstance(v, Var))
        inputs = tuple(v for v in read if home.get(v) != i)
        outputs = tuple(v for c in calls for v in c.outputs if v in leaving)
        parts.append(Part(tuple(calls), inputs, outputs, region))
    if len(parts) == 1 and parts[0].region is None:
        parts = [replace(parts[0], inputs=function.params, outputs=function.results)]
    return Parts(function.params, function.results, function.name, tuple(parts))
