"""The verifier: a list of small rules that every function must keep between two passes.

Adding a rule is writing a generator of messages and naming it in ``RULES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .nodes import Const, Function, Value, Var
from .printer import call_text, reference


class VerifyError(Exception):
    """A function breaks a rule of the IR: a bug in whatever made it."""


def defined_before_use(function: Function) -> Iterator[str]:
    known: set[Value] = set(function.params)
    for call in function.bindings:
        for operand in call.operands:
            if not isinstance(operand, Const) and operand not in known:
                yield f"{reference(operand)} is used before it is defined in {call_text(call)}"
        known.update(call.outputs)
    for result in function.results:
        if not isinstance(result, Const) and result not in known:
            yield f"result {reference(result)} is never defined"


def bound_once(function: Function) -> Iterator[str]:
    seen: set[Var] = set()
    for var in [*function.params, *(v for c in function.bindings for v in c.outputs)]:
        if var in seen:
            yield f"{reference(var)} is bound twice"
        seen.add(var)


def names_differ(function: Function) -> Iterator[str]:
    seen: set[str] = set()
    for var in [*function.params, *(v for c in function.bindings for v in c.outputs)]:
        if var.name in seen:
            yield f"two variables are named {reference(var)}"
        seen.add(var.name)
    constants: dict[str, Const] = {}
    for const in function.constants:
        if constants.setdefault(const.name, const) is not const:
            yield f"two constants are named {reference(const)}"


def types_are_inferred(function: Function) -> Iterator[str]:
    for call in function.bindings:
        try:
            expected = call.op.infer([v.type for v in call.operands])
        except TypeError as error:
            yield f"{error} in {call_text(call)}"
            continue
        if tuple(v.type for v in call.outputs) != tuple(expected):
            shown = ", ".join(map(str, expected))
            yield f"type should be {shown} in {call_text(call)}"


def every_call_has_a_source(function: Function) -> Iterator[str]:
    for call in function.bindings:
        if not call.source:
            yield f"no source layer name on {call_text(call)}"


RULES: list[Callable[[Function], Iterator[str]]] = [
    defined_before_use,
    bound_once,
    names_differ,
    types_are_inferred,
    every_call_has_a_source,
]


def verify(function: Function, where: str = "") -> None:
    """Raises ``VerifyError`` with every broken rule."""
    problems = [f"{rule.__name__}: {text}" for rule in RULES for text in rule(function)]
    if problems:
        raise VerifyError("\n".join([f"invalid IR {where}".rstrip() + ":", *problems]))
