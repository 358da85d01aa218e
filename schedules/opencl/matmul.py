"""Matrix products of plain tensors: four columns by a few rows a work item, its depth shared.

Where there are few results, the work items of a group share the sum over the depth: each adds up
every ``split``-th product, and the group's sums meet in local memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from armlet.compiler.ir import Const, Value
from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.compiler.ops.matmul import MatMul
from armlet.targets.gpu import Gpu

from ..emit import ceil_div, unravel
from ..template import Config
from .expression import C_NAMES, LANES
from .kernel import KernelWriter, Step, rounded, stages_of
from .launch import busy
from .reduce import is_reduction
from .storage import Storage
from .template import GpuTemplate, Storages

#: work items of a group, and products between two that it adds up
THREADS, UNROLL = 64, 4


class Product(GpuTemplate):
    name = "matmul"

    def applies(self, group: Group, gpu: Gpu, storage: Storages) -> bool:
        anchor = group.anchor
        if anchor is None or not isinstance(anchor.op, MatMul):
            return False
        a, b = (v.type for v in anchor.operands)
        floats = a.dtype in ("float32", "float16")
        if (
            not floats
            or a.rank < 2
            or b.rank < 2
            or anchor.output.type.shape != group.output.type.shape
        ):
            return False
        if storage[group.output].texels or any(storage[v].texels for v in anchor.operands):
            return False
        alike = b.rank == 2 or b.shape[:-2] == a.shape[:-2]
        return alike and (_is_matrix(anchor.operands[1]) or b.static_shape[-1] % LANES == 0)

    def space(self, group: Group, gpu: Gpu, storage: Storages) -> Iterable[Config]:
        rows, depth = _sizes(group)[1], _sizes(group)[3]
        for tall in (1, 2, 4):
            for split in (1, 2, 4, 8, 16, 32):
                if (tall == 1 or tall <= rows) and (split == 1 or split * UNROLL <= depth):
                    yield {"rows": tall, "split": split}

    def default(self, group: Group, gpu: Gpu, storage: Storages) -> Config:
        batch, rows, columns, depth = _sizes(group)

        def cost(config: Config) -> float:
            tall, split = config["rows"], config["split"]
            items = batch * ceil_div(rows, tall) * ceil_div(columns, LANES) * split
            each = ceil_div(depth, split) * (tall * LANES + 2 * (LANES + tall)) + 40 * (split > 1)
            return items * each / busy(gpu, items)

        return min(self.space(group, gpu, storage), key=cost)

    def build(self, group: Group, gpu: Gpu, storage: Storages, config: Config) -> list[Step]:
        assert group.anchor is not None
        return [_Writer(KernelWriter(group, gpu, storage), config).write()]


def _is_matrix(value: Value) -> bool:
    return isinstance(value, Const) and value.data.ndim == 2


def _sizes(group: Group) -> tuple[int, int, int, int]:
    """Batch, rows, columns, depth."""
    assert group.anchor is not None
    *batch, rows, columns = group.anchor.output.type.static_shape
    return math.prod(batch), rows, columns, group.anchor.operands[0].type.static_shape[-1]


class _Writer:
    def __init__(self, writer: KernelWriter, config: Config) -> None:
        assert writer.group.anchor is not None
        self.writer, self.code, self.group = writer, writer.code, writer.group
        self.batch, self.rows, self.columns, self.depth = _sizes(writer.group)
        self.tall, self.split = config["rows"], config["split"]
        self.quads = ceil_div(self.columns, LANES)
        self.type = writer.type_of(self.group.dtype)
        self.scalar = C_NAMES[self.group.dtype]
        self.wide = bool(writer.group.anchor.op.wide_sums)  # type: ignore[attr-defined]
        self.sums = "float4" if self.wide else self.type

    def write(self) -> Step:
        code = self.code
        items = (self.quads, self.split, self.batch * ceil_div(self.rows, self.tall))
        local = (THREADS // self.split, self.split, 1)
        sizes = rounded(items, local)
        quad = code.index("get_global_id(0)", sizes[0], "q")
        part = code.index("get_local_id(1)", self.split, "s")
        rest = code.index("get_global_id(2)", items[2], "z")
        image, tile = unravel(rest, (self.batch, items[2] // self.batch))
        image, row = code.bound(image, "b"), code.bound(tile * self.tall, "m")
        if sizes[0] > self.quads:  # all work items reach the barrier: some compute twice
            code.line(f"const int c = min({code.text(quad)}, {self.quads - 1});")
        else:
            code.line(f"const int c = {code.text(quad)};")
        self._sum(image, row, part)
        if self.split > 1:
            self._meet(local)
        self._store(quad, image, row, part, sizes[0] > self.quads)
        return self.writer.finish(sizes, local)

    def _sum(self, image: Any, row: Any, part: Any) -> None:
        assert self.group.anchor is not None
        code, (a, b) = self.code, self.group.anchor.operands
        right = self._right(b)
        plane = 0 if b.type.rank == 2 else image * (self.depth * self.quads)
        code.line(
            f"__global const {self.type} *w = (__global const {self.type} *){right} + "
            f"{code.text(code.simple(plane))} + c;"
        )
        for i in range(self.tall):
            line = tirx.min(row + i, self.rows - 1) if self.rows % self.tall else row + i
            place = code.text(code.simple((image * self.rows + line) * self.depth))
            name = self.writer.name_of(a)
            code.line(f"__global const {self.scalar} *x{i} = {name} + {place};")
            code.line(f"{self.sums} a{i} = 0;")
        whole = self.depth // (self.split * UNROLL)
        with code.block(f"for (int n = 0; n < {whole}; ++n)"):
            code.line(f"const int k = n * {self.split * UNROLL} + {code.text(part)};")
            for u in range(UNROLL):
                code.line(f"const {self.type} v{u} = w[(k + {u * self.split}) * {self.quads}];")
            for u in range(UNROLL):
                self._add(f"v{u}", f"k + {u * self.split}")
        first = whole * self.split * UNROLL
        if first < self.depth:
            start = f"{first} + {code.text(part)}"
            with code.block(f"for (int k = {start}; k < {self.depth}; k += {self.split})"):
                code.line(f"const {self.type} v = w[k * {self.quads}];")
                self._add("v", "k")

    def _add(self, weight: str, k: str) -> None:
        for i in range(self.tall):
            product = f"x{i}[{k}] * {weight}"
            self.code.line(f"a{i} += {f'convert_float4({product})' if self.wide else product};")

    def _right(self, b: Value) -> str:
        """The name of the right operand, whose rows are whole texels."""
        if not _is_matrix(b) or self.columns % LANES == 0:
            return self.writer.name_of(b)
        assert isinstance(b, Const)
        padded = Const(f"{b.name}@4", np.pad(b.data, ((0, 0), (0, -self.columns % LANES))))
        return self.writer.parameter(padded, Storage(padded.data.shape, b.type.dtype))

    def _meet(self, local: tuple[int, ...]) -> None:
        """The first part's work items have the sums of all."""
        code, across = self.code, local[0]
        code.line(f"__local float4 met[{THREADS * self.tall}];")
        code.line(f"const int at = get_local_id(1) * {across} + get_local_id(0);")
        for i in range(self.tall):
            value = f"a{i}" if self.sums == "float4" else f"convert_float4(a{i})"
            code.line(f"met[at + {i * THREADS}] = {value};")
        code.line("barrier(CLK_LOCAL_MEM_FENCE);")
        code.line("if (get_local_id(1) != 0) return;")
        for i in range(self.tall):
            code.line(f"float4 t{i} = met[at + {i * THREADS}];")
            with code.block(f"for (int n = 1; n < {self.split}; ++n)"):
                code.line(f"t{i} += met[at + n * {across} + {i * THREADS}];")

    def _store(self, quad: Any, image: Any, row: Any, part: Any, guarded: bool) -> None:
        code, graph, out = self.code, self.writer.graph, self.group.output
        stages = stages_of(graph)
        anchor = next(t for c, t in stages if c is self.group.anchor and is_reduction(t))
        if guarded:
            code.line(f"if ({code.text(quad)} >= {self.quads}) return;")
        shape = out.type.static_shape
        for i in range(self.tall):
            sums = f"t{i}" if self.split > 1 else f"a{i}"
            wide = self.split > 1 or self.wide
            for lane in range(LANES):
                text = f"({self.scalar}){sums}.s{lane}" if wide else f"{sums}.s{lane}"
                value = tirx.Var(text, self.group.dtype)
                graph.staged[anchor.op] = lambda *_, value=value: value
                line, column = code.simple(row + i), code.simple(quad * LANES + lane)
                places = [*unravel(image, shape[:-2]), line, column]
                checks = [f"{code.text(line)} < {self.rows}"] * (self.rows % self.tall > 0)
                tail = self.columns % LANES
                checks += [f"{code.text(column)} < {self.columns}"] * (0 < tail <= lane)
                with code.block(f"if ({' && '.join(checks)})" if checks else ""):
                    result = code.text(graph.read(out, places).astype(self.writer.out.dtype))
                    at = code.simple((image * self.rows + line) * self.columns + column)
                    code.line(f"out[{code.text(at)}] = {result};")
