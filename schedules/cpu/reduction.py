"""Whatever scales or replaces elements by what is found along axes: reductions, softmax, norms.

The operators' stages are taken one after the other for one *row*, the elements that are
reduced together: each reduction ends in a register, a stage that is read twice in scratch.
Where the last axis is reduced, its elements are the lanes of a vector that is folded at the
end; else the lanes are neighbouring rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import tvm_ffi
from tvm.ir import Call as CallExpr

from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.targets import Target

from ..emit import Array, unravel
from ..loops import STEPS, cut, powers, steps_for
from ..template import Config, Template
from ..tensor_graph import TensorGraph, is_nan

#: independent accumulators, enough to hide the latency of an addition
UNROLL = 4
#: numbers of them that are worth measuring: where rows are short, fewer take less to join
UNROLLS = (1, 2, 4, 8)


def reduced_axes(group: Group) -> tuple[int, ...]:
    """The axes of the anchor's operand along which it works; empty if that is not known."""
    if group.anchor is None:
        return ()
    op: Any = group.anchor.op
    rank = group.anchor.operands[0].type.rank
    if op.name == "layer_norm":
        return tuple(range(op.axis % rank, rank))
    if op.name == "instance_norm":
        return tuple(range(2, rank))
    if op.name in ("softmax", "log_softmax", "argmax", "argmin"):
        return (op.axis % rank,)
    if op.name.startswith("reduce_"):
        return tuple(sorted({a % rank for a in op.axes}))
    return ()


class Reduction(Template):
    name = "reduction"
    version = 2

    def applies(self, group: Group, target: Target) -> bool:
        return bool(reduced_axes(group))

    def default(self, group: Group, target: Target) -> Config:
        return {"unroll": UNROLL}

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        return [{"unroll": unroll} for unroll in UNROLLS]

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        graph.simplifies = True
        _Writer(graph, target, config["unroll"]).write()
        return graph.function()


