"""Keep a model's weights in few bits, and calculate in floats as before: no data are needed.

The rounded weights stay multiples of a scale for each output channel, by which
``passes/store_bytes.py`` knows them again after they were packed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from armlet.compiler.ir import Function, Module
from armlet.compiler.passes import pipeline
from armlet.compiler.passes.store_bytes import STORED
from armlet.compiler.passes.store_half import WORTH

from .insert import insert
from .layers import Layer, layers_of
from .recipe import Recipe, Weights


def rounded_weights(
    module: Module, dtype: str, may: Callable[[Layer, Function], bool]
) -> tuple[Module, Function, Recipe]:
    """The module, and the float function that the recipe is for; only layers that ``may`` be."""
    plain = pipeline.run(module.main)
    layers = [
        layer for layer in layers_of(plain) if layer.weight.data.size >= WORTH and may(layer, plain)
    ]
    recipe = Recipe({}, {layer.name: _rounded(layer, dtype) for layer in layers})
    metadata = {k: v for k, v in module.metadata.items() if k not in ("path", "format")}
    metadata["source"] = module.metadata.get("path", "")
    return replace(module, main=insert(plain, recipe), metadata=metadata), plain, recipe


def _rounded(layer: Layer, dtype: str) -> Weights:
    data, (most, _) = layer.weight.data, STORED[dtype]
    others = tuple(a for a in range(data.ndim) if a != layer.axis)
    largest = np.abs(data).max(axis=others)
    scale = np.where(largest > 0, largest / most, 1).astype(np.float32)
    spread = scale.reshape(-1, *[1] * (data.ndim - 1 - layer.axis))
    whole = np.clip(np.rint(data / spread), -most, most).astype(dtype)
    return Weights(whole, scale, layer.axis)
