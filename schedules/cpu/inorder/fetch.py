"""Asks for the rows that a sliding window will reach next.

Rows of a plane are so near that the prefetcher of a small core takes them for one stream and
foresees none, and its wide loads wait for every line. A load whose result nothing reads
(``ldr wzr``) holds up nothing while few lines are under way.
"""

from __future__ import annotations

from typing import Any

from armlet.compiler.ops.lazy import tirx
from armlet.targets import Target

from ...emit import Array, Code
from ..window import Window
from .multiply import Operand
from .tile import speaks

#: bytes of a cache line
_LINE = 64


def fetch_below(
    code: Code, target: Target, x: Array, w: Window, where: tuple[Any, ...], width: int
) -> None:
    """What the row below a tile of ``width`` pixels reads anew; ``where``: n, plane, row, left."""
    if not speaks(target) or w.lanes != target.lanes:
        return
    n, plane, row, left = where
    bottom = (row + 1) * w.strides[0] - w.pads[0] + (w.kernel[0] - 1) * w.dilations[0]
    name = code.assembly("fetch", _text)
    for up in range(w.strides[0]):
        h = code.index(tirx.max(0, tirx.min(bottom - up, w.height - 1)))
        for column in range(0, width * w.strides[1], _LINE // (4 * w.lanes)):
            at = tirx.max(0, tirx.min(left + column, w.width - 1))
            line = Operand(x, x.at([n, plane, h, at, 0]))
            code.emit(tirx.Evaluate(tirx.call_extern("void", name, line.address)))


def _text(name: str) -> str:
    asm = 'asm sideeffect "ldr wzr, [$0]", "r"'
    return f"define void @{name}(ptr %line) {{\n  call void {asm}(ptr %line)\n  ret void\n}}\n"
