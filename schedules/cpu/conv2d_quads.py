"""Direct convolution of bytes: the tiles of ``conv2d_direct``, four input channels at a time.

Sums are in int32, one lane for each output channel. A step of the reduction takes a quad of
channels: of each pixel its four bytes, once in all lanes, and of each group of output channels a
vector or two of weights (``byte_products.py``). Where a row or a pixel lies outside the input
its bytes are the padding's. Images of one pixel each, which matrix products are made of, are the
pixels of one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from armlet.compiler.ir import Call
from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.compiler.ops.quads import QUAD, order_of, sizes_of
from armlet.targets import Target

from ..emit import Array, ceil_div, pieces
from ..space import cuts, few_cuts, shares_well, thinned
from ..template import Config, roofline
from ..tensor_graph import TensorGraph
from .byte_products import Products, Vectors, load, multiplies, products
from .conv2d_direct import Conv2dDirect, DirectWriter, Shape, TileWriter, steps_of
from .register_tile import MOST_COLUMNS, Tile
from .window import flat_rows, inside_rows

#: cycles of starting a tile, and of bringing a vector of sums to where it belongs
TILE_CYCLES, VECTOR_CYCLES = 20, 6


def shape_of(call: Call, target: Target) -> Shape:
    """The convolution's numbers; images of one pixel are a row of them."""
    op: Any = call.op
    n, _, height, width, block = call.operands[0].type.static_shape
    ob, chunks, kh, kw, quads, lanes = sizes_of(call.operands[1].type)
    _, _, oh, ow, _ = call.output.type.static_shape
    flat = (kh, kw) == (1, 1) and op.strides == (1, 1) and not any(op.pads)
    if flat and height * width == 1:
        n, width, ow = 1, n, n
    rows, columns = flat_rows(oh * ow, chunks * block, target) if flat else (oh, ow)
    return Shape(
        n, height, width, rows, columns, oh, ow, block, ob, lanes, chunks, quads,
        (kh, kw), op.strides, op.dilations, op.pads[:2], op.group, flat,
    )  # fmt: skip


def step_cycles(tile: Tile, target: Target, order: str) -> float:
    """Cycles of one quad of channels, by the busiest resource."""
    products = tile.rows * tile.columns
    vectors, many = {"quads": (1, 1), "pairs": (2, 4), "singles": (4, 4)}[order]
    prepared = {"quads": 0, "pairs": 2, "singles": 4}[order] * tile.rows
    arithmetic = {"quads": 1, "pairs": 2, "singles": 4}[order] * products / target.fma_units
    loads = tile.rows + vectors * tile.columns
    issued = many * products + prepared + loads + 2
    return max(arithmetic, loads / target.load_units, issued / target.issue_width)


def fits(tile: Tile, target: Target, order: str) -> bool:
    """Whether sums, a quad's weights and a pixel's bytes are all in registers."""
    weights, pixel = {"quads": (1, 1), "pairs": (2, 3), "singles": (1, 2)}[order]
    held = tile.rows * tile.columns + weights * tile.columns + pixel
    return held <= target.vector_registers


def tiles(target: Target, order: str, rows: int, columns: int) -> Iterator[Tile]:
    for c in range(1, min(columns, MOST_COLUMNS) + 1):
        for r in range(1, min(rows, target.vector_registers) + 1):
            if fits(Tile(r, c), target, order):
                yield Tile(r, c)


