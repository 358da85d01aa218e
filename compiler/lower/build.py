"""One group to one kernel, in this process: template, loops, plain C function, object code."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import tvm

from armlet.compiler.ir.group import Group
from armlet.errors import InternalError
from armlet.schedules.cpu import template_for
from armlet.schedules.template import Config
from armlet.schedules.tensor_graph import TensorGraph
from armlet.targets import Target

from .kernel import Kernel
from .plain_c import PlainFunction, plain_c


@lru_cache(maxsize=8)
def _tvm_target(target: Target) -> Any:
    return tvm.target.Target(target.tvm)


def lowered(
    group: Group, target: Target, symbol: str = "kernel", config: Config | None = None
) -> PlainFunction:
    """The group's loops as a plain C function, by the template that suits it."""
    template = template_for(group, target)
    if config is None:
        config = template.default(group, target)
    func = template.build(TensorGraph(group), target, config)
    return plain_c(func, symbol, _tvm_target(target))


def module(func: PlainFunction, symbol: str, target: Target) -> Any:
    """LLVM's module; ``inspect_source("asm")`` shows its assembly."""
    build = tvm.get_global_func("target.build.llvm")
    return build(tvm.IRModule({symbol: func.func}), _tvm_target(target))


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


#: operations in the time that moving an element takes
_OPERATIONS_AN_ELEMENT = 12


def work_of(group: Group) -> int:
    """What a call costs, in operations: 2 x MACs, or what moving its elements costs if more."""
    moved = sum(v.type.elements for v in group.inputs)
    computed = sum(v.type.elements for c in group.calls for v in c.outputs)
    return max(2 * group.macs, _OPERATIONS_AN_ELEMENT * (moved + computed))


def build(group: Group, target: Target, key: str, config: Config | None = None) -> Kernel:
    """The kernel of a group; ``InternalError`` names the group if that fails."""
    symbol, name = f"armlet_k{key[:16]}", template_for(group, target).name
    try:
        func = lowered(group, target, symbol, config)
        code = object_code(module(func, symbol, target))
    except Exception as error:
        raise InternalError(
            f"no kernel for {group.op_names} by template {name}: {error}\n{group.text}",
            where=group.source,
        ) from error
    return Kernel(key, symbol, code, func.extent, func.scratch, name, work_of(group))
