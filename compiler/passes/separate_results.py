"""Give every result storage of its own, so that kernels can write it where the caller wants.

    def main(%x: f32[2]) -> f32[2] {     %y = copy(%x)
      return %x                    ->    return %y
    }

A result needs a copy when it is a parameter, a constant, a view of either, or shows the
bytes of an earlier result.
"""

from __future__ import annotations

from dataclasses import replace

from armlet.compiler.ir import Builder, Const, Function, Value
from armlet.compiler.ir.rewriter import names_of
from armlet.compiler.ops import Fusion, Op
from armlet.compiler.ops.elementwise import Copy


def _roots(function: Function) -> dict[Value, Value]:
    roots: dict[Value, Value] = {}
    for call in function.bindings:
        if isinstance(call.op, Op) and call.op.fusion is Fusion.VIEW:
            roots[call.output] = roots.get(call.operands[0], call.operands[0])
    return roots


def run(function: Function) -> Function:
    roots, taken = _roots(function), set(function.params)
    builder = Builder(names_of(function))
    results: list[Value] = []
    for result in function.results:
        root = roots.get(result, result)
        if root in taken or isinstance(root, Const):
            producer = function.producers.get(result)  # type: ignore[arg-type]
            source = producer.source if producer else result.name
            result = builder.call(Copy(), result, name=result.name, source=source)
        else:
            taken.add(root)  # type: ignore[arg-type]
        results.append(result)
    if not builder.bindings:
        return function
    bindings = (*function.bindings, *builder.bindings)
    return replace(function, bindings=bindings, results=tuple(results))
