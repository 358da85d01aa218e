"""Any group at all: TVM's schedule of its tensor expressions, with little thought of speed.

What can be inlined is; every other stage is a nest of its own, its result in scratch.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import s_tir, te, tirx
from tvm.s_tir import Schedule

from armlet.compiler.ir.group import Group
from armlet.targets import Target

from ..template import Config, Template
from ..tensor_graph import TensorGraph


class Generic(Template):
    name = "generic"

    def applies(self, group: Group, target: Target) -> bool:
        return True

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        func = te.create_prim_func(graph.compose())
        sch = Schedule(func)
        root = sch.get_sblock("root")
        blocks = sch.get_child_blocks(root)
        for block in blocks[:-1]:
            if not _reduces(sch, block):
                sch.compute_inline(block)
        blocks = sch.get_child_blocks(root)
        for block in blocks:
            _loops(sch, block, target, parallel=len(blocks) == 1)
        return _without_blocks(sch.mod)["main"]


def _without_blocks(module: Any) -> Any:
    """The schedule's blocks as plain loops."""
    t = s_tir.transform
    return tvm.ir.transform.Sequential(
        [
            t.CanonicalizeLoop(), t.LowerInitBlock(), t.PlanAndUpdateBufferAllocationLocation(),
            t.ConvertBlocksToOpaque(), t.CompactBufferAllocation(), t.LowerMatchBuffer(),
            t.StmtSimplify(), t.LowerOpaqueBlock(), tirx.transform.FlattenBuffer(),
        ]
    )(module)  # fmt: skip


def _reduces(sch: Any, block: Any) -> bool:
    return any(iv.iter_type != 0 for iv in sch.get(block).iter_vars)


def _loops(sch: Any, block: Any, target: Target, parallel: bool) -> None:
    loops, axes = sch.get_loops(block), sch.get(block).iter_vars
    if len(loops) != len(axes):
        return
    spatial = [loop for loop, axis in zip(loops, axes, strict=True) if axis.iter_type == 0]
    if parallel and len(spatial) > 1:
        sch.parallel(spatial.pop(0))
    if spatial and not _reduces(sch, block):
        size = int(sch.get(spatial[-1]).extent)
        if size % target.lanes == 0:
            sch.vectorize(sch.split(spatial[-1], [None, target.lanes])[1])
