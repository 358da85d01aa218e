"""Compare a compiled model with its source and, where they differ, find the culprit.

The search goes from the source to the code: does the imported function mean what the model
means; which pass changed the meaning; which kernel computes something else than its group.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from armlet.artifact import CompiledModel
from armlet.compare import Difference, difference
from armlet.compiler.build import Build
from armlet.compiler.ir import Function, Var
from armlet.compiler.ops.interpreter import evaluate
from armlet.compiler.select.layouts import plain_name
from armlet.emulated import EmulatedModel
from armlet.errors import VerificationError
from armlet.reference import Arrays, Reference

#: what can be run and observed
Model = CompiledModel | EmulatedModel


def differences(
    right: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]
) -> list[Difference]:
    """One for each output, in order."""
    return [difference(name, data, found[name]) for name, data in right.items()]


def _trace(function: Function, feeds: Arrays) -> tuple[Arrays, list[np.ndarray]]:
    """Every value by name, and the results."""
    values: Arrays = {}

    def observe(var: Var, data: np.ndarray) -> None:
        values[var.name] = data

    results = evaluate(function, feeds, observe)
    return values, results


def _first_different(
    function: Function, right: Arrays, found: Arrays, tolerance: float
) -> tuple[str, Difference] | None:
    """(layer, difference) of the first value in order that both have and that differs."""
    for call in function.bindings:
        for var in call.outputs:
            if var.name in right and var.name in found:
                apart = difference(var.name, right[var.name], found[var.name])
                if not apart.within(tolerance):
                    return call.source, apart
    return None


def _results_agree(a: list[np.ndarray], b: list[np.ndarray], tolerance: float) -> bool:
    return all(difference("", x, y).within(tolerance) for x, y in zip(a, b, strict=True))


def _kernel_of(build: Build, layer: str, value: str) -> str:
    for group in build.groups:
        names = {plain_name(v.name) for c in group.calls for v in c.outputs}
        if value in names or layer in {c.source for c in group.calls}:
            return f"group {group.op_names} of layer {group.source!r}"
    return f"layer {layer!r}, which has no kernel of its own"


def find_culprit(
    build: Build, model: Model, feeds: Arrays, reference: Reference, tolerance: float
) -> str:
    """One sentence that names the first stage, group and value that went wrong."""
    imported = build.stages[0][1]
    values, results = _trace(imported, feeds)
    right = reference.run(feeds)
    if not _results_agree([right[n] for n in build.module.outputs], results, tolerance):
        found = _first_different(imported, reference.values(feeds, values), values, tolerance)
        where = f"layer {found[0]!r}, {found[1]}" if found else "no inner value differs"
        return f"the import changed the meaning of the model: {where}"
    for name, function in build.stages[1:]:
        after, new_results = _trace(function, feeds)
        if not _results_agree(results, new_results, tolerance):
            found = _first_different(function, values, after, tolerance)
            if found is None:
                return f"pass {name} changed a result, though no value that it kept"
            layer, apart = found
            return (
                f"pass {name} changed the meaning: {_kernel_of(build, layer, apart.name)}, {apart}"
            )
        values = after
    return _wrong_kernel(build, model, feeds, values, tolerance)


def _wrong_kernel(
    build: Build, model: Model, feeds: Arrays, right: Arrays, tolerance: float
) -> str:
    computed: Arrays = {}
    with model.observe(lambda name, data: computed.__setitem__(name, data.copy())):
        model.run(feeds)
    for group, task in zip(build.groups, build.plan.tasks, strict=True):
        found = computed[task.value].reshape(right[task.value].shape)
        apart = difference(task.value, right[task.value], found)
        if not apart.within(tolerance):
            template = build.plan.kernels[task.kernel].template
            return (
                f"the kernel of group {group.op_names} (layer {group.source!r}, template "
                f"{template}) computes something else: {apart}"
            )
    return "every kernel agrees with its group, but errors add up beyond the tolerance"


def verify(
    build: Build,
    model: Model,
    feeds: Arrays,
    right: Arrays,
    reference: Reference,
    allowed: Mapping[str, float],
) -> list[Difference]:
    """The differences of all outputs; ``VerificationError`` naming the culprit if one is large."""
    found = differences(right, model.run(feeds))
    wrong = [d for d in found if not d.within(allowed[d.name])]
    if wrong:
        limit = allowed[wrong[0].name]
        culprit = find_culprit(build, model, feeds, reference, limit)
        raise VerificationError(
            f"the compiled model differs from {reference.name}: {wrong[0]} "
            f"(allowed: {limit:.2g}); {culprit}",
            way_out="report this with the model; nothing was written",
        )
    return found


def verify_devices(
    model: CompiledModel,
    feeds: Arrays,
    right: Mapping[str, np.ndarray],
    allowed: Mapping[str, float],
) -> tuple[Difference, ...]:
    """As ``verify``, of a model whose regions accelerators do; the CPU alone is right already."""
    found = differences(right, model.run(feeds))
    wrong = [d for d in found if not d.within(allowed[d.name])]
    if wrong:
        names = ", ".join(f"{r.name} ({r.back_end})" for r in model.regions if r.live)
        raise VerificationError(
            f"with accelerators the model differs: {wrong[0]} (allowed: "
            f"{allowed[wrong[0].name]:.2g}); they do {names}",
            way_out="compile without --npu, or report this with the model; nothing was written",
        )
    return tuple(found)
