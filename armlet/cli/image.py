"""A picture's file as the input of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from armlet.errors import InputError, MissingPackageError, SettingError
from armlet.model import TensorInfo

from .options import split

#: channels -> Pillow's mode, the likeliest first
_MODES = {3: "RGB", 1: "L", 4: "RGBA"}


@dataclass(frozen=True)
class Pixels:
    """How bytes become numbers: (byte * scale - mean) / std."""

    scale: float
    mean: str
    std: str
    bgr: bool

    def apply(self, data: np.ndarray) -> np.ndarray:
        """``data`` is [H, W, C]."""
        if self.bgr:
            data = data[:, :, [2, 1, 0, *range(3, data.shape[2])][: data.shape[2]]]
        mean, std = (
            _numbers(option, text, data.shape[2])
            for option, text in (("--mean", self.mean), ("--std", self.std))
        )
        if not std.all():
            raise SettingError("--std has a zero", way_out="leave it out to divide by nothing")
        return (data * np.float32(self.scale) - mean) / std


def _numbers(option: str, text: str, channels: int) -> np.ndarray:
    try:
        numbers = np.array([float(part) for part in text.split(",")], np.float32)
    except ValueError:
        numbers = np.empty(0, np.float32)
    if len(numbers) not in (1, channels):
        raise SettingError(
            f"{option} {text!r} must be one number, or {channels}: one a channel",
            way_out=f"for example {option} {','.join(['0.5'] * channels)}",
        )
    return numbers


def picture(text: str, inputs: Sequence[TensorInfo], pixels: Pixels) -> tuple[str, np.ndarray]:
    """``NAME=FILE`` -> the input's name and its array, NCHW or NHWC as its shape tells."""
    name, file = split(text, [i.name for i in inputs])
    info = next((i for i in inputs if i.name == name), None)
    if info is None:
        known = ", ".join(i.name for i in inputs)
        raise InputError(f"the model has no input {name!r}", way_out=f"inputs: {known}")
    return name, read_picture(file, info, pixels, "give an array: --input NAME=FILE.npy")


def read_picture(file: str, info: TensorInfo, pixels: Pixels, way_out: str) -> np.ndarray:
    """A file as the input that ``info`` tells of; ``way_out`` is for one that is no picture."""
    axis = _channel_axis(info.shape)
    if axis is None:
        raise InputError(f"input {info} does not look like one picture", way_out=way_out)
    height, width = (size for at, size in enumerate(info.shape) if at not in (0, axis))
    data = _read(file, _MODES[info.shape[axis]], (width, height))
    if info.dtype != "uint8":
        data = pixels.apply(data)
    data = data.transpose(2, 0, 1) if axis == 1 else data
    return np.ascontiguousarray(data[None], dtype=info.dtype)


def _channel_axis(shape: Sequence[int]) -> int | None:
    """1 for NCHW, 3 for NHWC, None where the shape is no picture's."""
    if len(shape) == 4 and shape[0] == 1:
        for channels in _MODES:
            for axis in (1, 3):
                if shape[axis] == channels:
                    return axis
    return None


def _read(file: str, mode: str, size: tuple[int, int]) -> np.ndarray:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingPackageError(
            "reading pictures needs Pillow", way_out="python -m pip install 'armlet[images]'"
        ) from None
    try:
        with Image.open(file) as image:
            small = image.convert(mode).resize(size, Image.Resampling.BILINEAR)
    except UnidentifiedImageError:
        raise InputError("this is no picture", where=file, way_out="give a .jpg or .png") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"the picture cannot be read: {reason}", where=file) from None
    return np.asarray(small).reshape(size[1], size[0], -1)
