"""Versions of kernels for better processors than the one that an artifact must meet.

Layouts and algorithms are those of the best processor, once for all, as the weights are; what is
made for each is the code of kernels (``runtime/src/instance.c`` chooses at open). A version that
saves next to nothing, or is the same code, is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from armlet.compiler.ir.group import Group
from armlet.compiler.link import formats
from armlet.compiler.lower.build import default_choice
from armlet.compiler.lower.compile import Progress, lower
from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.plan.plan import Plan, Version
from armlet.compiler.records import Records
from armlet.targets import Target

if TYPE_CHECKING:
    from armlet.compiler.build import Build

#: share of the model's time that a version must save
LEAST_GAIN = 0.001


def with_versions(
    plan: Plan,
    groups: Sequence[Group],
    base: Target,
    better: Sequence[Target],
    progress: Progress | None = None,
) -> Plan:
    """The plan with versions for ``better`` targets, the best one last.

    ``groups`` are those of the plan's tasks, in order.
    """
    slow = _cycles(groups, base)
    total = sum(slow)
    found: list[Version] = []
    latest = dict(enumerate(plan.kernels))
    for target in better:
        kernels = lower(groups, target, progress, records=Records.of(target))
        fast = _cycles(groups, target)
        gains: dict[int, float] = {}
        made: dict[int, Kernel] = {}
        for task, kernel, before, after in zip(plan.tasks, kernels, slow, fast, strict=True):
            gains[task.kernel] = gains.get(task.kernel, 0) + (before - after) / total
            made[task.kernel] = kernel
        features = tuple(f for f in target.features if f not in base.features)
        for i, kernel in made.items():
            if gains[i] >= LEAST_GAIN and _code(kernel) != _code(latest[i]):
                found.append(Version(i, kernel, target.name, features, gains[i]))
                latest[i] = kernel
    return dataclasses.replace(plan, versions=tuple(found))


def _code(kernel: Kernel) -> bytes:
    return formats.of_file(kernel.object).instructions(kernel.object)


def _cycles(groups: Sequence[Group], target: Target) -> list[float]:
    cycles = []
    for group in groups:
        template, config = default_choice(group, target)
        cycles.append(template.estimate(group, target.computing(group.dtype), config))
    return cycles


def single_versions(made: Build) -> Iterator[Build]:
    """What each of the processors runs, without versions: for checking all but the best."""
    kernels = list(made.plan.kernels)
    for target in (made.target, *made.better)[:-1]:
        for version in made.plan.versions:
            if version.target == target.name:
                kernels[version.kernel] = version.better
        plan = dataclasses.replace(made.plan, kernels=tuple(kernels), versions=())
        yield dataclasses.replace(made, plan=plan, target=target, better=())


def trimmed(plan: Plan, surplus: int) -> Plan:
    """The plan ``surplus`` bytes smaller, without the versions that save least for their bytes."""
    kept = sorted(plan.versions, key=lambda v: v.gain / len(v.better.object), reverse=True)
    while kept and surplus > 0:
        surplus -= len(_code(kept.pop().better))
    order = [v for v in plan.versions if v in kept]
    return dataclasses.replace(plan, versions=tuple(order))
