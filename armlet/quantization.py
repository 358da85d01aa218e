"""Quantising from Python: data as samples, and the front door ``quantize``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from armlet.compiler.build import Progress, require_static
from armlet.compiler.ir import Function, Module
from armlet.compiler.quantize.calibrate import Sample
from armlet.compiler.quantize.layers import Layer
from armlet.compiler.quantize.post_training import Options, Quantized
from armlet.compiler.quantize.post_training import quantize as quantize_module
from armlet.compiler.quantize.report import Report
from armlet.compiler.quantize.weight_only import rounded_weights
from armlet.compiler.records import Records
from armlet.errors import InputError, QuantizationError, SettingError
from armlet.frontends.onnx import quantized as onnx_file
from armlet.targets import Target
from armlet.targets import target as target_of

PathLike = str | os.PathLike[str]

#: precisions of integers: the fastest mixture with float32 within a limit; whatever can be
INTEGER = ("int8", "int8-only")
#: precisions of weights alone, which need no data -> the dtype that they are kept in
WEIGHTS = {"int8-weights": "int8", "int16-weights": "int16"}


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
    module, source, may = _opened(model, shapes, "int8")
    chosen = target_of(target) if isinstance(target, str) else target
    samples = samples_of(module, data)
    made = quantize_module(module, samples, options or Options(), progress, chosen, may=may)
    onnx_file.write(source, made.plain, made.recipe, Path(output), made.equalized)
    return made


def round_weights(
    model: Module | PathLike,
    output: PathLike,
    precision: str,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> int:
    """Writes an ONNX model with weights in few bits, and DequantizeLinear for them.

    ``precision`` is one of ``WEIGHTS``. Returns of how many layers; raises what ``quantize`` does.
    """
    dtype = WEIGHTS[precision]
    module, source, may = _opened(model, shapes, dtype)
    _, plain, recipe = rounded_weights(module, dtype, may)
    onnx_file.write(source, plain, recipe, Path(output))
    return len(recipe.layers)


def _opened(
    model: Module | PathLike, shapes: Mapping[str, tuple[int, ...]] | None, dtype: str
) -> tuple[Module, Any, Callable[[Layer, Function], bool]]:
    """The module, its file to be written again, and which layers have a place there."""
    from armlet.api import load

    module = model if isinstance(model, Module) else load(model, shapes)
    require_static(module)
    if module.metadata.get("format") != "onnx":
        raise QuantizationError(
            f"what is written is ONNX, and this model is {module.metadata.get('format')}",
            where=str(module.metadata.get("path", "")),
            way_out="armlet compile --precision, which takes every format",
        )
    source = onnx_file.read(Path(str(module.metadata["path"])), dtype)
    names = onnx_file.names_in(source)
    return module, source, lambda layer, function: onnx_file.can_write(layer, function, names)


@dataclass(frozen=True)
class Prepared:
    """A module to compile in integers, sample data of its own, and what to tell of it."""

    module: Module
    data: Mapping[str, np.ndarray] | None
    report: Report | None


def quantized_for(
    module: Module,
    precision: str,
    data: Mapping[str, np.ndarray] | None,
    options: Options | None,
    target: Target,
    records: Records | None,
    progress: Progress,
) -> Prepared:
    """For ``compile``: in a precision of ``INTEGER`` or ``WEIGHTS``, for a target."""
    if precision in WEIGHTS:
        rounded, _, _ = rounded_weights(module, WEIGHTS[precision], lambda layer, function: True)
        return Prepared(rounded, data, None)
    if not data:
        raise SettingError(
            f"precision {precision} needs data like those of the application",
            way_out="give samples: --data FOLDER of pictures, or FILE.npz",
        )
    samples = samples_of(module, data)
    options = replace(options or Options(), force=precision == "int8-only")
    made = quantize_module(module, samples, options, progress, target, records)
    return Prepared(made.module, samples[0], made.report)
