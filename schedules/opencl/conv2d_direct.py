"""Direct convolution on texels: a register tile of pixels and output channels a work item.

A work item makes ``rows`` x ``columns`` pixels of ``blocks`` texels of channels. For each input
texel it reads four channels of a pixel once, and multiplies them by weights that are the same
for all work items of a group, so that the hardware reads these once for many.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from armlet.compiler.ir import Const
from armlet.compiler.ir.group import Group
from armlet.compiler.ops.blocked import Conv2dBlocked, unpack_conv_weight
from armlet.compiler.ops.lazy import tirx
from armlet.targets.gpu import Gpu

from ..emit import ceil_div
from ..template import Config
from .expression import C_NAMES, LANES
from .kernel import KernelWriter, Step, rounded
from .launch import busy
from .storage import Storage
from .template import GpuTemplate, Storages
from .tile import TexelTile

#: registers of 32 bits beside accumulators: addresses, counters, what is loaded
OTHER_REGISTERS = 12
#: texels of a vector of sixteen
PARTS = ("s0123", "s4567", "s89ab", "scdef")


@dataclass(frozen=True)
class Shape:
    """A convolution's sizes, in texels of channels."""

    op: Conv2dBlocked
    n: int
    out_blocks: int
    height: int
    width: int
    in_blocks: int
    #: channels of the last input block of a group
    last: int
    kernel: tuple[int, int]

    @staticmethod
    def of(group: Group) -> Shape:
        assert group.anchor is not None
        op, out = group.anchor.op, group.anchor.output.type.static_shape
        assert isinstance(op, Conv2dBlocked)
        kh, kw = group.anchor.operands[1].type.static_shape[2:4]
        depth = op.in_channels // op.group
        last = (depth - 1) % LANES + 1
        return Shape(op, out[0], out[1], out[2], out[3], ceil_div(depth, LANES), last, (kh, kw))

    def items(self, config: Config) -> tuple[int, int, int]:
        """Tiles along width and height, and images times tiles of channels."""
        return (
            ceil_div(self.width, config["columns"]),
            ceil_div(self.height, config["rows"]),
            self.n * ceil_div(self.out_blocks, config["blocks"]),
        )

    def launch(self, config: Config) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Global and local size: a group's work items have the same channels and weights."""
        local = (config["across"], config["threads"] // config["across"], 1)
        return rounded(self.items(config), local), local


class Conv2dDirect(GpuTemplate):
    name = "conv2d_direct"

    def applies(self, group: Group, gpu: Gpu, storage: Storages) -> bool:
        anchor = group.anchor
        if anchor is None or not isinstance(anchor.op, Conv2dBlocked):
            return False
        op, weight = anchor.op, anchor.operands[1]
        whole = op.group == 1 or weight.type.static_shape[4] == LANES
        same = anchor.output.type.shape == group.output.type.shape
        return whole and same and storage[group.output].texels and isinstance(weight, Const)

    def space(self, group: Group, gpu: Gpu, storage: Storages) -> Iterable[Config]:
        shape, wide = Shape.of(group), group.dtype == "float32"
        per_group = shape.out_blocks // shape.op.group
        for rows, columns, blocks in itertools.product((1, 2), (1, 2, 4, 7, 8), (1, 2, 4)):
            registers = rows * columns * blocks * (4 if wide else 2)
            fits = registers + OTHER_REGISTERS <= gpu.registers
            if fits and columns <= shape.width and rows <= shape.height:
                if blocks == 1 or per_group % blocks == 0 or shape.op.group == 1:
                    if blocks < 2 * per_group:
                        for across in (4, 8, 16, 32):
                            yield {
                                "rows": rows, "columns": columns, "blocks": blocks,
                                "threads": 64, "across": across,
                            }  # fmt: skip

    def default(self, group: Group, gpu: Gpu, storage: Storages) -> Config:
        return min(self.space(group, gpu, storage), key=lambda c: self._cost(group, gpu, c))

    def _cost(self, group: Group, gpu: Gpu, config: Config) -> float:
        """Relative time: loads and multiply-adds of a tile, work beyond the edges, idle cores."""
        shape = Shape.of(group)
        rows, columns, blocks = config["rows"], config["columns"], config["blocks"]
        kh, kw = shape.kernel
        texels = rows * kh * columns * kw
        half = group.dtype == "float16"
        arithmetic = rows * columns * blocks * 16 * kh * kw * (0.5 if half else 1.0)
        # a texel costs as much as so many multiply-adds of every lane
        loads = texels * 32 * (1 if half else 2) + kh * kw * 4 * blocks * 6
        items = shape.launch(config)[0]
        done = items[0] * columns * items[1] * rows * items[2] * blocks
        waste = done / (shape.n * shape.out_blocks * shape.height * shape.width)
        count = items[0] * items[1] * items[2]
        tile = (max(arithmetic, loads) + 0.3 * min(arithmetic, loads)) / (rows * columns * blocks)
        return tile * waste / busy(gpu, count) + 1e-6 * abs(config["across"] - 8)

    def build(self, group: Group, gpu: Gpu, storage: Storages, config: Config) -> list[Step]:
        assert group.anchor is not None
        shape = Shape.of(group)
        writer = KernelWriter(group, gpu, storage)
        tile = TexelTile(writer, shape.items(config), config)
        sizes, local = shape.launch(config)
        w, h, image, block = tile.places(shape.n, sizes)
        weights = packed_weights(group, config["blocks"])
        name = writer.parameter(weights, Storage(weights.data.shape, group.dtype, True))
        Loop(writer, shape, config, tile).write(name, w, h, image, block)
        tile.store(shape, w, h, image, block)
        return [writer.finish(sizes, local)]


def packed_weights(group: Group, blocks: int) -> Const:
    """[Ob / blocks, KH * KW, in blocks, 4, blocks, 4] of the anchor's weights; zeros beyond."""
    assert group.anchor is not None
    weight = group.anchor.operands[1]
    assert isinstance(weight, Const)
    plain = unpack_conv_weight(weight.data)
    out, depth, kh, kw = plain.shape
    padded = np.pad(plain, ((0, -out % (blocks * LANES)), (0, -depth % LANES), (0, 0), (0, 0)))
    split = padded.reshape(-1, blocks, LANES, padded.shape[1] // LANES, LANES, kh * kw)
    return Const(f"{weight.name}@{blocks}", split.transpose(0, 3, 5, 4, 1, 2))


class Loop:
    """The sums of a tile over input channels and taps."""

    def __init__(self, writer: KernelWriter, shape: Shape, config: Config, tile: TexelTile) -> None:
        assert writer.group.anchor is not None
        self.writer, self.code, self.shape, self.tile = writer, writer.code, shape, tile
        self.rows, self.columns, self.blocks = (config[k] for k in ("rows", "columns", "blocks"))
        x = writer.group.anchor.operands[0]
        self.input, self.storage = writer.name_of(x), writer.storage_of(x)
        self.type = writer.type_of(writer.group.dtype)
        self.scalar = C_NAMES[writer.group.dtype]

    def write(self, weights: str, w: object, h: object, image: object, block: object) -> None:
        shape, code, op = self.shape, self.code, self.shape.op
        top, left = op.pads[:2]
        taps, step = shape.kernel[0] * shape.kernel[1], LANES * self.blocks
        x0 = code.bound(w * op.strides[1] - left, "x")  # type: ignore[operator]
        y0 = code.bound(h * op.strides[0] - top, "y")  # type: ignore[operator]
        code.line(
            f"__global const {self.scalar}16 *w = (__global const {self.scalar}16 *){weights} + "
            f"{code.text(block * (shape.in_blocks * taps * step // LANES))};"  # type: ignore[operator]
        )
        per_group = shape.out_blocks // op.group
        first = image * (shape.in_blocks * op.group)  # type: ignore[operator]
        if op.group > 1:
            first = first + tirx.floordiv(block * self.blocks, per_group) * shape.in_blocks  # type: ignore[operator]
        first = code.bound(first, "c")
        whole = shape.in_blocks - (shape.last != LANES)
        if whole:
            with code.loop(whole, "c") as c:
                self._block(first + c, x0, y0, LANES)
        if whole < shape.in_blocks:
            self._block(first + whole, x0, y0, shape.last)

    def _block(self, c: object, x0: object, y0: object, lanes: int) -> None:
        """One block of input channels: its taps, row by row."""
        (kh, kw), code = self.shape.kernel, self.code
        step = LANES * self.blocks
        if self.rows == 1:
            with code.loop(kh, "r") as r:
                self._taps(c, x0, y0, r, 0, 0, lanes)
                code.line(f"w += {kw * step // LANES};")
            return
        for r in range(kh):
            for i in range(self.rows):
                self._taps(c, x0, y0, r, i, r * kw * step, lanes)
        code.line(f"w += {kh * kw * step // LANES};")

    def _taps(
        self, c: object, x0: object, y0: object, r: object, i: int, at: int, lanes: int
    ) -> None:
        """Row ``r`` of the window of the tile's row ``i``."""
        op, (_, kw) = self.shape.op, self.shape.kernel
        y = y0 + (r * op.dilations[0] + i * self.tile.launched[1] * op.strides[0])  # type: ignore[operator]
        taps = itertools.product(range(self.columns), range(kw))
        columns = sorted({self._column(j, s) for j, s in taps})
        held = self.tile.load_row(self.input, self.storage, c, y, x0, columns, op)
        for s in range(kw):
            weights = [self.code.name("v") for _ in range(ceil_div(lanes * self.blocks, LANES))]
            for n, name in enumerate(weights):
                place = at // LANES + s * self.blocks + n
                self.code.line(f"const {self.scalar}16 {name} = w[{place}];")
            for k, o in itertools.product(range(lanes), range(self.blocks)):
                vector, part = divmod(k * self.blocks + o, LANES)
                weight = f"{weights[vector]}.{PARTS[part]}"
                for j in range(self.columns):
                    x = held[self._column(j, s)]
                    self.tile.multiply(i, j, o, f"{x}.s{k}", weight)

    def _column(self, j: int, s: int) -> int:
        """Where tap ``s`` of the tile's pixel ``j`` lies, from its first pixel's first tap on."""
        op = self.shape.op
        return j * self.tile.launched[0] * op.strides[1] + s * op.dilations[1]
