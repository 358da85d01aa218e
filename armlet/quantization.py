"""Quantising from Python: data as samples, and the front door ``quantize``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from armlet.compiler.build import Progress, require_static
from armlet.compiler.ir import Module
from armlet.compiler.quantize.calibrate import Sample
from armlet.compiler.quantize.post_training import Options, Quantized
from armlet.compiler.quantize.post_training import quantize as quantize_module
from armlet.compiler.quantize.report import Report
from armlet.compiler.records import Records
from armlet.errors import InputError, QuantizationError, SettingError
from armlet.frontends.onnx import quantized as onnx_file
from armlet.targets import Target
from armlet.targets import target as target_of

PathLike = str | os.PathLike[str]

#: precisions of integers: the fastest mixture with float32 within a limit; whatever can be
INTEGER = ("int8", "int8-only")


def samples_of(module: Module, data: Mapping[str, np.ndarray]) -> list[Sample]:
    """One sample after the other: arrays hold them along their first axis.

    An array of an input's own shape is one sample; of n times its first size, n; and so is one of
    an axis more, of size n. ``InputError`` where arrays fit no input, or differ in number.
    """
    params = {p.name: p.type for p in module.main.params}
    for name in data:
        if name not in params:
            raise InputError(
                f"the model has no input {name!r}", way_out=f"inputs: {', '.join(params)}"
            )
    if missing := [name for name in params if name not in data]:
        raise InputError(
            f"there are no data for input {missing[0]!r}", way_out="give arrays for every input"
        )
    cut = {name: _cut(name, data[name], type.static_shape, type.dtype)
           for name, type in params.items()}  # fmt: skip
    counts = {name: len(parts) for name, parts in cut.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"inputs have different numbers of samples: {found}")
    if not next(iter(counts.values()), 0):
        raise InputError("there are no samples", way_out="give at least one")
    return [dict(zip(cut, parts)) for parts in zip(*cut.values())]


def _cut(name: str, array: np.ndarray, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """The samples along a new first axis."""
    fits = array.shape[1:] == shape or (
        array.ndim == len(shape) > 0
        and array.shape[1:] == shape[1:]
        and array.shape[0] % shape[0] == 0
    )
    if array.dtype.name != dtype or not (fits or array.shape == shape):
        raise InputError(
            f"the data of input {name!r} are {array.dtype}{list(array.shape)}, and samples are "
            f"{dtype}{list(shape)}",
            way_out="convert them, or give the shape that they have (--shape)",
        )
    if not np.isfinite(array).all():
        raise InputError(
            f"the data of input {name!r} have NaN or infinities", way_out="leave those samples out"
        )
    return array.reshape(-1, *shape)


def _quiet(stage: str, done: int, total: int) -> None:
    pass


def quantize(
    model: Module | PathLike,
    output: PathLike,
    data: Mapping[str, np.ndarray],
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    target: str | Target | None = None,
    options: Options | None = None,
    progress: Progress = _quiet,
) -> Quantized:
    """Quantises an ONNX model after training, and writes it with QuantizeLinear and the like.

    ``data`` are samples by input, as ``samples_of`` takes them. With a ``target`` layers that it
    computes faster in floats stay so. Raises what ``load`` raises, ``InputError``, ``SettingError``
    and ``QuantizationError``; ``output`` is written whole or not at all.
    """
    from armlet.api import load

    module = model if isinstance(model, Module) else load(model, shapes)
    require_static(module)
    if module.metadata.get("format") != "onnx":
        raise QuantizationError(
            f"what is written is ONNX, and this model is {module.metadata.get('format')}",
            where=str(module.metadata.get("path", "")),
            way_out="armlet compile --precision int8, which takes every format",
        )
    chosen = target_of(target) if isinstance(target, str) else target
    source = onnx_file.read(Path(str(module.metadata["path"])))
    names = onnx_file.names_in(source)
    made = quantize_module(
        module, samples_of(module, data), options or Options(), progress, chosen,
        may=lambda layer, function: onnx_file.can_write(layer, function, names),
    )  # fmt: skip
    onnx_file.write(source, made, Path(output))
    return made


@dataclass(frozen=True)
class Prepared:
    """A quantised module, what its first sample is, and what to tell of it."""

    module: Module
    first: Sample
    report: Report


def quantized_for(
    module: Module,
    precision: str,
    data: Mapping[str, np.ndarray] | None,
    options: Options | None,
    target: Target,
    records: Records | None,
    progress: Progress,
) -> Prepared:
    """For ``compile``: in a precision of ``INTEGER``, for a target."""
    if not data:
        raise SettingError(
            f"precision {precision} needs data like those of the application",
            way_out="give samples: --data FOLDER of pictures, or FILE.npz",
        )
    samples = samples_of(module, data)
    options = replace(options or Options(), force=precision == "int8-only")
    made = quantize_module(module, samples, options, progress, target, records)
    return Prepared(made.module, samples[0], made.report)
