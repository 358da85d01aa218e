"""Depthwise convolution on texels: rows of one column a work item.

Each texel of the input is loaded once for all rows that read it. Neighbours in a wave are
neighbours in a row, so that a load reads whole lines of the texture cache.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from armlet.compiler.ir.group import Group
from armlet.compiler.ops.blocked import DepthwiseConv2dBlocked
from armlet.compiler.ops.window import Windowed
from armlet.targets.gpu import Gpu

from ..emit import ceil_div, unravel
from ..template import Config
from .kernel import KernelWriter, Step, rounded, stages_of
from .reduce import is_reduction
from .template import GpuTemplate, Storages
from .tile import TexelTile

#: texels that a work item may hold: two thirds of its registers in float32
TEXELS = 42
#: work items of a group
THREADS = 64


class Conv2dDepthwise(GpuTemplate):
    name = "conv2d_depthwise"

    def applies(self, group: Group, gpu: Gpu, storage: Storages) -> bool:
        anchor = group.anchor
        if anchor is None or not isinstance(anchor.op, DepthwiseConv2dBlocked):
            return False
        same = anchor.output.type.shape == group.output.type.shape
        return same and storage[group.output].texels and _texels(group, 1) <= TEXELS

    def space(self, group: Group, gpu: Gpu, storage: Storages) -> Iterable[Config]:
        height = group.output.type.static_shape[2]
        for rows in (1, 2, 3, 4, 7):
            if rows <= height and (rows == 1 or _texels(group, rows) <= TEXELS):
                for across in (4, 8, 16, 32):
                    yield {"rows": rows, "across": across}

    def default(self, group: Group, gpu: Gpu, storage: Storages) -> Config:
        width, height = group.output.type.static_shape[3], group.output.type.static_shape[2]

        def cost(config: Config) -> float:
            rows, across = config["rows"], config["across"]
            down = THREADS // across * rows
            waste = ceil_div(width, across) * across * ceil_div(height, down) * down
            return waste * (_texels(group, rows) / rows + 2) + 0.001 * abs(across - 16)

        return min(self.space(group, gpu, storage), key=cost)

    def build(self, group: Group, gpu: Gpu, storage: Storages, config: Config) -> list[Step]:
        assert group.anchor is not None and isinstance(group.anchor.op, Windowed)
        op, rows = group.anchor.op, config["rows"]
        writer = KernelWriter(group, gpu, storage)
        code, (n, blocks, height, width, _) = writer.code, writer.out.shape
        _, kh, kw, _ = group.anchor.operands[1].type.static_shape
        items = (width, ceil_div(height, rows), n * blocks)
        local = (config["across"], THREADS // config["across"], 1)
        sizes = rounded(items, local)
        w, h, c = (code.index(f"get_global_id({a})", s, "whc"[a]) for a, s in enumerate(sizes))
        image, block = (code.bound(i) for i in unravel(c, (n, blocks)))
        x, weight = group.anchor.operands[:2]
        shape = {"rows": _span(op, kh, 0, rows), "columns": _span(op, kw, 1, 1)}
        tile = TexelTile(writer, (1, 1, 1), shape)
        y0 = code.bound(h * (rows * op.strides[0]) - op.pads[0], "y")
        x0 = code.bound(w * op.strides[1] - op.pads[1], "x")
        edges = Windowed(pads=(1, 1, 1, 1))  # the launch may reach beyond any edge
        held = tile.load(writer.name_of(x), writer.storage_of(x), c, y0, x0, edges)
        start = code.text(code.simple(block * (kh * kw)))
        kind = f"__global const {tile.type} *"
        code.line(f"{kind}w = ({kind}){writer.name_of(weight)} + {start};")
        for i in range(rows):
            code.line(f"{tile.type} {tile.name(i, 0, 0)} = 0;")
        for r, s in np.ndindex(kh, kw):
            name = code.name("v")
            code.line(f"const {tile.type} {name} = w[{r * kw + s}];")
            for i in range(rows):
                texel = held[i * op.strides[0] + r * op.dilations[0], s * op.dilations[1]]
                code.line(f"{tile.name(i, 0, 0)} += {texel} * {name};")
        anchor = next(
            t for a, t in stages_of(writer.graph) if a is group.anchor and is_reduction(t)
        )
        for i in range(rows):
            y = code.simple(h * rows + i)
            checks = [f"{code.text(y)} < {height}"] * (sizes[1] * rows > height)
            checks += [f"{code.text(w)} < {width}"] * (sizes[0] > width)
            writer.graph.staged[anchor.op] = tile.reader(tile.name(i, 0, 0))
            with code.block(f"if ({' && '.join(checks)})" if checks else ""):
                writer.store_texel(image, block, y, w)
        return [writer.finish(sizes, local)]


def _span(op: Windowed, kernel: int, axis: int, outputs: int) -> int:
    """Inputs along an axis that so many outputs read, with those between."""
    return (outputs - 1) * op.strides[axis] + (kernel - 1) * op.dilations[axis] + 1


def _texels(group: Group, rows: int) -> int:
    assert group.anchor is not None and isinstance(group.anchor.op, Windowed)
    _, kh, kw, _ = group.anchor.operands[1].type.static_shape
    op = group.anchor.op
    return _span(op, kh, 0, rows) * _span(op, kw, 1, 1)
