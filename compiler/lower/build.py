"""One group to one kernel, in this process: template, loops, plain C function, object code."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import tvm

from armlet.compiler.ir.group import Group
from armlet.compiler.records import Record
from armlet.errors import InternalError
from armlet.schedules.cpu import TEMPLATES, template_for
from armlet.schedules.template import Config, Template
from armlet.schedules.tensor_graph import TensorGraph
from armlet.targets import Target

from .kernel import Kernel
from .plain_c import PlainFunction, plain_c


@lru_cache(maxsize=8)
def _tvm_target(target: Target) -> Any:
    return tvm.target.Target(target.tvm)


def lowered(
    group: Group, target: Target, symbol: str = "kernel", choice: Choice | None = None
) -> PlainFunction:
    """The group's loops as a plain C function, by the template that suits it."""
    template, config = choice or default_choice(group, target)
    func = template.build(TensorGraph(group), target.computing(group.dtype), config)
    return plain_c(func, symbol, _tvm_target(target))


class Choice(NamedTuple):
    """How a group's kernel is made."""

    template: Template
    config: Config


def default_choice(group: Group, target: Target) -> Choice:
    seen = target.computing(group.dtype)
    template = template_for(group, seen)
    return Choice(template, template.default(group, seen))


def recorded_choice(group: Group, target: Target, record: Record) -> Choice | None:
    """What a record says, if its template is still the same and does this group."""
    for template in TEMPLATES:
        if (template.name, template.version) == (record.template, record.version):
            applies = template.applies(group, target.computing(group.dtype))
            return Choice(template, record.config) if applies else None
    return None


def module(func: PlainFunction, symbol: str, target: Target) -> Any:
    """LLVM's module; ``inspect_source("asm")`` shows its assembly.

    Parts are not inlined. They must not be: what TVM tells LLVM of aliasing calls the same
    buffer by another name in each function.
    """
    build, made = tvm.get_global_func("target.build.llvm"), _tvm_target(target)
    if func.parts:
        made = tvm.target.Target({**target.tvm, "cl-opt": ["-inline-instr-cost:int=10000"]})
    return build(tvm.IRModule({symbol: func.func, **func.parts}), made)


def object_code(made: Any) -> bytes:
    """LLVM writes to paths only, and aborts where a disk is full: so to memory if it can be."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("kernel.o"), "rb") as file:
            made.write_to_file(f"/proc/self/fd/{file.fileno()}", "o")
            return file.read()
    with tempfile.TemporaryDirectory(prefix="armlet-") as folder:
        path = os.path.join(folder, "kernel.o")
        made.write_to_file(path)
        return Path(path).read_bytes()


#: multiply-adds in the time that moving an element takes
_MACS_AN_ELEMENT = 6


def ways(group: Group, target: Target, extent: int) -> int:
    """Threads that a call is worth, by its arithmetic or by the elements that it moves."""
    moved = sum(v.type.elements for v in group.inputs)
    computed = sum(v.type.elements for c in group.calls for v in c.outputs)
    macs = max(group.macs, _MACS_AN_ELEMENT * (moved + computed))
    cycles = int(macs / (target.computing(group.dtype).lanes * target.fma_units))
    return max(1, min(extent, cycles // target.sharing_cycles))


def build(group: Group, target: Target, key: str, record: Record | None = None) -> Kernel:
    """The kernel of a group; ``InternalError`` names the group if that fails."""
    recorded = recorded_choice(group, target, record) if record else None
    choice = recorded or default_choice(group, target)
    return kernel_of(group, target, key, choice, recorded is not None)


def kernel_of(group: Group, target: Target, key: str, choice: Choice, recorded: bool) -> Kernel:
    """As ``build``, of a choice that is made."""
    symbol, name = f"armlet_k{key[:16]}", choice.template.name
    try:
        func = lowered(group, target, symbol, choice)
        code = object_code(module(func, symbol, target))
    except Exception as error:
        raise InternalError(
            f"no kernel for {group.op_names} by template {name}: {error}\n{group.text}",
            where=group.source,
        ) from error
    return Kernel(
        key, symbol, code, func.extent, func.scratch, name, ways(group, target, func.extent),
        dict(choice.config), recorded,
    )  # fmt: skip