def cycles(tile: Tile, target: Target, s: Shape, order: str) -> float:
    """Cycles of a row of the output."""
    total, variants = 0.0, 0
    for _, width, count in pieces(s.out_blocks // s.groups, tile.columns):
        for _, height, times in pieces(s.columns, tile.rows):
            ended = TILE_CYCLES + VECTOR_CYCLES * width * height
            step = step_cycles(Tile(height, width), target, order)
            total += count * times * (s.steps * step + ended)
            variants += 1
    return total * (1 + 0.01 * variants)


def _order(group: Group) -> str:
    assert group.anchor is not None
    return order_of(group.anchor.operands[1].type)


class Conv2dQuads(Conv2dDirect):
    name = "conv2d_quads"
    version = 1

    def applies(self, group: Group, target: Target) -> bool:
        if group.anchor is None or group.anchor.op.name != "conv2d_quads":
            return False
        x, w = (v.type for v in group.anchor.operands[:2])
        return multiplies(target, order_of(w), group.anchor.output.type.static_shape[4], x.dtype)

    def default(self, group: Group, target: Target) -> Config:
        assert group.anchor is not None
        s, order = shape_of(group.anchor, target), _order(group)
        fitting = tiles(target, order, s.columns, s.out_blocks // s.groups)
        tile = min(fitting, key=lambda t: cycles(t, target, s, order))
        return self.around(group, target, s, tile)

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        assert group.anchor is not None
        s, default = shape_of(group.anchor, target), self.default(group, target)
        per_group, usual = s.out_blocks // s.groups, steps_of(s, default)
        widths, depths = cuts(s.columns), cuts(per_group)
        points = (
            {**default, "pixels": tile.rows, "vectors": tile.columns, "rows": rows,
             "by_channels": by_channels}
            for tile in tiles(target, _order(group), s.columns, per_group)
            if tile.rows in widths and tile.columns in depths
            for rows in few_cuts(s.rows, default["rows"])
            for by_channels in (0, 1)
        )  # fmt: skip
        return thinned((p for p in points if shares_well(steps_of(s, p), usual)), [dict(default)])

    def estimate(self, group: Group, target: Target, config: Config) -> float:
        assert group.anchor is not None
        s, tile = shape_of(group.anchor, target), Tile(config["pixels"], config["vectors"])
        arithmetic = s.n * s.rows * s.groups * cycles(tile, target, s, _order(group))
        read = sum(v.type.bytes for v in group.inputs)
        return roofline(target, arithmetic, read, group.output.type.bytes)

    def features(self, group: Group, target: Target, config: Config) -> dict[str, float]:
        assert group.anchor is not None
        s, tile = shape_of(group.anchor, target), Tile(config["pixels"], config["vectors"])
        step = step_cycles(tile, target, _order(group))
        return {
            "accumulators": tile.rows * tile.columns,
            "step_cycles_per_product": step / (tile.rows * tile.columns),
            "rows_filled": s.columns / (ceil_div(s.columns, tile.rows) * tile.rows),
            "depth": s.steps,
            "steps": steps_of(s, config),
        }

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        call = graph.group.anchor
        assert call is not None
        return _Writer(graph, target, call, shape_of(call, target), config).write()


class _Tile(TileWriter):
    def _write(self) -> None:
        writer, s = self.writer, self.shape
        self.x: Array = self.graph.arrays[writer.x]
        self.w: Array = self.graph.arrays[writer.w]
        #: bytes (or words) of weights of one quad
        self.inner = s.lanes * QUAD
        self.images = s.flat and writer.x.type.static_shape[2:4] == (1, 1)
        order = order_of(writer.w.type)
        self.products: Products = products(
            self.code, writer.target, s.lanes, writer.x.type.dtype, order
        )
        self._begin()
        self._sums()
        self._end()

    def _sums(self) -> None:
        """Over blocks of channels, rows and columns of the kernel, quads of a block."""
        s, code = self.shape, self.code
        kh, kw = s.kernel
        first, size = (0, 1) if s.flat else inside_rows(s, self.row)
        shortened = not isinstance(size, int) or size < kh
        with (
            code.loop(s.chunks, "cb", rolled=True) as cb,
            code.loop(kh, "r", rolled=True) as r,
        ):
            if not shortened:
                self._row(cb, r, kw)
                return
            inside = tirx.And(r >= first, r < first + size)
            with code.choose(inside) as (yes, no):
                with yes:
                    self._row(cb, r, kw)
                with no:
                    self._outside(cb, r, kw)

    def _row(self, cb: Any, r: Any, kw: int) -> None:
        """A row of the kernel that lies inside."""
        with self.code.loop(kw, "s", rolled=True) as k:
            for q in range(self.shape.ki):
                weights = self._weights(cb, r, k, q)
                for j, pixel in self._pixels(cb, r, k, q):
                    self._multiply(j, pixel, weights)

    def _pixels(self, cb: Any, r: Any, k: Any, q: int) -> Iterator[tuple[int, Vectors]]:
        """Each pixel of the tile; neighbours that lie in one vector are loaded together."""
        width, together = self.run.width, self.products.together
        j = 0
        while j < width:
            inside = self.run.pixels.isdisjoint(range(j, j + together))
            if self._adjacent and together > 1 and j + together <= width and inside:
                place = self.x.at(self._place(j, cb, r, k, q))
                for i, pixel in enumerate(self.products.quads(self.x, place)):
                    yield j + i, pixel
                j += together
            else:
                yield j, self.products.quad(self._bytes(j, cb, r, k, q))
                j += 1

    @property
    def _adjacent(self) -> bool:
        """Whether quads of neighbouring pixels lie beside each other."""
        s = self.shape
        near = s.block == QUAD and s.strides[1] == 1
        return near and (not self.images or s.chunks == 1)

    def _outside(self, cb: Any, r: Any, kw: int) -> None:
        pixel = self.products.constant(self.writer.anchor.op.pad_value)  # type: ignore[attr-defined]
        with self.code.loop(kw, "s", rolled=True) as k:
            for q in range(self.shape.ki):
                weights = self._weights(cb, r, k, q)
                for j in range(self.run.width):
                    self._multiply(j, pixel, weights)

    def _weights(self, cb: Any, r: Any, k: Any, q: int) -> list[Vectors]:
        place = [0] * (len(self.w.shape) - 5)
        return [
            self.products.weights(self.w, self.w.at([self.channel + o, cb, r, k, q, *place]))
            for o in range(self.vectors)
        ]

    def _multiply(self, j: int, pixel: Vectors, weights: Sequence[Vectors]) -> None:
        for o in range(self.vectors):
            self.products.add_to(self.acc, j * self.vectors + o, pixel, weights[o])

    def _place(self, j: int, cb: Any, r: Any, k: Any, q: int) -> list[Any]:
        """Where the first channel of pixel j under a tap lies, if it does."""
        s, block = self.shape, self.g * self.shape.chunks + cb
        if s.flat:
            return [*self._pixel(j, block), QUAD * q]
        h = self.row * s.strides[0] + r * s.dilations[0] - s.pads[0]
        return [self.n, block, h, self._column(j, k), QUAD * q]

    def _column(self, j: int, k: Any) -> Any:
        s = self.shape
        return (self.start + j) * s.strides[1] + k * s.dilations[1] - s.pads[1]

    def _bytes(self, j: int, cb: Any, r: Any, k: Any, q: int) -> Any:
        """Four channels of pixel j under a tap, as an int32."""
        s, place = self.shape, self._place(j, cb, r, k, q)
        if j not in self.run.pixels:
            return self._word(place)
        w = self._column(j, k)
        place[3] = tirx.max(0, tirx.min(w, s.width - 1))
        pad = (self.writer.anchor.op.pad_value & 0xFF) * 0x01010101  # type: ignore[attr-defined]
        pad -= (1 << 32) * (pad >> 31)
        inside = tirx.And(w >= 0, w < s.width)
        return tirx.Select(inside, self._word(place), tirx.const(pad, "int32"))

    def _word(self, indices: Sequence[Any]) -> Any:
        dtype = self.writer.x.type.dtype
        four = load(self.x, self.x.at(indices), QUAD, dtype)
        return self.products.named(tirx.reinterpret("int32", four))

    def _pixel(self, j: Any, block: Any) -> list[Any]:
        """Where pixel j of a tile lies in a block of a tensor."""
        if self.images:
            return [self.row * self.shape.columns + self.start + j, block, 0, 0]
        return [self.n, block, *self.pixel(j)]

    def _store(self, j: Any, o: int, held: Array, at: Any) -> None:
        with self.code.vector(self.shape.lanes) as v:
            self.graph.known[self.writer.anchor.output] = lambda *i: held[at, i[-1]]
            self.graph.store(*self._pixel(j, self.channel + o), v)


class _Writer(DirectWriter):
    def tile(self, *where: Any) -> None:
        _Tile(self, *where)
