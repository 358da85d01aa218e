"""Data to quantise by: samples from a file of arrays or a folder of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from armlet.errors import InputError
from armlet.model import TensorInfo

from .image import Pixels, read_picture
from .options import named, read_arrays

if TYPE_CHECKING:
    from armlet.compiler.ir import Module

#: ends of pictures' names
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def read_data(path: Path, module: Module, pixels: Pixels) -> Mapping[str, np.ndarray]:
    """Arrays by input; of a folder, its pictures by name, along the first axis."""
    names = [p.name for p in module.main.params]
    if not path.is_dir():
        return named(read_arrays(path), names, path)
    way_out = "give an .npz file with an array for every input"
    if len(names) != 1:
        raise InputError(
            f"a folder of pictures is given, and the model has {len(names)} inputs", way_out=way_out
        )
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in PICTURES)
    if not files:
        raise InputError(
            "there are no pictures in this folder",
            where=str(path),
            way_out=f"files that end with {', '.join(PICTURES)}, or an .npz file",
        )
    (param,) = module.main.params
    info = TensorInfo(param.name, param.type.dtype, param.type.static_shape)
    made = [read_picture(str(file), info, pixels, way_out) for file in files]
    return {param.name: np.concatenate(made)}
