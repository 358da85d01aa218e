"""A register tile of texels: pixels by blocks of channels, its loads, sums and stores."""

from __future__ import annotations

from collections.abc import Sequence
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

    def load_row(
        self, name: str, storage: Storage, c: Any, y: Any, x0: Any, columns: Sequence[int],
        op: Windowed,
    ) -> dict[int, str]:  # fmt: skip
        """Texels of row ``y`` from ``x0`` on, zero outside the input: a name for each column.

        ``c`` counts images times blocks.
        """
        code, (_, _, height, width, _) = self.code, storage.shape
        top, left, bottom, right = op.pads
        rows_inside = not (top or bottom) and self.launched[1] * self.rows == self._out(op, 2)
        across = not (left or right) and self.launched[0] * self.columns == self._out(op, 3)
        y = code.bound(y, "y")
        inside = None if rows_inside else f"((uint){code.text(y)} < {height})"
        row = code.bound(c * height + y, "q")
        if storage.image:
            place = code.text(row) if inside is None else f"({inside} ? {code.text(row)} : -1)"
            row_name = code.name("q")
            code.line(f"const int {row_name} = {place};")
        else:
            place = code.text(row * width + x0)
            row_name = code.name("p")
            code.line(f"__global const {self.type} *{row_name} = {name} + {place};")
        held = {}
        for column in columns:
            x = code.text(code.simple(x0 + column))
            if storage.image:
                text = code.text(storage.load(name, tirx.Var(f"{x}", "int32"), _var(row_name)))
            else:
                checks = [] if inside is None else [inside]
                checks += [] if across else [f"((uint)({x}) < {width})"]
                text = f"{row_name}[{column}]"
                if checks:
                    text = f"({' && '.join(checks)}) ? {text} : ({self.type})(0)"
            held[column] = code.name("x")
            code.line(f"const {self.type} {held[column]} = {text};")
        return held

    def _out(self, op: Windowed, axis: int) -> int:
        return int(self.writer.out.shape[axis])

    def store(self, shape: Any, w: Any, h: Any, image: Any, block: Any) -> None:
        """The epilogue of every texel of the tile that lies inside the result."""
        writer, code = self.writer, self.code
        anchor = next(
            t for c, t in stages_of(writer.graph)
            if c is writer.group.anchor and is_reduction(t)
        )  # fmt: skip
        for i, j, o in self.cells():
            at = (
                code.simple(image), code.simple(block * self.blocks + o),
                code.simple(h + i * self.launched[1]), code.simple(w + j * self.launched[0]),
            )  # fmt: skip
            sizes = (shape.out_blocks, shape.height, shape.width)
            # the last place that each of the tile's steps would take
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
            name = self.name(i, j, o)
            writer.graph.staged[anchor.op] = self._reader(name)
            with code.block(f"if ({' && '.join(checks)})" if checks else ""):
                writer.store_texel(*at)

    def _reader(self, name: str) -> Any:
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


def _var(name: str) -> Any:
    return tirx.Var(name, "int32")
