"""From groups and kernels to a ``Plan``: tasks in order, every pointer resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from armlet.compiler.ir import Call, Const, Function, Value
from armlet.compiler.ir.group import Group
from armlet.compiler.lower.kernel import Kernel

from . import arena, storage
from .plan import ALIGNMENT, Location, Plan, Space, Task, Tensor


def _constant_offsets(constants: Sequence[Const]) -> tuple[dict[Value, int], int]:
    offsets: dict[Value, int] = {}
    at = 0
    for const in constants:
        offsets[const] = at
        at += -(-const.data.nbytes // ALIGNMENT) * ALIGNMENT
    return offsets, at


def plan(
    function: Function,
    outputs: Sequence[str],
    items: Sequence[Group | Call],
    kernels: Mapping[Group, Kernel],
) -> Plan:
    """``items`` as ``fuse`` gave them; ``outputs`` names the function's results.

    Every result must be the output of a task and of one result only
    (``passes/separate_results.py`` sees to it).
    """
    roots = storage.resolve_views(items)
    buffers = storage.measure(function, items)
    storage.share_in_place(items, buffers, roots)
    distinct = list(dict.fromkeys(buffers.values()))
    arena_bytes, offsets = arena.assign(distinct)
    constants = storage.constants_of(items, roots)
    constant_at, constant_bytes = _constant_offsets(constants)
    results = {roots.get(v, v): i for i, v in enumerate(function.results)}
    params = {v: i for i, v in enumerate(function.params)}

    def locate(value: Value) -> Location:
        value = roots.get(value, value)
        if value in results:
            return Location(Space.OUTPUT, index=results[value])
        if value in params:
            return Location(Space.INPUT, index=params[value])
        if isinstance(value, Const):
            return Location(Space.CONSTANT, constant_at[value])
        return Location(Space.ARENA, offsets[buffers[value]])

    groups = [item for item in items if isinstance(item, Group)]
    unique = list({kernels[g].key: kernels[g] for g in groups}.values())
    index = {kernel.key: i for i, kernel in enumerate(unique)}
    tasks = tuple(
        Task(
            index[kernels[g].key],
            tuple(locate(v) for v in (*g.inputs, g.output)),
            g.output.name,
            g.output.type,
            g.source,
        )
        for g in groups
    )
    return Plan(
        inputs=tuple(Tensor(p.name, p.type) for p in function.params),
        outputs=tuple(Tensor(n, r.type) for n, r in zip(outputs, function.results, strict=True)),
        kernels=tuple(unique),
        tasks=tasks,
        arena_bytes=arena_bytes,
        arena_lower_bound=storage.lower_bound(distinct),
        constants=tuple((constant_at[c], c.data) for c in constants),
        constant_bytes=constant_bytes,
    )
