"""Compute the same thing once.

    %1 = relu(%x)                        %1 = relu(%x)
    %2 = relu(%x)                        %3 = add(%1, %1)
    %3 = add(%1, %2)               ->

Constants of equal content become one, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from armlet.compiler.ir import Builder, Call, Const, Function, Value, transform
from armlet.compiler.ir.printer import content_hash


def _merge_constants(function: Function) -> Function:
    first: dict[tuple[str, str], Const] = {}
    merged: dict[Value, Value] = {}
    for const in function.constants:
        key = (str(const.type), content_hash(const.data))
        merged[const] = first.setdefault(key, const)
    if all(old is new for old, new in merged.items()):
        return function
    bindings = tuple(
        replace(c, operands=tuple(merged.get(v, v) for v in c.operands)) for c in function
    )
    results = tuple(merged.get(v, v) for v in function.results)
    return replace(function, bindings=bindings, results=results)


def run(function: Function) -> Function:
    seen: dict[object, tuple[Value, ...]] = {}

    def visit(call: Call, b: Builder) -> Iterable[Value] | None:
        key = (call.op, call.operands)
        if key in seen:
            return seen[key]
        seen[key] = call.outputs
        return None

    return transform(_merge_constants(function), visit)
