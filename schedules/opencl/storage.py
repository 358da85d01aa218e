"""How a tensor lies in a GPU's memory, and the C that reads and writes it.

A plain tensor is a row-major buffer. A blocked one, [N, C/4, H, W, 4], is a row of *texels*, four
channels of a pixel: a buffer of vectors, or an image of W x (N * C/4 * H) RGBA texels, which reads
as zero left and right of a row, and above all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from armlet.compiler.ir import TensorType
from armlet.compiler.ops.lazy import tirx
from armlet.targets.gpu import IMAGE_SIDE, Gpu

from ..tensor_graph import stored
from .expression import C_NAMES, LANES, named, texel

#: of image functions, by dtype
_SUFFIX = {"float32": "f", "float16": "h"}


@dataclass(frozen=True)
class Storage:
    """``shape`` is that of the tensor; of texels, its last axis is the lanes."""

    shape: tuple[int, ...]
    dtype: str
    texels: bool = False
    image: bool = False

    @staticmethod
    def plain(type: TensorType) -> Storage:
        return Storage(type.static_shape, stored(type.dtype))

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Width and height in texels."""
        n, blocks, height, width, _ = self.shape if self.image else (0, 0, 0, 0, 0)
        return (width, n * blocks * height) if self.image else None

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def parameter(self, name: str, writes: bool) -> str:
        if self.image:
            return f"{'__write_only' if writes else '__read_only'} image2d_t {name}"
        lanes = LANES if self.texels else ""
        return f"__global {'' if writes else 'const '}{C_NAMES[self.dtype]}{lanes} *{name}"

    def place(self, n: Any, block: Any, h: Any, w: Any) -> tuple[Any, ...]:
        """Where a texel lies: x and y of an image, or the index in a buffer."""
        _, blocks, height, width, _ = self.shape
        row = (n * blocks + block) * height + h
        return (w, row) if self.image else (row * width + w,)

    def load(self, name: str, *place: Any) -> Any:
        """The texel at a ``place``."""
        return texel(self._read(name), self.dtype, *place)

    def lane(self, name: str, lane: Any, *place: Any) -> Any:
        """One element of the texel at a ``place``."""
        if isinstance(lane, (int, tirx.IntImm)):
            return named(f"{self._read(name)}.s{int(lane)}", self.dtype, *place)
        call = f"lane_of_{_SUFFIX[self.dtype]}({self._read(name)}, {{}})"
        return named(call, self.dtype, *place, lane)

    def _read(self, name: str) -> str:
        if self.image:
            return f"read_image{_SUFFIX[self.dtype]}({name}, NEAREST, (int2)({{}}, {{}}))"
        return f"{name}[{{}}]"

    def store(self, name: str, value: str, *place: str) -> str:
        """The statement that writes a texel."""
        if self.image:
            x, y = place
            return f"write_image{_SUFFIX[self.dtype]}({name}, (int2)({x}, {y}), {value});"
        return f"{name}[{place[0]}] = {value};"


def texels_of(shape: tuple[int, ...], dtype: str, gpu: Gpu) -> Storage:
    """Of blocked tensors: an image, where the GPU has them and this one fits."""
    n, blocks, height, width, _ = shape
    fits = width <= IMAGE_SIDE and n * blocks * height <= IMAGE_SIDE
    return Storage(shape, dtype, True, gpu.images and fits)
