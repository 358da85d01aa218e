"""Winograd's convolution in three launches: transform tiles, multiply, transform back.

The products are a 1x1 convolution of each of (m+2)^2 planes, with weights of its own; the loop
and the register tile are those of the direct convolution. The last launch has the epilogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from armlet.compiler.ir import Const
from armlet.compiler.ir.group import Group
from armlet.compiler.ops.toom_cook import TAPS, Matrix, transforms
from armlet.compiler.ops.window import Windowed
from armlet.compiler.ops.winograd import Conv2dWinograd
from armlet.targets.gpu import Gpu

from ..emit import ceil_div, unravel
from ..template import Config
from .conv2d_direct import Loop, Shape, tiles_for
from .expression import LANES
from .kernel import KernelWriter, Scratch, Step, rounded, work_group
from .storage import Storage, texels_of
from .template import GpuTemplate, Storages
from .tile import TexelTile

#: work items of a group that transforms
THREADS = 64


@dataclass(frozen=True)
class Problem:
    """The sizes of a convolution by tiles."""

    group: Group
    op: Conv2dWinograd
    n: int
    in_blocks: int
    out_blocks: int
    down: int
    across: int

    @staticmethod
    def of(group: Group) -> Problem:
        assert group.anchor is not None
        op, x = group.anchor.op, group.anchor.operands[0]
        assert isinstance(op, Conv2dWinograd)
        n, ob, h, w, _ = group.anchor.output.type.static_shape
        m = op.tile
        return Problem(group, op, n, x.type.static_shape[1], ob, ceil_div(h, m), ceil_div(w, m))

    @property
    def edge(self) -> int:
        return self.op.tile + TAPS - 1

    def planes(self, blocks: int, gpu: Gpu) -> Storage:
        """The transformed tiles of so many blocks of channels."""
        shape = (self.edge**2 * self.n, blocks, self.down, self.across, LANES)
        return texels_of(shape, self.group.dtype, gpu)

    @property
    def products(self) -> Shape:
        """What is multiplied, as a 1x1 convolution of planes."""
        op, last = Windowed(), (self.op.in_channels - 1) % LANES + 1
        return Shape(
            op, self.edge**2 * self.n, self.out_blocks, self.down, self.across,
            self.in_blocks, last, (1, 1), images=self.n,
        )  # fmt: skip


class Conv2dWinogradTiles(GpuTemplate):
    name = "conv2d_winograd"

    def applies(self, group: Group, gpu: Gpu, storage: Storages) -> bool:
        anchor = group.anchor
        if anchor is None or not isinstance(anchor.op, Conv2dWinograd):
            return False
        same = anchor.output.type.shape == group.output.type.shape
        return same and storage[group.output].texels and isinstance(anchor.operands[1], Const)

    def space(self, group: Group, gpu: Gpu, storage: Storages) -> Iterable[Config]:
        return tiles_for(Problem.of(group).products, gpu, group.dtype)

    def default(self, group: Group, gpu: Gpu, storage: Storages) -> Config:
        shape = Problem.of(group).products
        return min(self.space(group, gpu, storage), key=lambda c: shape.cost(gpu, group.dtype, c))

    def build(self, group: Group, gpu: Gpu, storage: Storages, config: Config) -> list[Step]:
        problem = Problem.of(group)
        tiled = Scratch(problem.planes(problem.in_blocks, gpu))
        made = Scratch(problem.planes(problem.out_blocks, gpu))
        known = {**storage, tiled: tiled.storage, made: made.storage}
        return [
            _transform(problem, gpu, known, tiled),
            _multiply(problem, gpu, known, tiled, made, config),
            _transform_back(problem, gpu, known, made),
        ]


def _tile_places(writer: KernelWriter, problem: Problem, blocks: int) -> tuple[Any, ...]:
    """Image, block, tile row and column of a work item; the launch's and the group's size."""
    code, sizes = writer.code, (problem.across, problem.down, problem.n * blocks)
    local = work_group(sizes, THREADS)
    names = []
    for axis, (size, step) in enumerate(zip(sizes, local, strict=True)):
        name = code.index(f"get_global_id({axis})", size, "xyz"[axis])
        writer.guard(code.text(name), size, ceil_div(size, step) * step)
        names.append(name)
    image, block = (code.bound(i) for i in unravel(names[2], (problem.n, blocks)))
    return image, block, names[1], names[0], sizes, local


def _transform(problem: Problem, gpu: Gpu, known: Mapping[Any, Storage], tiled: Scratch) -> Step:
    assert problem.group.anchor is not None
    writer = KernelWriter(problem.group, gpu, known, tiled)
    code, op, edge = writer.code, problem.op, problem.edge
    image, block, h, w, sizes, local = _tile_places(writer, problem, problem.in_blocks)
    x = problem.group.anchor.operands[0]
    tile = TexelTile(writer, (1, 1, 1), {"rows": edge, "columns": edge, "blocks": 1})
    c = code.bound(image * problem.in_blocks + block, "c")
    y0, x0 = (code.bound(i * op.tile - pad, stem) for i, pad, stem in zip((h, w), op.pads, "yx"))
    window = Windowed(pads=(1, 1, 1, 1))  # tiles may reach beyond any edge
    held = tile.load(writer.name_of(x), writer.storage_of(x), c, y0, x0, window)
    values = [[held[i, j] for j in range(edge)] for i in range(edge)]
    made = _both_ways(writer, transforms(op.tile).b, values)
    for i, j in np.ndindex(edge, edge):
        plane = (i * edge + j) * problem.n + image
        place = [code.text(code.simple(p)) for p in writer.out.place(plane, block, h, w)]
        code.line(writer.out.store("out", made[i][j], *place))
    return writer.finish(rounded(sizes, local), local)


def _both_ways(writer: KernelWriter, matrix: Matrix, values: list[list[str]]) -> list[list[str]]:
    """``matrix`` x values x its transpose, each element named."""
    columns = [_combined(writer, matrix, [row[j] for row in values]) for j in range(len(values))]
    return [_combined(writer, matrix, list(row)) for row in zip(*columns)]


def _combined(writer: KernelWriter, matrix: Matrix, values: list[str]) -> list[str]:
    kind, dtype = writer.type_of(writer.group.dtype), writer.group.dtype
    found = []
    for row in matrix:
        terms = [_term(float(f), value, dtype) for f, value in zip(row, values, strict=True) if f]
        found.append(writer.code.name("m"))
        writer.code.line(f"const {kind} {found[-1]} = {' + '.join(terms)};")
    return found


def _term(factor: float, value: str, dtype: str) -> str:
    if factor in (1.0, -1.0):
        return f"{'-' * (factor < 0)}{value}"
    return f"({'(half)' * (dtype == 'float16')}{factor!r}f) * {value}"


def _multiply(
    problem: Problem, gpu: Gpu, known: Mapping[Any, Storage], tiled: Scratch, made: Scratch,
    config: Config,
) -> Step:  # fmt: skip
    writer = KernelWriter(problem.group, gpu, known, made)
    shape = problem.products
    tile = TexelTile(writer, shape.items(config), config)
    sizes, local = shape.launch(config)
    w, h, plane, block = tile.places(shape.n, sizes)
    weights = _packed(problem, config["blocks"])
    name = writer.parameter(weights, Storage(weights.data.shape, problem.group.dtype, True))
    loop = Loop(writer, shape, config, tile, writer.parameter(tiled, tiled.storage), tiled.storage)
    loop.write(name, w, h, plane, block)
    tile.store_sums(shape, w, h, plane, block)
    return writer.finish(sizes, local)


def _packed(problem: Problem, blocks: int) -> Const:
    """[planes, Ob / blocks, in blocks, 4, blocks, 4] of the op's [planes, Ob, C, 4]."""
    assert problem.group.anchor is not None
    u = problem.group.anchor.operands[1]
    assert isinstance(u, Const)
    planes, ob, depth, lanes = u.data.shape
    padded = np.pad(u.data, ((0, 0), (0, -ob % blocks), (0, -depth % LANES), (0, 0)))
    split = padded.reshape(planes, -1, blocks, padded.shape[2] // LANES, LANES, lanes)
    return Const(f"{u.name}@{blocks}", split.transpose(0, 1, 3, 4, 2, 5))


def _transform_back(
    problem: Problem, gpu: Gpu, known: Mapping[Any, Storage], made: Scratch
) -> Step:
    writer = KernelWriter(problem.group, gpu, known)
    code, m, edge = writer.code, problem.op.tile, problem.edge
    image, block, h, w, sizes, local = _tile_places(writer, problem, problem.out_blocks)
    name = writer.parameter(made, made.storage)
    values: list[list[str]] = []
    for i in range(edge):
        values.append([])
        for j in range(edge):
            plane = (i * edge + j) * problem.n + image
            place = [code.simple(p) for p in made.storage.place(plane, block, h, w)]
            value = code.variable(
                problem.group.dtype, code.text(made.storage.load(name, *place)), True, "p"
            )
            values[-1].append(value.name)
    found = _both_ways(writer, transforms(m).a, values)
    assert problem.group.anchor is not None
    added = _bias(writer, problem, block)
    tile = TexelTile(writer, (1, 1, 1), {"rows": 1, "columns": 1, "blocks": 1})
    height, width = writer.out.shape[2:4]
    for i, j in np.ndindex(m, m):
        y, x = (code.simple(p * m + o) for p, o in ((h, i), (w, j)))
        checks = [f"{code.text(y)} < {height}"] * (problem.down * m - m + i >= height)
        checks += [f"{code.text(x)} < {width}"] * (problem.across * m - m + j >= width)
        value = code.name("y")
        code.line(f"const {tile.type} {value} = {found[i][j]}{added};")
        writer.graph.known[problem.group.anchor.output] = tile.reader(value)
        with code.block(f"if ({' && '.join(checks)})" if checks else ""):
            writer.store_texel(image, block, y, x)
    return writer.finish(rounded(sizes, local), local)


def _bias(writer: KernelWriter, problem: Problem, block: Any) -> str:
    """What is added to each texel; the op's own expression of it takes seconds to make."""
    assert problem.group.anchor is not None
    bias = problem.group.anchor.operands[2:]
    if not bias:
        return ""
    name, storage = writer.name_of(bias[0]), writer.storage_of(bias[0])
    return f" + {writer.code.text(storage.load(name, *storage.place(0, block, 0, 0)))}"
