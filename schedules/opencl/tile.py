"""A register tile of texels: pixels by blocks of channels, its loads, sums and stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from armlet.compiler.ops.lazy import tirx
from armlet.compiler.ops.window import Windowed

from ..emit import unravel
from ..template import Config
from .kernel import KernelWriter, stages_of
from .reduce import is_reduction
from .storage import Storage


class TexelTile:
    """Accumulators of ``rows`` x ``columns`` pixels x ``blocks`` texels of a work item.

    Its pixels are as far apart as the launch is wide and high, so that with each load a wave
    reads texels side by side: whole lines of a cache that holds little more.
    """

    def __init__(self, writer: KernelWriter, items: Sequence[int], config: Config) -> None:
        self.writer, self.code, self.items = writer, writer.code, items
        self.rows, self.columns = config["rows"], config["columns"]
        self.blocks = config.get("blocks", 1)
        self.dtype = writer.group.dtype
        self.type = writer.type_of(self.dtype)
        #: work items along each axis of the launch
        self.launched: Sequence[int] = items
        self.wide = self.dtype == "float16" and bool(
            getattr(writer.group.anchor.op, "wide_sums", False)  # type: ignore[union-attr]
        )

    def places(self, images: int, sizes: Sequence[int]) -> tuple[Any, Any, Any, Any]:
        """Tile indices along w and h, the image, and the tile of blocks; starts the sums.

        Work items beyond the edges compute as well and store nothing, so that all of a wave take
        the same way and load the same weights.
        """
        code, others = self.code, self.items[2]
        self.launched = sizes
        w, h, rest = (code.index(f"get_global_id({a})", n, "whz"[a]) for a, n in enumerate(sizes))
        image, block = (code.bound(i) for i in unravel(rest, (images, others // images)))
        for i, j, o in self.cells():
            kind = "float4" if self.wide else self.type
            code.line(f"{kind} {self.name(i, j, o)} = 0;")
        return w, h, image, block

    def cells(self) -> list[tuple[int, int, int]]:
        return [
            (i, j, o)
            for o in range(self.blocks) for i in range(self.rows) for j in range(self.columns)
        ]  # fmt: skip

    @staticmethod
    def name(i: int, j: int, o: int) -> str:
        return f"a{i}_{j}_{o}"

    def multiply(self, i: int, j: int, o: int, x: str, weight: str) -> None:
        """``a += x * weight``; of wide sums each product is rounded, their sum is not."""
        a = self.name(i, j, o)
        product = f"convert_float4({x} * {weight})" if self.wide else f"{x} * {weight}"
        self.code.line(f"{a} += {product};")

    def load(
        self, name: str, storage: Storage, c: Any, y: Any, x: Any, op: Windowed
    ) -> dict[tuple[int, int], str]:
        """The texels that the pixels (i, j) read, zero outside the input: their names.

        ``y`` and ``x`` are those of the first pixel; ``c`` counts images times blocks.
        """
        code, (_, _, height, width, _) = self.code, storage.shape
        top, left, bottom, right = op.pads
        down = not (top or bottom) and self.launched[1] * self.rows == self._out(op, 2)
        across = not (left or right) and self.launched[0] * self.columns == self._out(op, 3)
        held = {}
        for i in range(self.rows):
            row = code.bound(y + i * self.launched[1] * op.strides[0], "y")
            inside = "" if down else f"(uint){code.text(row)} < {height}"
            line = code.bound(c * height + row, "q")
            if storage.image and inside:
                line = tirx.Var(code.name("q"), "int32")
                code.line(f"const int {line.name} = {inside} ? {code.text(c * height + row)} : -1;")
            for j in range(self.columns):
                at = code.simple(x + j * self.launched[0] * op.strides[1])
                if storage.image:
                    text = code.text(storage.load(name, at, line))
                else:
                    beside = "" if across else f"(uint)({code.text(at)}) < {width}"
                    text = code.text(storage.load(name, code.simple(line * width + at)))
                    if inside or beside:
                        both = " && ".join(c for c in (inside, beside) if c)
                        text = f"({both}) ? {text} : ({self.type})(0)"
                held[i, j] = code.name("x")
                code.line(f"const {self.type} {held[i, j]} = {text};")
        return held

    def _out(self, op: Windowed, axis: int) -> int:
        return int(self.writer.out.shape[axis])

    def store(self, shape: Any, w: Any, h: Any, image: Any, block: Any) -> None:
        """The epilogue of every texel of the tile that lies inside the result."""
        writer = self.writer
        anchor = next(
            t for c, t in stages_of(writer.graph)
            if c is writer.group.anchor and is_reduction(t)
        )  # fmt: skip
        for name, at, inside in self._places(shape, w, h, image, block):
            writer.graph.staged[anchor.op] = self.reader(name)
            with self.code.block(inside):
                writer.store_texel(*at)

    def store_sums(self, shape: Any, w: Any, h: Any, image: Any, block: Any) -> None:
        """The sums as they are."""
        out, code = self.writer.out, self.code
        for name, at, inside in self._places(shape, w, h, image, block):
            place = [code.text(code.simple(p)) for p in out.place(*at)]
            with code.block(inside):
                code.line(out.store("out", name, *place))

    def _places(
        self, shape: Any, w: Any, h: Any, image: Any, block: Any
    ) -> Iterator[tuple[str, tuple[Any, ...], str]]:
        """Each cell's name, place, and the condition under which that is inside the result."""
        code = self.code
        for i, j, o in self.cells():
            at = (
                code.simple(image), code.simple(block * self.blocks + o),
                code.simple(h + i * self.launched[1]), code.simple(w + j * self.launched[0]),
            )  # fmt: skip
            sizes = (shape.out_blocks, shape.height, shape.width)
            # the last place that a work item's cell has
            most = (
                (self.items[2] // shape.n - 1) * self.blocks + o,
                (i + 1) * self.launched[1] - 1,
                (j + 1) * self.launched[0] - 1,
            )
            checks = [
                f"{code.text(p)} < {size}"
                for p, size, last in zip(at[1:], sizes, most, strict=True)
                if last >= size
            ]
            yield self.name(i, j, o), at, f"if ({' && '.join(checks)})" if checks else ""

    def reader(self, name: str) -> Any:
        """What the epilogue reads: the sums, in the tensor's dtype."""
        text = f"convert_{self.type}({name})" if self.wide else name
        var = tirx.Var(text, self.dtype)
        self.code.vectors.add(text)

        def read(*indices: Any) -> Any:
            lane = indices[4]
            if isinstance(lane, tirx.Var):
                return var
            return tirx.Var(f"{text}.s{int(lane)}", self.dtype)

        return read
