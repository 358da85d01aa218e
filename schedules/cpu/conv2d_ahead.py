"""Weights of a direct convolution that are asked for before they are needed.

While one group of output channels is computed, its tiles ask for the weights of the next, each
for a share, so that they are in L2 in time. A core's own prefetcher stops at each page, and is
not far enough ahead where a line is one vector and so soon used up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from armlet.targets import Target

from ..emit import Code, ceil_div
from .register_tile import LINE

if TYPE_CHECKING:
    from .conv2d_direct import Shape, TileWriter


@dataclass(frozen=True)
class Share:
    """``count`` lines from number ``first`` on, of those that an inner loop reads of a block."""

    block: Any
    first: Any
    count: int


def inner(s: Shape) -> int:
    """Steps of the reduction that are in the innermost loop."""
    return s.block if s.kernel == (1, 1) else s.ki


def streams(s: Shape, target: Target) -> bool:
    """Whether it may pay: not for short vectors, nor for few channels."""
    return target.vector_bytes >= LINE and inner(s) >= target.lanes // 2


def share(code: Code, s: Shape, block: Any, vectors: int, tiles: int, number: Any) -> Share:
    """What tile ``number`` of ``tiles`` asks for, of the ``vectors`` after those from ``block`` on.

    All tiles together ask for all of them; some for lines that lie behind.
    """
    # a power of two: lines of one tile lie in one block, or fill several
    each = 1 << (ceil_div(vectors * inner(s), tiles) - 1).bit_length()
    first = number * each
    following = code.index(block + vectors + first // inner(s))
    return Share(following, code.index(first % inner(s)), each)


def fetch(tile: TileWriter, chunk: Any, r: Any, k: Any) -> None:
    """Asks for the tile's share at place (r, k) of the kernel, of channels from ``chunk`` on."""
    s, weights, part = tile.shape, tile.writer.w, tile.share
    if part is None:
        return
    for i in range(part.count):
        line = part.first + i % inner(s)
        at = [part.block + i // inner(s), chunk + line // s.ki, r, k, line % s.ki, 0]
        tile.code.prefetch(tile.graph.lies(weights), at)
