"""Give each reader of a ``dequantize`` one of its own.

    %f = dequantize(%x, $s, $z)            %f   = dequantize(%x, $s, $z)
    %a = add(%f, %g)                       %a   = add(%f, %g)
    %m = reduce_mean(%f)             ->    %f.1 = dequantize(%x, $s, $z)
                                           %m   = reduce_mean(%f.1)

What lies between ``dequantize`` and ``quantize`` is then a group that a back end can take whole;
on the CPU each is a part of its reader's kernel. Results keep the first.
"""

from __future__ import annotations

from dataclasses import replace

from armlet.compiler.ir import Builder, Call, Function, Value
from armlet.compiler.ir.rewriter import names_of


def unshare(function: Function) -> Function:
    builder = Builder(names_of(function))
    used: set[Value] = set(function.results)
    for call in function:
        own: dict[Value, Value] = {}
        for value in dict.fromkeys(call.operands):
            producer = function.producers.get(value)  # type: ignore[arg-type]
            if producer is None or producer.op.name != "dequantize":
                continue
            if value in used:
                own[value] = _copy(builder, producer)
            used.add(value)
        operands = tuple(own.get(v, v) for v in call.operands)
        builder.bindings.append(replace(call, operands=operands) if own else call)
    return replace(function, bindings=tuple(builder.bindings))


def _copy(builder: Builder, call: Call) -> Value:
    return builder.call(call.op, *call.operands, name=call.output.name, source=call.source)
