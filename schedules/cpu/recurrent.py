"""LSTM, GRU and RNN over a whole sequence in one kernel.

For one step, panels of hidden units are done in turn: each gate's sums are a vector in a
register, and the cell is applied to them there. States lie in the output, which the next
step reads, and the second state of an LSTM in scratch. Rows of the batch are independent:
they are the parallel axis. Knobs: ``rows`` of the batch that share a load of the weights,
``unroll``: sums that each gate is split into, which hides the latency of an addition.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any

from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.compiler.ops.recurrent import GruResetFirst, Recurrent
from armlet.targets import Target

from ..emit import Array, pieces
from ..loops import powers
from ..template import Config, Template
from ..tensor_graph import TensorGraph

#: cycles of a cell's activations, of one vector
CELL_CYCLES = 80
#: vectors that L2 gives in a cycle
L2_VECTORS = 0.7


class RecurrentTemplate(Template):
    name = "recurrent"

    def applies(self, group: Group, target: Target) -> bool:
        call = group.anchor
        if call is None or not isinstance(call.op, Recurrent) or len(group.calls) > 1:
            return False
        return call.output.type.dtype == "float32"

    def default(self, group: Group, target: Target) -> Config:
        return min(self.space(group, target), key=lambda c: self.estimate(group, target, c))

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        assert group.anchor is not None
        batch = group.anchor.operands[0].type.static_shape[1]
        gates = group.anchor.operands[-1].type.static_shape[2]
        for rows, unroll in itertools.product(range(1, min(batch, 8) + 1), (1, 2, 4)):
            if (rows * unroll + 1) * gates + 1 < target.vector_registers:
                yield {"rows": rows, "unroll": unroll}

    def estimate(self, group: Group, target: Target, config: Config) -> float:
        assert group.anchor is not None
        steps, batch, _ = group.anchor.operands[0].type.static_shape
        panels, depth, gates, _ = group.anchor.operands[-1].type.static_shape
        total = 0.0
        for _, rows, count in pieces(batch, config["rows"]):
            sums = rows * gates
            step = max(sums / target.fma_units, target.fma_latency / config["unroll"])
            far = 4 * panels * depth * gates * target.lanes > target.l1_bytes
            step = max(step, gates / (L2_VECTORS if far else target.load_units))
            total += count * (depth * step + rows * CELL_CYCLES + config["unroll"] * sums)
        return steps * panels * total

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        return _Writer(graph, config).write()


class _Writer:
    def __init__(self, graph: TensorGraph, config: Config) -> None:
        assert graph.group.anchor is not None
        self.graph, self.code, self.config = graph, graph.code, config
        self.anchor, op = graph.group.anchor, graph.group.anchor.op
        assert isinstance(op, Recurrent)
        self.op, self.f = op, op.functions(scalar=True)
        self.share, self.h, *self.extra, self.r = self.anchor.operands
        self.steps, self.batch, _ = self.share.type.static_shape
        self.panels, self.hidden, self.gates, self.lanes = self.r.type.static_shape

    def write(self) -> Any:
        runs = pieces(self.batch, self.config["rows"])
        with ExitStack() as stack:
            step: Any = 0
            groups = sum(count for *_, count in runs)
            if groups > 1:
                step = stack.enter_context(self.code.parallel(groups))
            self._run(runs, step)
        return self.graph.function()

    def _run(self, runs: Sequence[tuple[int, int, int]], index: Any) -> None:
        """The group number ``index`` of the batch's rows."""
        (start, rows, count), *rest = runs
        if not rest:
            self._sequence(start + index * rows, rows)
            return
        with self.code.choose(index < count) as (here, later):
            with here:
                self._sequence(start + index * rows, rows)
            with later:
                self._run(rest, index - count)

    def _sequence(self, first: Any, rows: int) -> None:
        code, op, steps = self.code, self.op, self.steps
        self.first, self.rows = code.index(first), rows
        padded = self.panels * self.lanes
        self.cells = code.scratch(rows, padded) if op.has_cell else None
        self.kept = code.scratch(rows, padded) if isinstance(op, GruResetFirst) else None
        for row, (start, width) in itertools.product(range(rows), self._spans(self.hidden)):
            with code.vector(width) as v:
                at = [self.first + row, start + v]
                begin = steps if op.reverse else 0
                code.store(self.graph.out, (begin, *at), self.graph.read(self.h, at))
            if self.cells:
                with code.vector(width) as v:
                    value = self.graph.read(self.extra[0], [self.first + row, start + v])
                    code.store(self.cells, (row, start + v), value)
        with code.loop(steps, "t") as t:
            self.time = code.index(steps - 1 - t) if op.reverse else t
            self.before, self.after = (
                (self.time + 1, self.time) if op.reverse else (self.time, self.time + 1)
            )
            if self.kept:
                self._panels(self._keep)
            self._panels(self._cell)
        for row, (start, width) in itertools.product(range(rows), self._spans(self.hidden)):
            if self.cells:
                with code.vector(width) as v:
                    last = (steps + 1, self.first + row, start + v)
                    code.store(self.graph.out, last, self.cells[row, start + v])

    def _spans(self, size: int) -> list[tuple[int, int]]:
        whole = size // self.lanes * self.lanes
        spans = [(start, self.lanes) for start in range(0, whole, self.lanes)]
        return spans + [(whole + start, width) for start, width in powers(size - whole)]

    def _panels(self, body: Callable[[Any, int], None]) -> None:
        """``body(panel, units)``; the last panel may have fewer units than lanes."""
        last = self.hidden % self.lanes
        with self.code.loop(self.hidden // self.lanes, "p") as p:
            body(p, self.lanes)
        if last:
            body(self.panels - 1, last)

    def _sums(self, panel: Any, gates: Sequence[int], state: Callable[[int, Any], Any]) -> Array:
        """state R of some gates, [row, gate, lane]."""
        code, lanes, unroll = self.code, self.lanes, self.config["unroll"]
        acc = code.registers(unroll, self.rows, len(gates), lanes)
        every = [*itertools.product(range(self.rows), range(len(gates)))]
        for u, (row, g) in itertools.product(range(unroll), every):
            with code.vector(lanes) as v:
                code.store(acc, (u, row, g, v), tirx.const(0, "float32"))

        def add(u: int, k: Any) -> None:
            for row, g in every:
                with code.vector(lanes) as v:
                    weight = self.graph.read(self.r, [panel, k, gates[g], v])
                    code.store(acc, (u, row, g, v), acc[u, row, g, v] + state(row, k) * weight)

        whole = self.hidden // unroll
        with code.loop(whole, "k") as k:
            for u in range(unroll):
                add(u, k * unroll + u)
        for k in range(whole * unroll, self.hidden):
            add(0, k)
        for u, (row, g) in itertools.product(range(1, unroll), every):
            with code.vector(lanes) as v:
                code.store(acc, (0, row, g, v), acc[0, row, g, v] + acc[u, row, g, v])
        return acc

    def _state(self, row: int, k: Any) -> Any:
        return self.graph.out[self.before, self.first + row, k]

    def _shares(self, row: int, unit: Any) -> list[Any]:
        read, at = self.graph.read, [self.time, self.first + row]
        return [read(self.share, [*at, g * self.hidden + unit]) for g in range(self.gates)]

    def _keep(self, panel: Any, units: int) -> None:
        """reset * h of a panel, for the product of the hidden gate."""
        op, code = self.op, self.code
        assert isinstance(op, GruResetFirst) and self.kept
        acc = self._sums(panel, [1], self._state)
        for row, (start, width) in itertools.product(range(self.rows), powers(units)):
            with code.vector(width) as v:
                unit = panel * self.lanes + start + v
                x, h = self._shares(row, unit), self._state(row, unit)
                value = op.kept(x, acc[0, row, 0, start + v], h, self.f)
                code.store(self.kept, (row, unit), value)

    def _cell(self, panel: Any, units: int) -> None:
        """The next states of a panel."""
        kept = self.kept
        if kept:
            sums = [self._sums(panel, [0], self._state)] * 2
            sums.append(self._sums(panel, [2], lambda row, k: kept[row, k]))
            own = [0, 0, 0]
        else:
            sums = [self._sums(panel, range(self.gates), self._state)] * self.gates
            own = [*range(self.gates)]
        for row, (start, width) in itertools.product(range(self.rows), powers(units)):
            with self.code.vector(width) as v:
                r = [a[0, row, g, start + v] for a, g in zip(sums, own, strict=True)]
                self._next(row, panel * self.lanes + start + v, r)

    def _next(self, row: int, unit: Any, r: Sequence[Any]) -> None:
        op, code = self.op, self.code
        fixed = self.extra[op.has_cell :]
        vectors = [(v, v.type.static_shape[0]) for v in fixed]
        extra = op.parts(vectors, self.hidden, lambda v, i: self.graph.read(v, [i + unit]))
        if self.cells:
            extra = [self.cells[row, unit], *extra]
        h, *cells = op.cell(self._shares(row, unit), r, self._state(row, unit), extra, self.f)
        h = code.bind(h)
        for c in cells:
            assert self.cells
            code.store(self.cells, (row, unit), c)
        code.store(self.graph.out, (self.after, self.first + row, unit), h)
