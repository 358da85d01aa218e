"""Runs a function with every operator's NumPy evaluation: the meaning of the IR, executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from armlet.compiler.ir import Const, Function, Value, Var

#: called with each variable and its data as soon as it is known
Observer = Callable[[Var, np.ndarray], None]


def evaluate(
    function: Function, feeds: Mapping[str, np.ndarray], observe: Observer | None = None
) -> list[np.ndarray]:
    """The results for parameters fed by name; values are dropped after their last reader."""
    data: dict[Value, np.ndarray] = {p: feeds[p.name] for p in function.params}
    last_reader = {v: i for i, call in enumerate(function.bindings) for v in call.operands}
    kept = set(function.results)

    def of(value: Value) -> np.ndarray:
        return value.data if isinstance(value, Const) else data[value]

    for index, call in enumerate(function.bindings):
        with np.errstate(all="ignore"):
            made = call.op.evaluate(*map(of, call.operands))  # type: ignore[attr-defined]
        for var, array in zip(call.outputs, made if isinstance(made, tuple) else (made,)):
            data[var] = np.asarray(array, dtype=var.type.dtype)
            if observe:
                observe(var, data[var])
        for operand in set(call.operands):
            if last_reader[operand] == index and operand not in kept:
                data.pop(operand, None)
    return [of(v) for v in function.results]
