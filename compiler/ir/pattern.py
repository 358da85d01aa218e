"""Patterns over the graph: what a rewrite rule looks for, as data.

    conv = call("conv2d", any_("x"), const("w"), single_reader=True, bind="conv")
    pattern = call("mul", conv, const("s"), commutative=True)

Matching starts at one call and follows operands to their producers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np

from .nodes import Call, Const, Function, Value


@dataclass
class Match:
    """What a pattern found: the values and calls it named, and the function around them."""

    function: Function
    root: Call
    values: dict[str, Value] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Value:
        return self.values[name]

    def data(self, name: str) -> np.ndarray:
        """The data of a constant that the pattern bound."""
        value = self.values[name]
        assert isinstance(value, Const)
        return value.data


@dataclass(frozen=True)
class AnyValue:
    """Any value; the same name twice must be the same value."""

    name: str


@dataclass(frozen=True)
class ConstValue:
    """A constant, optionally one whose data satisfies ``where``."""

    name: str
    where: Callable[[np.ndarray], bool] | None = None


@dataclass(frozen=True)
class CallPattern:
    """A call of ``op`` (one name or several), its leading operands matching in order.

    Operands beyond the patterns given are refused unless ``more`` is set.
    """

    ops: frozenset[str]
    operands: tuple[Pattern, ...]
    bind: str | None = None
    single_reader: bool = False
    commutative: bool = False
    more: bool = False
    where: Callable[[Any], bool] | None = None


Pattern = Union[AnyValue, ConstValue, CallPattern]


def any_(name: str) -> AnyValue:
    return AnyValue(name)


def const(name: str, where: Callable[[np.ndarray], bool] | None = None) -> ConstValue:
    return ConstValue(name, where)


def scalar(name: str, value: float | None = None) -> ConstValue:
    """A constant of one element, of the given value if one is given (to float32's precision)."""

    def holds(data: np.ndarray) -> bool:
        return data.size == 1 and (
            value is None or bool(np.isclose(data.reshape(()), value, rtol=1e-6, atol=0))
        )

    return ConstValue(name, holds)


def call(op: str | tuple[str, ...], *operands: Pattern, **options: Any) -> CallPattern:
    """A ``CallPattern``; see there for the options."""
    ops = frozenset([op] if isinstance(op, str) else op)
    return CallPattern(ops, operands, **options)


def _orders(pattern: CallPattern, call: Call) -> Iterator[tuple[Value, ...]]:
    yield call.operands
    if pattern.commutative and len(call.operands) == 2:
        yield call.operands[::-1]


def _merge(match: Match, found: Match) -> None:
    match.values, match.calls = found.values, found.calls


def _match_call(pattern: CallPattern, call: Call, match: Match) -> bool:
    if call.op.name not in pattern.ops or (pattern.where and not pattern.where(call.op)):
        return False
    given, needed = len(call.operands), len(pattern.operands)
    if given < needed or (given > needed and not pattern.more):
        return False
    for operands in _orders(pattern, call):
        trial = Match(match.function, match.root, dict(match.values), dict(match.calls))
        if all(_match(p, v, trial) for p, v in zip(pattern.operands, operands)):
            if pattern.bind:
                trial.calls[pattern.bind] = call
            _merge(match, trial)
            return True
    return False


def _match(pattern: Pattern, value: Value, match: Match) -> bool:
    if isinstance(pattern, CallPattern):
        producer = match.function.producers.get(value)  # type: ignore[arg-type]
        if producer is None:
            return False
        if pattern.single_reader and not match.function.has_single_reader(value):
            return False
        return _match_call(pattern, producer, match)
    if isinstance(pattern, ConstValue):
        if not isinstance(value, Const) or (pattern.where and not pattern.where(value.data)):
            return False
    return match.values.setdefault(pattern.name, value) is value


def match(pattern: CallPattern, call: Call, function: Function) -> Match | None:
    """The match of ``pattern`` rooted at ``call``, or None."""
    found = Match(function, call)
    return found if _match_call(pattern, call, found) else None
