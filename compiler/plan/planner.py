"""From groups and kernels to a ``Plan``: tasks in order, every pointer resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from armlet.compiler.ir import Call, Const, Function, Value
from armlet.compiler.ir.group import Group
from armlet.compiler.lower.kernel import Kernel

from . import arena
from .plan import ALIGNMENT, Location, Plan, Region, RegionTasks, Space, Task, Tensor
from .storage import Storage, live_bytes, lower_bound


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
    regions: Sequence[RegionTasks] = (),
) -> Plan:
    """``items`` as ``fuse`` gave them; ``outputs`` names the function's results.

    Every result must be the output of a task and of one result only
    (``passes/separate_results.py`` sees to it).
    """
    storage = Storage(function, items, regions)
    buffers = storage.buffers()
    arena_bytes, offsets = arena.assign(list(buffers.values()))
    constants = storage.constants()
    constant_at, constant_bytes = _constant_offsets(constants)
    results = {storage.place(v)[0]: i for i, v in enumerate(function.results)}
    params = {v: i for i, v in enumerate(function.params)}

    def locate(value: Value) -> Location:
        root, offset = storage.place(value)
        if root in results:
            return Location(Space.OUTPUT, offset, results[root])
        if isinstance(root, Const):
            return Location(Space.CONSTANT, constant_at[root] + offset)
        if root in params:
            return Location(Space.INPUT, offset, params[root])
        return Location(Space.ARENA, offsets[buffers[root]] + offset)

    groups = storage.groups
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
        arena_lower_bound=lower_bound(list(buffers.values())),
        live_bytes=tuple(live_bytes(list(buffers.values()), len(tasks))),
        constants=tuple((constant_at[c], c.data) for c in constants),
        constant_bytes=constant_bytes,
        regions=tuple(
            Region(
                r.program,
                r.first_task,
                r.task_count,
                tuple(map(locate, r.inputs)),
                tuple(map(locate, r.outputs)),
            )
            for r in regions
        ),
    )
