"""Runs a function by the operators' NumPy evaluation: slow, and the meaning of the IR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from armlet.compiler.ir import Const, Function, TensorType, Value, Var

#: called with every variable as soon as it is computed
Observer = Callable[[Var, np.ndarray], None]


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
        with np.errstate(all="ignore"):
            results = call.op.evaluate(*map(take, call.operands))  # type: ignore[attr-defined]
        if not isinstance(results, tuple):
            results = (results,)
        for output, result in zip(call.outputs, results, strict=True):
            array = np.asarray(result)
            if not _fits(TensorType.of(array), output.type):
                made = TensorType.of(array)
                raise AssertionError(f"{output} is {output.type}, but {call.op.name} made {made}")
            if observe is not None:
                observe(output, array)
            if uses[output]:
                alive[output] = array
    return [take(value) for value in function.results]


def _fits(given: TensorType, wanted: TensorType) -> bool:
    """The same type; a symbolic dimension takes any size."""
    pairs = zip(given.shape, wanted.shape)
    return (
        given.dtype == wanted.dtype
        and given.rank == wanted.rank
        and all(g == w or not isinstance(w, int) for g, w in pairs)
    )
