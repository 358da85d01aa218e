"""Rewriting: rules as data, applied until nothing changes; and the plumbing passes share.

A pass file keeps its rules in a ``Rules`` list:

    rules = Rules()

    @rules.add(call("mul", any_("x"), scalar("one", 1.0), commutative=True))
    def drop_multiplication_by_one(m, b):
        return m["x"]

A rule returns the value that replaces the root's only output, or None where it does not
apply after all; it makes new calls through the builder ``b``, whose source is the root's.
A new variable takes the name of the one that it replaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from .builder import Builder
from .nodes import Call, Const, Function, Value, Var
from .pattern import CallPattern, Match, match

Action = Callable[[Match, Builder], "Value | None"]

#: A rule set that still changes something after so many sweeps does not terminate.
MAX_SWEEPS = 200


@dataclass(frozen=True)
class Rule:
    pattern: CallPattern
    action: Action

    @property
    def name(self) -> str:
        return self.action.__name__


class Rules:
    """An ordered list of rewrite rules, indexed by the operator at their root."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = list(rules)

    def add(self, pattern: CallPattern) -> Callable[[Action], Action]:
        def register(action: Action) -> Action:
            self.rules.append(Rule(pattern, action))
            return action

        return register

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)


def names_of(function: Function) -> set[str]:
    """Every name that is taken in a function."""
    variables = [*function.params, *(v for c in function.bindings for v in c.outputs)]
    return {v.name for v in variables} | {c.name for c in function.constants}


class Substitution:
    """Old value -> new value, followed to its end."""

    def __init__(self) -> None:
        self._new: dict[Value, Value] = {}

    def __setitem__(self, old: Value, new: Value) -> None:
        self._new[old] = new

    def __getitem__(self, value: Value) -> Value:
        while value in self._new:
            value = self._new[value]
        return value

    def call(self, call: Call) -> Call:
        operands = tuple(self[v] for v in call.operands)
        return call if operands == call.operands else replace(call, operands=operands)


def remove_dead(function: Function) -> Function:
    """The function without the calls that no result depends on."""
    live: set[Value] = set(function.results)
    kept: list[Call] = []
    for call in reversed(function.bindings):
        if any(v in live for v in call.outputs):
            live.update(call.operands)
            kept.append(call)
    if len(kept) == len(function.bindings):
        return function
    return replace(function, bindings=tuple(reversed(kept)))


def _renamed(bindings: list[Call], old: Var, new: Value) -> tuple[list[Call], Value]:
    """Gives the freshly made variable ``new`` the name of the one it replaces."""
    for index, made in enumerate(bindings):
        if new in made.outputs:
            var = Var(old.name, new.type)
            outputs = tuple(var if v is new else v for v in made.outputs)
            swap = Substitution()
            swap[new] = var
            tail = [swap.call(c) for c in bindings[index + 1 :]]
            return [*bindings[:index], replace(made, outputs=outputs), *tail], var
    return bindings, new


def _sweep(function: Function, by_op: dict[str, list[Rule]]) -> Function:
    taken = names_of(function)
    substitution = Substitution()
    bindings: list[Call] = []
    changed = False
    for call in function.bindings:
        for rule in by_op.get(call.op.name, ()):
            found = match(rule.pattern, call, function)
            if found is None:
                continue
            builder = Builder(taken, call.source)
            new = rule.action(found, builder)
            if new is None:
                continue
            old = call.output
            if new.type != old.type:
                raise TypeError(f"rule {rule.name} turns {old.type} into {new.type}")
            made, new = _renamed(builder.bindings, old, new)
            taken |= builder._taken
            bindings += [substitution.call(c) for c in made]
            substitution[old] = new
            changed = True
            break
        else:
            bindings.append(substitution.call(call))
    if not changed:
        return function
    results = tuple(substitution[v] for v in function.results)
    return remove_dead(replace(function, bindings=tuple(bindings), results=results))


def rewrite(function: Function, rules: Rules) -> Function:
    """Applies the rules everywhere until none applies, then removes what is dead.

    Each sweep matches against the function as it was before the sweep, so a rule never
    sees a half-made graph; a chain of rewrites takes a sweep for each of its links.
    """
    by_op: dict[str, list[Rule]] = {}
    for rule in rules:
        for op in rule.pattern.ops:
            by_op.setdefault(op, []).append(rule)
    for _ in range(MAX_SWEEPS):
        new = _sweep(function, by_op)
        if new is function:
            return remove_dead(function)
        function = new
    raise RuntimeError(f"rules {[r.name for r in rules]} do not terminate")


def transform(
    function: Function, visit: Callable[[Call, Builder], Iterable[Value] | None]
) -> Function:
    """One pass from first to last: ``visit`` gets each call with its operands replaced already.

    It returns the values that take the place of the outputs, made through the builder, or
    None to keep the call.
    """
    builder = Builder(names_of(function))
    substitution = Substitution()
    for call in function.bindings:
        call = substitution.call(call)
        builder.source = call.source
        start = len(builder.bindings)
        outputs = visit(call, builder)
        if outputs is None:
            builder.bindings.append(call)
            continue
        for old, new in zip(call.outputs, outputs, strict=True):
            if not isinstance(new, Const) and new.type == old.type:
                made, new = _renamed(builder.bindings[start:], old, new)
                builder.bindings[start:] = made
            substitution[old] = new
    results = tuple(substitution[v] for v in function.results)
    return remove_dead(replace(function, bindings=tuple(builder.bindings), results=results))
