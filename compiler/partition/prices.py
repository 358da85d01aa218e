"""What the CPU takes for a function: the templates' estimates for its kernels, in seconds."""

from __future__ import annotations

from armlet.compiler.cpu_passes import cpu_passes
from armlet.compiler.ir import Function
from armlet.compiler.ir.group import Group
from armlet.compiler.lower.build import default_choice
from armlet.compiler.passes.chain import chain
from armlet.compiler.passes.fuse import fuse
from armlet.compiler.records import Records
from armlet.targets import Target

#: cycles in a second, of a core that has no records to tell
CLOCK = 2e9


def cpu_seconds(function: Function, target: Target, records: Records) -> float:
    """One run with all threads that are worth it; precision is the function's own."""
    for _, change in cpu_passes(function, target, records):
        function = change(function)
    return sum(
        _seconds(item, target, records)
        for item in chain(fuse(function), function, target)
        if isinstance(item, Group)
    )


def _seconds(group: Group, target: Target, records: Records) -> float:
    known = records.seconds(group.workload, target)
    if known:
        return known
    template, config = default_choice(group, target)
    cycles = template.estimate(group, target.computing(group.dtype), config)
    threads = max(1, min(target.cores, cycles / target.sharing_cycles))
    return cycles / threads / CLOCK