class _Writer:
    def __init__(self, graph: TensorGraph, target: Target, unroll: int) -> None:
        self.graph, self.code, self.lanes = graph, graph.code, target.lanes
        self.unroll = unroll
        anchor = graph.group.anchor
        assert anchor is not None
        self.anchor = anchor
        self.shape = anchor.operands[0].type.static_shape
        self.axes = reduced_axes(graph.group)
        self.kept = [a for a in range(len(self.shape)) if a not in self.axes]
        self.folds = len(self.shape) - 1 in self.axes or self.shape[-1] == 1
        #: reduced axes as loops; where lanes are folded, the last ones are one long row
        self.row = [self.shape[a] for a in self.axes]
        self.length = math.prod(self.row)
        #: of the row at hand: index along each kept axis, and the lane of a neighbouring row
        self.at: dict[int, Any] = {}
        self.lane: Any = 0
        self.width = 1

    def write(self) -> None:
        outer = self.kept if self.folds else self.kept[:-1]
        sizes = [self.shape[a] for a in outer]
        if not self.folds and math.prod(sizes) < STEPS and self.shape[-1] >= self.lanes * STEPS:
            self._across(outer)
            return
        taken = cut(sizes, steps_for(math.prod(self.shape)))
        steps = math.prod(sizes[:taken])
        with ExitStack() as stack:
            p = stack.enter_context(self.code.parallel(steps)) if steps > 1 else 0
            indices = unravel(p, sizes[:taken])
            indices += [stack.enter_context(self.code.loop(n)) for n in sizes[taken:]]
            self.at = dict(zip(outer, indices, strict=True))
            self._one() if self.folds else self._rows()

    def _across(self, outer: Sequence[int]) -> None:
        """There is little but neighbouring rows: they are the parallel axis."""
        last, size = self.kept[-1], self.shape[-1]
        with ExitStack() as stack:
            p = stack.enter_context(self.code.parallel(size // self.lanes))
            for a in outer:
                self.at[a] = stack.enter_context(self.code.loop(self.shape[a]))
            self.at[last], self.width = p * self.lanes, self.lanes
            self._one()
            if size % self.lanes:
                with self.code.when(p == 0):
                    self._tail(size // self.lanes * self.lanes)

    def _rows(self) -> None:
        """Neighbouring rows as lanes."""
        last, size = self.kept[-1], self.shape[-1]
        if size // self.lanes:
            self.width = self.lanes
            with self.code.loop(size // self.lanes) as i:
                self.at[last] = i * self.lanes
                self._one()
        self._tail(size // self.lanes * self.lanes)

    def _tail(self, first: int) -> None:
        for start, width in powers(self.shape[-1] - first):
            self.width = width
            self.at[self.kept[-1]] = first + start
            self._one()

    def _one(self) -> None:
        """Every stage for one row, or for ``width`` neighbouring rows; then the results."""
        *stages, final = self._stages()
        for op in stages:
            self._stage(op)
        if _is_reduction(final):
            self._reduce(final)
        if self.graph.group.output.type.elements == math.prod(self.shape[a] for a in self.kept):
            with self._lanes():
                self.graph.store(*self._kept_index(self.graph.group.output.type.rank))
        else:
            self._each(lambda r: self.graph.store(*self._index(r)))
        for op in [*stages, final]:
            self.graph.staged.pop(op, None)

    # -- stages ---------------------------------------------------------------------------------

    def _stages(self) -> list[Any]:
        """The anchor's tensor operations, producers first, without the placeholders."""
        operands, (result,) = self.graph.stage(self.anchor)
        found: list[Any] = []

        def visit(op: Any) -> None:
            if op in operands or op in found:
                return
            for tensor in op.input_tensors:
                visit(tensor.op)
            found.append(op)

        visit(result.op)
        self.readers = {o: sum(o in [t.op for t in s.input_tensors] for s in found) for o in found}
        return found

    def _stage(self, op: Any) -> None:
        if _is_reduction(op):
            self._reduce(op)
        elif math.prod(int(n) for n in op.output(0).shape) < math.prod(self.shape):
            self._keep(op)
        elif self.readers[op] > 1:
            self._materialize(op)

    def _keep(self, op: Any) -> None:
        """A stage of one element a row."""
        held = self.code.registers(self.width, dtype=str(op.output(0).dtype))
        with self._lanes():
            value = self.graph.inline(op.output(0), self._kept_index(len(op.axis)), self.anchor)
            self.code.store(held, [self.lane], value)
        self.graph.staged[op] = lambda *_: held[[self.lane]]

    def _materialize(self, op: Any) -> None:
        """A stage of whole rows that later ones read more than once."""
        row = self.code.scratch(self.length, self.width, dtype=str(op.output(0).dtype))

        def place(index: Sequence[Any]) -> Any:
            flat: Any = 0
            for a in self.axes:
                flat = flat * self.shape[a] + index[a]
            return self.code.simple(row.at([flat, self.lane]))

        def store(r: Any) -> None:
            index = self._index(r)
            value = self.graph.inline(op.output(0), index, self.anchor)
            self.code.store_at(row, place(index), value)

        self._each(store)
        self.graph.staged[op] = lambda *i: tirx.BufferLoad(row.buffer, [place(i)])

    # -- indices --------------------------------------------------------------------------------

    def _lanes(self) -> Any:
        """A vector of the neighbouring rows."""
        writer = self

        class Lanes(ExitStack):
            def __enter__(self) -> Any:
                writer.lane = self.enter_context(writer.code.vector(writer.width))
                return self

            def __exit__(self, *details: Any) -> Any:
                writer.lane = 0
                return super().__exit__(*details)

        return Lanes()

    def _index(self, r: Any) -> list[Any]:
        """The index of element ``r`` of the row at hand."""
        reduced = dict(zip(self.axes, unravel(r, self.row), strict=True))
        return [reduced[a] if a in reduced else self._along(a) for a in range(len(self.shape))]

    def _along(self, axis: int) -> Any:
        shifted = not self.folds and axis == self.kept[-1]
        return self.at[axis] + self.lane if shifted else self.at[axis]

    def _kept_index(self, rank: int) -> list[Any]:
        """The index of what stands for the row, with or without the reduced axes."""
        if rank == len(self.shape):
            return [0 if a in self.axes else self._along(a) for a in range(rank)]
        return [self._along(a) for a in self.kept] or [0] * rank

    def _each(self, body: Callable[[Any], None]) -> None:
        """``body(r)`` for each element of the row, in vectors."""
        if self.folds:
            for start, count, width in _spans(self.length, self.lanes):
                with self.code.loop(count) as i, self.code.vector(width) as v:
                    body(start + i * width + v)
            return
        with self.code.loop(self.length) as r, self._lanes():
            body(r)

    # -- reductions -----------------------------------------------------------------------------

    def _reduce(self, op: Any) -> None:
        """A reduction of the row: to one element, or to ``width`` of them."""
        body, dtype = op.body[0], str(op.output(0).dtype)
        lanes = self.lanes if self.folds else self.width
        step = lanes if self.folds else 1
        unroll = self.unroll if self.length >= 2 * self.unroll * step else 1
        acc = self.code.registers(unroll, lanes, dtype=dtype)
        for u in range(unroll):
            with self.code.vector(lanes) as v:
                self.code.store(acc, [u, v], body.combiner.identity_element[0])
        for start, count, size in _spans(self.length, unroll * step):
            if size < unroll * step:
                for s, c, w in _spans(size, step):
                    self._accumulate(op, acc, (start + s, c, w), 1)
                continue
            self._accumulate(op, acc, (start, count, step), unroll)
        self._fold(body.combiner, acc, unroll, lanes)
        self.graph.staged[op] = lambda *_: acc[0, self.lane]

    def _accumulate(self, op: Any, acc: Array, span: tuple[int, int, int], unroll: int) -> None:
        """``count`` steps of ``unroll`` x ``width`` elements from ``start``."""
        start, count, width = span
        body = op.body[0]
        with self.code.loop(count) as i:
            for u in range(unroll):
                first = start + (i * unroll + u) * width
                if self.folds:
                    with self.code.vector(width) as v:
                        value = self.code.bind(self._source(op, first + v))
                        self.code.store(acc, [u, v], _combine(body.combiner, acc[u, v], value))
                else:
                    with self._lanes():
                        at = [u, self.lane]
                        value = self.code.bind(self._source(op, first))
                        self.code.store(acc, at, _combine(body.combiner, acc[at], value))

    def _source(self, op: Any, r: Any) -> Any:
        """What is reduced, at element ``r``."""
        index = self._index(r)
        at = {axis.var: index[a] for axis, a in zip(op.reduce_axis, self.axes, strict=True)}
        kept = self._kept_index(len(op.axis))
        at.update(zip((axis.var for axis in op.axis), kept, strict=True))
        at = {var: tirx.convert(i) for var, i in at.items()}
        return self.graph.substitute(op.body[0].source[0], at, self.anchor)

    def _fold(self, combiner: Any, acc: Array, unroll: int, lanes: int) -> None:
        """All accumulators into the first, and its lanes into the first lane."""
        while unroll > 1:
            unroll //= 2
            for u in range(unroll):
                with self.code.vector(lanes) as v:
                    value = _combine(combiner, acc[u, v], acc[u + unroll, v])
                    self.code.store(acc, [u, v], value)
        while self.folds and lanes > 1:
            lanes //= 2
            with self.code.vector(lanes) as v:
                self.code.store(acc, [0, v], _combine(combiner, acc[0, v], acc[0, v + lanes]))


def _is_reduction(op: Any) -> bool:
    return isinstance(op.body[0], tirx.Reduce)


def _spans(size: int, step: int) -> Iterator[tuple[int, int, int]]:
    """``size`` as (start, count, width): whole steps, then falling powers of two."""
    if size // step:
        yield 0, size // step, step
    for start, width in powers(size % step):
        yield size // step * step + start, 1, width


def _combine(combiner: Any, left: Any, right: Any) -> Any:
    """``left`` and ``right`` as the reduction combines them."""
    at = {combiner.lhs[0]: left, combiner.rhs[0]: right}

    def call(node: Any, mutator: Any) -> Any:
        if node.op.name == "tirx.isnan":
            return is_nan(mutator.mutate(node.args[0]))
        return mutator.default_mutate(node)

    return tvm_ffi.structural_mutate(
        combiner.result[0], [(tirx.Var, lambda var, _: at.get(var, var)), (CallExpr, call)]
    )
