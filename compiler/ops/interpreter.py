"""Runs a function by the operators' NumPy evaluation: slow, and the meaning of the IR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from armlet.compiler.ir import Call, Const, Function, TensorType, Value, Var

#: called with every variable as soon as it is computed; what it returns takes the value's place
Observer = Callable[[Var, np.ndarray], "np.ndarray | None"]


def evaluate(
    function: Function, feeds: Mapping[str, np.ndarray], observe: Observer | None = None
) -> list[np.ndarray]:
    """The results, in order, for parameters given by name; a dead value is freed at once.

    ``ValueError`` names the parameter that is missing or of another type.
    """
    alive: dict[Value, np.ndarray] = {}
    for param in function.params:
        given = feeds.get(param.name)
        if given is None or not _fits(TensorType.of(given), param.type):
            found = "nothing" if given is None else str(TensorType.of(given))
            raise ValueError(f"{param.name} is {param.type}, but {found} is given")
        alive[param] = given
    uses = Counter(v for call in function for v in call.operands)
    uses.update(function.results)

    def take(value: Value) -> np.ndarray:
        if isinstance(value, Const):
            return value.data
        uses[value] -= 1
        return alive[value] if uses[value] else alive.pop(value)

    for call in function:
        results = results_of(call, [take(v) for v in call.operands])
        for output, result in zip(call.outputs, results, strict=True):
            array = np.asarray(result)
            if not _fits(TensorType.of(array), output.type):
                made = TensorType.of(array)
                raise AssertionError(f"{output} is {output.type}, but {call.op.name} made {made}")
            if observe is not None:
                instead = observe(output, array)
                array = array if instead is None else instead
            if uses[output]:
                alive[output] = array
    return [take(value) for value in function.results]


def results_of(call: Call, operands: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """By the record's evaluation; float16 is calculated in float32, and then rounded."""
    wide = [o.astype(np.float32) if o.dtype == np.float16 else o for o in operands]
    with np.errstate(all="ignore"):
        results = call.op.evaluate(*wide)  # type: ignore[attr-defined]
        if not isinstance(results, tuple):
            results = (results,)
        if not any(o.dtype == np.float16 for o in operands):
            return results
        return tuple(
            np.asarray(r).astype(v.type.dtype) if v.type.dtype == "float16" else r
            for r, v in zip(results, call.outputs, strict=True)
        )


def _fits(given: TensorType, wanted: TensorType) -> bool:
    """The same type; a symbolic dimension takes any size."""
    pairs = zip(given.shape, wanted.shape)
    return (
        given.dtype == wanted.dtype
        and given.rank == wanted.rank
        and all(g == w or not isinstance(w, int) for g, w in pairs)
    )
