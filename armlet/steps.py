"""Compare a quantised model with its source layer by layer: each is within one step.

Rounding is not continuous: a number that lies between two integers goes up in one order of
additions and down in another, and the layers behind amplify that. So no implementation of a
quantised model is within one step of another at its end (ONNX Runtime is not of itself, with and
without its optimiser). But each layer is: computed from what the reference's own layer reads, an
integer may be off by one, and a float by the usual tolerance, which holds where layers quantise
what they read by its range, too. Then each kernel is compared so
with its group, on what it read. What the exact evaluation of all layers differs by at the end is
the model's own sensitivity to rounding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from armlet.artifact import CompiledModel
from armlet.compare import NUDGES, difference
from armlet.compiler.build import Build
from armlet.compiler.ir import Const, Function, Value, Var
from armlet.compiler.ir.group import Group
from armlet.compiler.ir.names import split_transposed
from armlet.compiler.ops.blocked import unpack_array
from armlet.compiler.ops.interpreter import evaluate, results_of
from armlet.compiler.select.layouts import channels_of
from armlet.emulated import EmulatedModel
from armlet.errors import VerificationError
from armlet.reference import Arrays, Reference

#: the last of the passes that know nothing of the target
CANONICAL = "separate_results"
#: tensors that hold steps; int32 is for sums, which are exact
STEPPED = ("int8", "uint8", "int16", "uint16")


def _wrong(name: str, right: np.ndarray, found: np.ndarray, tolerance: float) -> str:
    """What is wrong with a value, or ""."""
    if found.dtype.name in STEPPED:
        apart = np.abs(right.astype(np.int32) - found.astype(np.int32)).max(initial=0)
        return f"{name}: {apart} steps" if apart > 1 else ""
    apart = difference(name, right, found)
    return "" if apart.within(tolerance) else str(apart)


def check_layers(
    made: Build, feeds: Mapping[str, np.ndarray], reference: Reference, tolerance: float
) -> Arrays:
    """The exact results by name; ``VerificationError`` for a layer that differs from its source."""
    function = dict(made.stages)[CANONICAL]
    compared = [v for c in function for v in c.outputs if v.type.dtype in (*STEPPED, "float32")]
    right = reference.values(feeds, [split_transposed(v.name)[0] for v in compared])
    source = {v: c.source for c in function for v in c.outputs}

    def observe(var: Var, data: np.ndarray) -> np.ndarray | None:
        name, perm = split_transposed(var.name)
        if name not in right:
            return None
        wanted = right[name].transpose(perm) if perm else right[name]
        if wanted.shape != data.shape or wanted.dtype != data.dtype:
            return None
        if wrong := _wrong(var.name, wanted, data, tolerance):
            raise VerificationError(
                f"a layer differs from {reference.name}'s, computed from the same integers: "
                f"{wrong} (allowed: 1)",
                where=source[var],
                way_out="report this with the model; nothing was written",
            )
        return wanted

    evaluate(function, feeds, observe)
    results = evaluate(function, feeds)
    return dict(zip(made.module.outputs, results, strict=True))


def allowances(allowed: Mapping[str, float], right: Arrays, own: Arrays) -> dict[str, float]:
    """``allowed``, or ``NUDGES`` times what rounding alone makes of each output, or one step."""
    found = {}
    for name, least in allowed.items():
        scale = float(np.abs(right[name].astype(np.float64)).max(initial=0)) or 1.0
        step = 1 / scale if right[name].dtype.name in STEPPED else 0.0
        rounding = NUDGES * difference(name, right[name], own[name]).relative
        found[name] = max(least, step, rounding)
    return found


def check_kernels(
    made: Build,
    model: CompiledModel | EmulatedModel,
    feeds: Mapping[str, np.ndarray],
    tolerance: float,
) -> None:
    """``VerificationError`` for a kernel that computes something else from what it read."""
    computed: Arrays = {}
    with model.observe(lambda name, data: computed.__setitem__(name, data.copy())):
        model.run(dict(feeds))
    values: dict[Value, np.ndarray] = {p: np.asarray(feeds[p.name]) for p in made.function.params}
    plain = _channels(dict(made.stages)[CANONICAL])
    for item in made.items:
        calls = item.calls if isinstance(item, Group) else (item,)
        own = dict(values)
        for call in calls:
            operands = [v.data if isinstance(v, Const) else own[v] for v in call.operands]
            own.update(zip(call.outputs, results_of(call, operands), strict=True))
        if not isinstance(item, Group):
            values.update({v: own[v] for v in item.outputs})
            continue
        name = item.output.name
        found = computed[name].reshape(item.output.type.static_shape)
        right, real = (_real(item.output, data, plain) for data in (own[item.output], found))
        if wrong := _wrong(name, right, real, tolerance):
            raise VerificationError(
                f"the kernel of group {item.op_names} computes something else from what it "
                f"read: {wrong}",
                where=item.source,
                way_out="report this with the model; nothing was written",
            )
        values[item.output] = found


def _channels(function: Function) -> dict[str, int]:
    """Of every value of four axes by name."""
    every = [*function.params, *(v for c in function for v in c.outputs)]
    return {v.name: channels_of(v.type) for v in every if v.type.rank == 4}


def _real(value: Var, data: np.ndarray, channels: Mapping[str, int]) -> np.ndarray:
    """Without the lanes beyond the channels of a blocked value, which may hold anything."""
    name = re.sub(r"(@u?int8)?(@c\d+)?$", "", value.name)
    blocked = re.search(r"@c\d+$", value.name) and data.ndim == 5
    return unpack_array(data, channels[name]) if blocked and name in channels else data
