"""Direct convolution on texels: a register tile of pixels and output channels a work item.

A work item makes ``rows`` x ``columns`` pixels of ``blocks`` texels of channels. For each input
texel it reads four channels of a pixel once, and multiplies them by weights that are the same
for all work items of a group, so that the hardware reads these once for many.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from armlet.compiler.ir import Const
from armlet.compiler.ir.group import Group
from armlet.compiler.ops.blocked import Conv2dBlocked, unpack_conv_weight
from armlet.compiler.ops.lazy import tirx
from armlet.compiler.ops.window import Windowed
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
OTHER_REGISTERS = 16
#: work items of a group: a wave of the widest
THREADS = 64
#: bytes of weights in local memory for a work-group
STAGED_BYTES = 4096
#: texels of a vector of sixteen
PARTS = ("s0123", "s4567", "s89ab", "scdef")


@dataclass(frozen=True)
class Shape:
    """A convolution's sizes, in texels of channels."""

    op: Windowed
    n: int
    out_blocks: int
    height: int
    width: int
    in_blocks: int
    #: channels of the last input block of a group
    last: int
    kernel: tuple[int, int]
    group: int = 1
    #: of ``n``, those that have the same weights: all, if it is 0
    images: int = 0

    @staticmethod
    def of(group: Group) -> Shape:
        assert group.anchor is not None
        op, out = group.anchor.op, group.anchor.output.type.static_shape
        assert isinstance(op, Conv2dBlocked)
        kh, kw = group.anchor.operands[1].type.static_shape[2:4]
        depth = op.in_channels // op.group
        last = (depth - 1) % LANES + 1
        blocks = ceil_div(depth, LANES)
        return Shape(op, out[0], out[1], out[2], out[3], blocks, last, (kh, kw), op.group)

    def items(self, config: Config) -> tuple[int, int, int]:
        """Tiles along width and height, and images times tiles of channels."""
        return (
            ceil_div(self.width, config["columns"]),
            ceil_div(self.height, config["rows"]),
            self.n * ceil_div(self.out_blocks, config["blocks"]),
        )

    def cost(self, gpu: Gpu, dtype: str, config: Config) -> float:
        """Relative time: loads and multiply-adds of a tile, work beyond the edges, idle cores."""
        rows, columns, blocks = config["rows"], config["columns"], config["blocks"]
        half = dtype == "float16"
        arithmetic = rows * columns * blocks * 16 * (0.5 if half else 1.0)
        # a texel costs as much as so many multiply-adds of every lane
        loads = rows * columns * 32 * (1 if half else 2) + 24 * blocks
        (across, down, others), _ = self.launch(config)
        done = across * columns * down * rows * others * blocks
        waste = done / (self.n * self.out_blocks * self.height * self.width)
        tile = (max(arithmetic, loads) + 0.3 * min(arithmetic, loads)) / (rows * columns * blocks)
        return tile * waste / busy(gpu, across * down * others) + 1e-6 * abs(config["across"] - 8)

    def launch(self, config: Config) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Global and local size: a group's work items have the same channels and weights."""
        local = (config["across"], config["threads"] // config["across"], 1)
        return rounded(self.items(config), local), local


def tiles_for(shape: Shape, gpu: Gpu, dtype: str) -> list[Config]:
    """Tiles that fit the registers, on work-groups of several shapes."""
    per_group = shape.out_blocks // shape.group
    staging = gpu.family == "adreno"
    # weights in registers leave room for fewer sums
    sizes = (1, 2, 4) if staging else (1, 2)
    # whole rows of the window, so that a step's place in it is known
    together = shape.kernel[1] if 1 < shape.kernel[1] <= 5 else 1 + staging
    found: list[Config] = []
    for rows, columns, blocks in itertools.product((1, 2, 4), (1, 2, 4, 7), sizes):
        # staged weights leave the compiler room to load late; others are loaded with the texels
        loaded = 0 if staging else rows * columns * together + LANES
        registers = (rows * columns * blocks + loaded) * (4 if dtype == "float32" else 2)
        fits = registers + OTHER_REGISTERS <= gpu.registers
        inside = columns <= shape.width and rows <= shape.height and blocks < 2 * per_group
        if fits and inside and (shape.group == 1 or per_group % blocks == 0):
            found += [
                {
                    "rows": rows, "columns": columns, "blocks": blocks, "threads": THREADS,
                    "across": across, "together": together,
                    "staged": staged_steps(gpu, dtype, blocks),
                }
                for across in (4, 8, 16, 32)
            ]  # fmt: skip
    return found


def staged_steps(gpu: Gpu, dtype: str, blocks: int) -> int:
    """Steps whose weights local memory holds while as many waves run as registers allow."""
    if gpu.family != "adreno":  # others have no local memory but a cache
        return 0
    return STAGED_BYTES // (16 * (2 if dtype == "float16" else 4) * blocks)


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
        return tiles_for(Shape.of(group), gpu, group.dtype)

    def default(self, group: Group, gpu: Gpu, storage: Storages) -> Config:
        shape = Shape.of(group)
        return min(self.space(group, gpu, storage), key=lambda c: shape.cost(gpu, group.dtype, c))

    def build(self, group: Group, gpu: Gpu, storage: Storages, config: Config) -> list[Step]:
        assert group.anchor is not None
        shape = Shape.of(group)
        writer = KernelWriter(group, gpu, storage)
        tile = TexelTile(writer, shape.items(config), config)
        sizes, local = shape.launch(config)
        w, h, image, block = tile.places(shape.n, sizes)
        weights = packed_weights(group, config["blocks"])
        name = writer.parameter(weights, Storage(weights.data.shape, group.dtype, True))
        x = group.anchor.operands[0]
        loop = Loop(writer, shape, config, tile, writer.name_of(x), writer.storage_of(x))
        loop.write(name, w, h, image, block)
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
    """The sums of a tile: steps of one tap of four input channels, in one loop.

    Few registers hold what a step loads, so that many waves run at once. Where ``staged`` is not
    zero, that many steps' weights are copied to local memory first: waves read them from there
    without waiting for memory.
    """

    def __init__(
        self, writer: KernelWriter, shape: Shape, config: Config, tile: TexelTile,
        name: str, storage: Storage,
    ) -> None:  # fmt: skip
        """``name`` and ``storage`` are those of the input."""
        self.code, self.shape, self.tile, self.config = writer.code, shape, tile, config
        self.blocks, self.taps = config["blocks"], shape.kernel[0] * shape.kernel[1]
        self.input, self.storage = name, storage
        self.vector = f"{C_NAMES[writer.group.dtype]}16"

    def write(self, weights: str, w: Any, h: Any, image: Any, block: Any) -> None:
        shape, code, op = self.shape, self.code, self.shape.op
        self.x0 = code.bound(w * op.strides[1] - op.pads[1], "x")
        self.y0 = code.bound(h * op.strides[0] - op.pads[0], "y")
        if shape.images:
            block_tiles = ceil_div(shape.out_blocks, self.blocks)
            block = tirx.floordiv(image, shape.images) * block_tiles + block
        start = code.text(code.simple(block * (shape.in_blocks * self.taps * self.blocks)))
        kind = f"__global const {self.vector} *"
        code.line(f"{kind}w = ({kind}){weights} + {start};")
        first = image * (shape.in_blocks * shape.group)
        if shape.group > 1:
            per_group = shape.out_blocks // shape.group
            first += tirx.floordiv(block * self.blocks, per_group) * shape.in_blocks
        self.first = code.bound(first, "c")
        whole = shape.in_blocks - (shape.last != LANES)
        self._steps(whole * self.taps, 0, LANES)
        self._steps((shape.in_blocks - whole) * self.taps, whole, shape.last)

    def _steps(self, count: int, block: int, lanes: int) -> None:
        """Steps from input block ``block`` on, each of ``lanes`` channels."""
        code, together = self.code, self._together(count)
        staged = together * divisor(count // together, self.config["staged"] // together)
        if count and self.config["staged"] >= staged > 1:
            name = code.name("l")
            code.line(f"__local {self.vector} {name}[{staged * self.blocks}];")
            with code.loop(count // staged, "g") as chunk:
                self._stage(name, staged * self.blocks)
                with code.loop(staged // self._together(staged), "k") as k:
                    self._together_steps(chunk * staged, k, block, lanes, staged, name)
                code.line(f"w += {staged * self.blocks};")
        elif count:
            with code.loop(count // self._together(count), "k") as k:
                self._together_steps(0, k, block, lanes, count, "")

    def _stage(self, name: str, size: int) -> None:
        across, threads = self.config["across"], self.config["threads"]
        code, item = self.code, f"get_local_id(0) + get_local_id(1) * {across}"
        code.line("barrier(CLK_LOCAL_MEM_FENCE);")
        with code.block(f"for (int n = {item}; n < {size}; n += {threads})"):
            code.line(f"{name}[n] = w[n];")
        code.line("barrier(CLK_LOCAL_MEM_FENCE);")

    def _together(self, count: int) -> int:
        together = self.config["together"]
        return together if count % together == 0 else 1

    def _together_steps(
        self, start: Any, k: Any, block: int, lanes: int, count: int, local: str
    ) -> None:
        """Several steps, the loads of all before the products of any."""
        together, code = self._together(count), self.code
        held = []
        for n in range(together):
            held.append(self._texels(start + k * together + n, block))
        for n, texels in enumerate(held):
            at = code.simple((k * together + n) * self.blocks)
            weights = f"{local}[{{}}]" if local else "w[{}]"
            place = code.text(code.simple(at)) if local else str(n * self.blocks)
            self._products(texels, weights, place, lanes)
        if not local:
            code.line(f"w += {together * self.blocks};")

    def _texels(self, step: Any, block: int) -> dict[tuple[int, int], str]:
        op, code = self.shape.op, self.code
        c = code.simple(self.first + tirx.floordiv(step, self.taps) + block)
        tap = tirx.floormod(step, self.taps)
        r = code.simple(tirx.floordiv(tap, self.shape.kernel[1]))
        s = code.simple(tirx.floormod(tap, self.shape.kernel[1]))
        x = code.bound(self.x0 + s * op.dilations[1], "x")
        y = code.bound(self.y0 + r * op.dilations[0], "y")
        return self.tile.load(self.input, self.storage, c, y, x, op)

    def _products(self, texels: Any, weights: str, place: str, lanes: int) -> None:
        names = [self.code.name("v") for _ in range(ceil_div(lanes * self.blocks, LANES))]
        for n, name in enumerate(names):
            loaded = weights.format(f"{place} + {n}")
            self.code.line(f"const {self.vector} {name} = {loaded};")
        for lane, o in itertools.product(range(lanes), range(self.blocks)):
            vector, part = divmod(lane * self.blocks + o, LANES)
            weight = f"{names[vector]}.{PARTS[part]}"
            for (i, j), x in texels.items():
                self.tile.multiply(i, j, o, f"{x}.s{lane}", weight)


def divisor(size: int, most: int) -> int:
    """The largest divisor of ``size`` up to ``most``."""
    return max((d for d in range(1, min(size, most) + 1) if size % d == 0), default=1)
