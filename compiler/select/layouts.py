"""Layouts of a tensor: row-major, or blocked by a number of channels; their names and sizes."""

from __future__ import annotations

import re

from armlet.compiler.ir import TensorType
from armlet.compiler.ops.blocked import blocks

#: a layout is the block of [N, ceil(C/c), H, W, c], or this for [N, C, H, W]
ROW_MAJOR = 0


def block_of(channels: int, lanes: int) -> int:
    """The block for a tensor of so many channels: a vector, or less where few channels are.

    Up to four channels are a block of their own, so that a picture is not padded.
    """
    if channels >= lanes:
        return lanes
    return channels if channels <= 4 else 1 << (channels - 1).bit_length()


def blocked_name(name: str, layout: int) -> str:
    """What a value is called in a layout."""
    return f"{name}@c{layout}" if layout else name


def plain_name(name: str) -> str:
    """The value whose blocked form has this name; any other name is its own."""
    return re.sub(r"@c\d+$", "", name)


def channels_of(type: TensorType) -> int:
    return int(type.shape[1])  # type: ignore[arg-type]


def in_layout(type: TensorType, layout: int) -> TensorType:
    """The type of a row-major value's form in ``layout``."""
    if layout == ROW_MAJOR:
        return type
    n, _, *space = type.shape
    return type.with_shape((n, blocks(channels_of(type), layout), *space, layout))


def same_bytes(type: TensorType, layout: int) -> bool:
    """Whether the blocked form differs from the row-major one in shape only."""
    _, channels, height, width = type.static_shape
    return channels % layout == 0 and (layout == 1 or height * width == 1)
