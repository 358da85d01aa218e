"""Reductions of tensor expressions as loops of one work item."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import tvm_ffi

from armlet.compiler.ir import Call
from armlet.compiler.ops.lazy import tirx

from .expression import Text
from .kernel import KernelWriter


def is_reduction(tensor: Any) -> bool:
    return isinstance(tensor.op.body[tensor.value_index], tirx.Reduce)


def extent_of(axis: Any) -> int:
    return int(axis.dom.extent)


def reads_of(tensor: Any) -> int:
    """How many elements a reduction reads for one of its own."""
    count = 1
    for axis in tensor.op.body[tensor.value_index].axis:
        count *= extent_of(axis)
    return count


def reduced(writer: KernelWriter, tensor: Any, indices: Sequence[Any], call: Call) -> Any:
    """Writes the loops; the element of the reduction ``tensor`` of ``call`` at ``indices``.

    Sums of float16 are added up in float32.
    """
    code, body = writer.code, tensor.op.body[tensor.value_index]
    vector = any(isinstance(i, tirx.Var) and i.same_as(writer.lane) for i in indices)
    at = {a.var: tirx.convert(i) for a, i in zip(tensor.op.axis, indices, strict=True)}
    dtypes = [str(e.expr_ty()) for e in body.combiner.identity_element]
    sums = isinstance(body.combiner.result[0], tirx.Add)
    kept = ["float32" if sums and d == "float16" else d for d in dtypes]
    totals = []
    for dtype, identity in zip(kept, body.combiner.identity_element, strict=True):
        start = _shaped(code.print(identity.astype(dtype)), vector)
        totals.append(code.declare(start, stem="acc"))
    with ExitStack() as stack:
        for axis in body.axis:
            at[axis.var] = stack.enter_context(code.loop(extent_of(axis)))
        values = [writer.graph.substitute(s, at, call) for s in body.source]
        values = [v.astype(k) if k != d else v for v, k, d in zip(values, kept, dtypes)]
        values = [code.declare(_shaped(code.print(v), vector), constant=True) for v in values]
        names = {**dict(zip(body.combiner.lhs, totals)), **dict(zip(body.combiner.rhs, values))}
        news = [_renamed(result, names, k) for result, k in zip(body.combiner.result, kept)]
        if len(news) > 1:
            news = [code.bind(n) for n in news]
        for total, new in zip(totals, news, strict=True):
            code.line(f"{total.name} = {code.text(new)};")
    total = totals[int(body.value_index)]
    dtype = dtypes[int(body.value_index)]
    return total if str(total.expr_ty()) == dtype else total.astype(dtype)


def _shaped(text: Text, vector: bool) -> Text:
    return Text(text.widened(), text.dtype, True) if vector and not text.vector else text


def _renamed(result: Any, names: dict[Any, Any], dtype: str) -> Any:
    """A combiner's result of our variables, in our dtype."""
    if isinstance(result, tirx.Add) and str(result.expr_ty()) != dtype:
        left, right = (names[v] for v in (result.a, result.b))
        return left + right
    return tvm_ffi.structural_map(result, (tirx.Var, lambda v: names.get(v, v)))
