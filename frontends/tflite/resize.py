"""RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR."""

from __future__ import annotations

import numpy as np
import tflite

from armlet.compiler.ir import Const, Value
from armlet.compiler.ops.resize import Axis
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported, dimensions

from .images import from_images, images
from .registry import handles


def sizes_of(x: Value, size: Const) -> tuple[int, ...]:
    """The height and the width that RESIZE_* is to make."""
    wanted = tuple(dimensions(size))
    if len(wanted) != 2 or min(wanted) < 1:
        raise Unsupported(f"{x.type} cannot be resized to {list(wanted)}")
    return wanted


def _coordinates(align_corners: bool, half_pixel_centers: bool) -> str:
    if align_corners and half_pixel_centers:
        raise Unsupported("corners cannot be aligned with pixels' centres")
    if align_corners:
        return "align_corners"
    return "half_pixel" if half_pixel_centers else "asymmetric"


@handles("RESIZE_BILINEAR", options=tflite.ResizeBilinearOptions)
def resize_bilinear(
    b: Emitter,
    x: Value,
    size: Const,
    *,
    align_corners: bool = False,
    half_pixel_centers: bool = False,
) -> Value:
    x, wanted = images(b, x), sizes_of(x, size)
    held = b.static(x)[2:]
    y = b.call(
        "resize",
        x,
        size=wanted,
        scale=tuple(n / m for n, m in zip(wanted, held)),
        mode="linear",
        coordinate_mode=_coordinates(align_corners, half_pixel_centers),
    )
    return from_images(b, y)


@handles("RESIZE_NEAREST_NEIGHBOR", options=tflite.ResizeNearestNeighborOptions)
def resize_nearest_neighbor(
    b: Emitter,
    x: Value,
    size: Const,
    *,
    align_corners: bool = False,
    half_pixel_centers: bool = False,
) -> Value:
    """By ``resize`` where that reads the pixels that LiteRT reads, which rounds otherwise."""
    wanted, held = sizes_of(x, size), b.static(images(b, x))[2:]
    mode = _coordinates(align_corners, half_pixel_centers)
    tables = [nearest(n, out, align_corners, half_pixel_centers) for n, out in zip(held, wanted)]
    scale = tuple(out / n for n, out in zip(held, wanted))
    for rounding in ("floor", "round_prefer_ceil", "round_prefer_floor"):
        axes = [Axis(n, out, s, mode, rounding) for n, out, s in zip(held, wanted, scale)]
        found = [np.clip(a.wholes, 0, a.size - 1) for a in axes]
        if all((f == t).all() for f, t in zip(found, tables)):
            attributes = {"coordinate_mode": mode, "nearest_mode": rounding, "mode": "nearest"}
            return from_images(
                b, b.call("resize", images(b, x), size=wanted, scale=scale, **attributes)
            )
    for axis, table in enumerate(tables, 1):
        x = b.call("gather", x, b.const(table, "int64"), axis=axis)
    return x


def nearest(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> np.ndarray:
    """The pixel that LiteRT reads for each of ``out``, in its own arithmetic."""
    aligned = align_corners and out > 1
    scale = (
        np.float32(size - 1) / np.float32(out - 1)
        if aligned
        else np.float32(size) / np.float32(out)
    )
    offset = np.float32(0.5 if half_pixel_centers else 0)
    at = (np.arange(out, dtype=np.float32) + offset) * scale
    whole = np.floor(at + np.float32(0.5)) if align_corners else np.floor(at)
    return np.clip(whole.astype(np.int64), 0, size - 1)
