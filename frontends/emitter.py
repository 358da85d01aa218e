"""The handlers' hand: makes calls of our operators, computing at once what is constant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from armlet.compiler import ops
from armlet.compiler.ir import Builder, Call, Const, Dim, Function, TensorType, Value, Var
from armlet.compiler.ir.rewriter import remove_dead
from armlet.compiler.ops.registry import OPERATORS

from .operands import MAX_RANK, FreeDimension, Unsupported

__all__ = ["Emitter", "ops"]

#: a constant call whose result is larger (in bytes) is left to run time
FOLD_LIMIT = 1 << 28
#: the most elements of a tensor: kernels index with 32 bits
MAX_ELEMENTS = 2**31 - 1


def _checked(type: TensorType, op: str) -> TensorType:
    """The type, whose size must be within what kernels can index."""
    if type.rank > MAX_RANK:
        raise Unsupported(f"its result has {type.rank} axes; at most {MAX_RANK} are possible")
    static = [d for d in type.shape if not isinstance(d, Dim)]
    if any(d < 0 for d in static):
        raise TypeError(f"{op} would make a tensor of negative size, {type}")
    if math.prod(static) > MAX_ELEMENTS:
        raise Unsupported(f"its result {type} has more than 2^31 elements")
    return type


class Emitter:
    """Collects the calls that the nodes of one model become.

    ``source`` and ``stem`` (where new names begin) are those of the node at hand. Names are
    provisional until ``finish``; ``claim`` gives a value the name of a tensor of the model's.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.source = self.stem = ""
        self._claims: dict[Value, tuple[int, str]] = {}

    # -- calls ------------------------------------------------------------------------------------

    def call(self, op: str, *operands: Value, **attributes: Any) -> Value:
        """The result of an operator of one output; a constant where the operands are."""
        if op not in OPERATORS:
            raise Unsupported(f"the compiler has no operator {op}")
        record = OPERATORS[op](**attributes)
        (inferred,) = record.infer([v.type for v in operands])
        type = _checked(inferred, op)
        if 0 in type.shape and type.is_static:
            return self.const(np.empty(type.static_shape, type.dtype))
        known = all(isinstance(v, Const) for v in operands) and not record.late
        if known and type.bytes <= FOLD_LIMIT:
            with np.errstate(all="ignore"):
                data = np.asarray(record.evaluate(*(v.data for v in operands)))  # type: ignore[union-attr]
            if TensorType.of(data) != type:
                raise AssertionError(f"{op} evaluates to {TensorType.of(data)}, not {type}")
            return self.const(data)
        output = Var(f"{self.stem}.{op}", type)
        self.calls.append(Call(record, operands, (output,), self.source))
        return output

    def const(self, data: Any, dtype: str | None = None) -> Const:
        return Const(f"{self.stem}.const", np.asarray(data, dtype))

    def full(self, like: Value, number: float) -> Const:
        """A scalar of the dtype of ``like``."""
        return self.const(number, like.type.dtype)

    # -- shapes -----------------------------------------------------------------------------------

    def static(self, value: Value, what: str = "its shape depends on") -> tuple[int, ...]:
        """The shape of a value, no dimension of which may be free."""
        free = [d for d in value.type.shape if isinstance(d, Dim)]
        if free:
            raise FreeDimension(what, free)
        return value.type.static_shape

    def axis(self, axis: int, rank: int, attribute: str = "axis") -> int:
        """``axis`` counted from the front."""
        if not -rank <= axis < rank:
            raise Unsupported(f"axis {axis} of a tensor of {rank} axes", attribute=attribute)
        return axis % rank

    def axes(self, axes: Iterable[int], rank: int) -> tuple[int, ...]:
        """Axes counted from the front, sorted, each once."""
        found = sorted(self.axis(a, rank, "axes") for a in axes)
        if len(set(found)) != len(found):
            raise Unsupported("an axis is named twice", attribute="axes")
        return tuple(found)

    # -- calls that often vanish ------------------------------------------------------------------

    def reshape(self, x: Value, shape: Iterable[Any]) -> Value:
        shape = tuple(shape)
        return x if x.type.shape == shape else self.call("reshape", x, shape=shape)

    def transpose(self, x: Value, perm: Iterable[int]) -> Value:
        perm = tuple(perm)
        return x if perm == tuple(range(len(perm))) else self.call("transpose", x, perm=perm)

    def cast(self, x: Value, dtype: str) -> Value:
        return x if x.type.dtype == dtype else self.call("cast", x, to=dtype)

    def concat(self, parts: Sequence[Value], axis: int) -> Value:
        """The parts joined; those that are empty are left out."""
        parts = [p for p in parts if p.type.shape[axis] != 0] or parts[:1]
        return parts[0] if len(parts) == 1 else self.call("concat", *parts, axis=axis)

    def slice(self, x: Value, axis: int, start: int, size: int) -> Value:
        """``size`` elements of one axis, from ``start`` on."""
        rank = x.type.rank
        starts = tuple(start if a == axis else 0 for a in range(rank))
        sizes = tuple(size if a == axis else d for a, d in enumerate(x.type.shape))
        if sizes == x.type.shape:
            return x
        return self.call("slice", x, starts=starts, sizes=sizes, steps=(1,) * rank)

    # -- names ------------------------------------------------------------------------------------

    def claim(self, value: Value, name: str, depth: int = 0) -> None:
        """``value`` is the model's tensor ``name``; the first claim of the least depth counts."""
        if value not in self._claims or depth < self._claims[value][0]:
            self._claims[value] = depth, name

    def finish(self, params: Sequence[Var], results: Sequence[Value]) -> Function:
        """The function of the live calls, every value under its final name."""
        live = remove_dead(Function(tuple(params), tuple(self.calls), tuple(results)))
        names = self._names(params, live)

        def renamed(value: Value) -> Value:
            if value not in new:
                new[value] = replace(value, name=names[value])
            return new[value]

        new: dict[Value, Value] = {p: p for p in params}
        bindings = []
        for call in live:
            operands = tuple(map(renamed, call.operands))
            outputs = tuple(renamed(v) for v in call.outputs)
            bindings.append(replace(call, operands=operands, outputs=outputs))  # type: ignore[arg-type]
        return Function(tuple(params), tuple(bindings), tuple(map(renamed, results)))

    def _names(self, params: Sequence[Var], live: Function) -> dict[Value, str]:
        """A name for each value: the one it claims, unless a value less deep does too."""
        values = [v for c in live for v in c.outputs] + list(live.constants)
        claiming = [v for v in values if v in self._claims]
        claiming.sort(key=lambda v: self._claims[v][0])
        owner: dict[str, Value] = {p.name: p for p in params}
        for value in claiming:
            owner.setdefault(self._claims[value][1], value)
        namer = Builder(owner)
        names = {value: name for name, value in owner.items()}
        for value in values:
            if value not in names:
                names[value] = namer.unique(self._claims.get(value, (0, value.name))[1])
        return names
