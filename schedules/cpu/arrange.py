"""Channels of blocked tensors in another order: whole vectors in, lanes shuffled, vectors out.

Which vectors and lanes make an output vector is known here, so that each becomes a shuffle by
constants, which LLVM turns into the permutations that a machine has.
"""

from __future__ import annotations

from typing import Any

from armlet.compiler.ir.group import Group
from armlet.compiler.ops.arrange import ArrangeBlocked
from armlet.compiler.ops.lazy import tirx
from armlet.targets import Target

from ..template import Config, Template
from ..tensor_graph import TensorGraph


class Arrange(Template):
    name = "arrange"

    def applies(self, group: Group, target: Target) -> bool:
        return group.anchor is not None and isinstance(group.anchor.op, ArrangeBlocked)

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        assert graph.group.anchor is not None
        n, held, height, width, _ = graph.group.anchor.output.type.static_shape
        code = graph.code
        with code.parallel(n * height) as p:
            b, h = code.index(p // height), code.index(p % height)
            for block in range(held):
                with code.loop(width, "w") as w:
                    _store(graph, block, (b, h, w))
        return graph.function()


def _store(graph: TensorGraph, block: int, where: tuple[Any, Any, Any]) -> None:
    """One vector of the output."""
    anchor, (b, h, w) = graph.group.anchor, where
    assert anchor is not None and isinstance(anchor.op, ArrangeBlocked)
    op, lanes = anchor.op, anchor.op.block
    vectors: dict[tuple[int, int], int] = {}
    indices, total = [], 0
    for lane in range(lanes):
        channel = min(block * lanes + lane, len(op.order) - 1)
        operand, at = op.source(channel)
        own = anchor.operands[operand].type.static_shape[4]
        if (operand, at // own) not in vectors:
            vectors[operand, at // own] = total
            total += own
        indices.append(vectors[operand, at // own] + at % own)
    loads = [_vector(graph, anchor.operands[i], (b, cb, h, w)) for i, cb in vectors]
    tile = graph.code.registers(lanes, dtype=anchor.output.type.dtype)
    shuffled = tirx.Shuffle(loads, indices) if lanes > 1 else loads[0]
    graph.code.emit(tirx.BufferStore(tile.buffer, shuffled, [_run(0, lanes)]))
    graph.known[anchor.output] = lambda *i: tile[[i[-1]]]
    with graph.code.vector(lanes) as v:
        graph.store(b, block, h, w, v)
    del graph.known[anchor.output]


def _vector(graph: TensorGraph, value: Any, where: tuple[Any, ...]) -> Any:
    array, lanes = graph.arrays[value], value.type.static_shape[4]
    return tirx.BufferLoad(array.buffer, [_run(array.at([*where, 0]), lanes)])


def _run(start: Any, lanes: int) -> Any:
    return tirx.Ramp(start, 1, lanes) if lanes > 1 else start
