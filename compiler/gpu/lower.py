"""A region to a GPU's program: forms, groups, the steps of each, memory.

The region's parameters and results are plain float32 tensors; what lies between them is as
``schedules/opencl/storage.py`` says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from armlet.compiler.ir import Call, Function, Value, Var
from armlet.compiler.ir.group import Group
from armlet.compiler.passes import separate_results
from armlet.compiler.passes.fuse import fuse
from armlet.compiler.select.layout import in_forms
from armlet.compiler.select.transposed import expand_by
from armlet.errors import InternalError
from armlet.schedules.opencl import template_for
from armlet.schedules.opencl.kernel import Scratch, Step
from armlet.schedules.opencl.storage import Storage, texels_of
from armlet.targets.gpu import Gpu

from .forms import BLOCK, choose
from .plan import assemble
from .prices import seconds
from .program import Program


@dataclass(frozen=True)
class Lowered:
    """A region's steps in order, and where their values lie."""

    function: Function
    groups: tuple[Group, ...]
    #: those of each group
    steps: tuple[tuple[Step, ...], ...]
    storage: dict[Value | Scratch, Storage]
    #: the value whose bytes a view shows
    roots: dict[Value, Value]


def on_gpu(function: Function) -> Function:
    """The function with every call in its form on a GPU."""
    function = expand_by(function, lambda dtype: BLOCK)
    function = in_forms(function, choose(function))
    return separate_results.run(function)


def lower(function: Function, gpu: Gpu) -> Lowered:
    """``function`` as canonicalised, in the dtypes that the GPU is to compute in."""
    function = on_gpu(function)
    items = fuse(function)
    groups = tuple(item for item in items if isinstance(item, Group))
    roots: dict[Value, Value] = {}
    for item in items:
        if isinstance(item, Call):
            operand = item.operands[0]
            roots[item.output] = roots.get(operand, operand)
    storage = _storages(function, groups, roots, gpu)
    steps = tuple(_steps(group, gpu, storage) for group in groups)
    return Lowered(function, groups, steps, storage, roots)


def compile_region(function: Function, gpu: Gpu) -> Program:
    """The program of a region."""
    made = lower(function, gpu)
    return assemble(made.function, made.steps, made.roots)


def _storages(
    function: Function, groups: Iterable[Group], roots: dict[Value, Value], gpu: Gpu
) -> dict[Value | Scratch, Storage]:
    """How every value that a group reads or writes lies in memory."""
    interface = {*function.params, *function.results}
    viewed = {*roots, *roots.values()}
    found: dict[Value | Scratch, Storage] = {}
    for group in groups:
        for value in (*group.inputs, group.output):
            found[value] = _storage(value, value in interface, value in viewed, gpu)
    return found


def _storage(value: Value, interface: bool, viewed: bool, gpu: Gpu) -> Storage:
    type = value.type
    texels = type.rank == 5 and type.shape[4] == BLOCK and type.dtype in ("float32", "float16")
    if interface or not texels:
        return Storage.plain(type)
    found = texels_of(type.static_shape, type.dtype, gpu)
    image = found.image and isinstance(value, Var) and not viewed
    return replace(found, image=image)


def _steps(group: Group, gpu: Gpu, storage: dict[Value | Scratch, Storage]) -> tuple[Step, ...]:
    template = template_for(group, gpu, storage)
    try:
        config = template.default(group, gpu, storage)
        steps = tuple(template.build(group, gpu, storage, config))
    except Exception as error:
        raise InternalError(
            f"no GPU kernel for {group.op_names} by template {template.name}: {error}\n"
            f"{group.text}",
            where=group.source,
        ) from error
    share = seconds(group, gpu) / len(steps)
    return tuple(replace(step, seconds=share) for step in steps)
