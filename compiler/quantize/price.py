"""Which layers integers compute faster, by the costs that ``select`` goes by.

A layer by itself costs what its cheapest form does. Conversions are done in the kernels of the
neighbours, for nothing, but for one case: where layers of both kinds read a tensor, it is brought
back to floats by a kernel of its own. Layers that share an input so decide together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from armlet.compiler.ir import Builder, Function, Operator, TensorType, Value, Var
from armlet.compiler.passes import pipeline
from armlet.compiler.passes.sign_bytes import sign_bytes
from armlet.compiler.records import Records
from armlet.compiler.select.cost import Costs
from armlet.compiler.select.forms import forms
from armlet.schedules.template import moving
from armlet.targets import Target

from .insert import insert
from .layers import Layer
from .recipe import Recipe, Scaled, Weights


@dataclass(frozen=True)
class Price:
    """Cycles of a layer in floats and in integers."""

    single: float
    integer: float

    @property
    def gain(self) -> float:
        """How many times as fast integers are."""
        return self.single / self.integer if self.integer else 1.0


def prices(layers: Sequence[Layer], target: Target, records: Records) -> dict[str, Price]:
    """By the layers' names; layers of equal sizes are asked for once."""

    @cache
    def price(op: Operator, types: tuple[TensorType, ...], axis: int) -> Price:
        single, integer = _alone(op, types, axis)
        return Price(_cycles(single, target, records), _cycles(integer, target, records))

    return {
        layer.name: price(layer.call.op, tuple(v.type for v in layer.call.operands), layer.axis)
        for layer in layers
    }


def _alone(op: Operator, types: tuple[TensorType, ...], axis: int) -> tuple[Function, Function]:
    """A function of this layer only, and the same between integers."""
    x, *rest = types
    b = Builder()
    param = b.param("x", x)
    constants = [b.const(np.ones(t.static_shape, np.float32), "w") for t in rest]
    result = b.call(op, param, *constants, name="y")
    single = b.function([param], [result])
    ones = np.ones(rest[0].static_shape, np.int8)
    scale = np.ones(rest[0].static_shape[axis], np.float32)
    bias = np.ones(len(scale), np.int32) if len(rest) > 1 else None
    one = Scaled(1.0, 3)
    recipe = Recipe({"x": one, "y": one}, {"y": Weights(ones, scale, axis, bias)})
    return single, insert(single, recipe)


def _cycles(function: Function, target: Target, records: Records) -> float:
    """Of the call that does the work, in its cheapest form."""
    function = pipeline.run(function)
    if target.byte_dtype:
        function = sign_bytes(function, target.byte_dtype)
    choices = {call: forms(call, target) for call in function if _works(call)}
    costs = Costs(target, records, ((c, f) for c, found in choices.items() for f in found))
    return sum(min(costs.form(call, f) for f in found) for call, found in choices.items())


def _works(call: object) -> bool:
    return call.op.name in ("conv2d", "matmul")  # type: ignore[attr-defined]


def slower(layers: Sequence[Layer], prices: dict[str, Price], target: Target) -> dict[str, Price]:
    """The layers that are to stay in floats, as together they are faster so."""
    readers: dict[Var, list[Layer]] = defaultdict(list)
    for layer in layers:
        readers[layer.x].append(layer)
    found: dict[str, Price] = {}
    for x, group in readers.items():
        split = [layer for layer in group if prices[layer.name].gain < 1]
        if 0 < len(split) < len(group):
            split = _together(x, group, split, prices, target)
        found.update((layer.name, prices[layer.name]) for layer in split)
    return found


def _together(
    x: Value, group: list[Layer], split: list[Layer], prices: dict[str, Price], target: Target
) -> list[Layer]:
    """The cheapest of: all in integers, all in floats, and both with a copy in floats."""
    copy = moving(target, 5 * x.type.elements)

    def total(single: list[Layer]) -> float:
        both = 0 < len(single) < len(group)
        cycles = sum(
            p.single if layer in single else p.integer
            for layer in group
            for p in [prices[layer.name]]
        )
        return cycles + (copy if both else 0.0)

    return min(([], group, split), key=total)
