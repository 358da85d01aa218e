"""How far a quantised function is from its float source, at its end and layer by layer.

A layer's own error is what rounding its input and its weights does to its result, everything
before it being in floats: so it tells who is to blame, and not who suffers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from armlet.compiler.ir import Function, Var
from armlet.compiler.ops.interpreter import evaluate

from .calibrate import Progress, Sample
from .layers import Layer
from .recipe import Recipe

#: per cent of the numbers at either end that are outliers
OUTLIERS = 0.1


@dataclass
class Agreement:
    """Sums over the elements of a right tensor and of one in its place."""

    signal: float = 0.0
    found: float = 0.0
    product: float = 0.0
    noise: float = 0.0
    #: rows along the last axis, and those whose largest element is another one
    rows: int = 0
    changed: int = 0

    def add(self, right: np.ndarray, found: np.ndarray) -> None:
        a, b = (np.asarray(v, np.float32).reshape(-1) for v in (right, found))
        self.signal += float(a @ a)
        self.found += float(b @ b)
        self.product += float(a @ b)
        apart = a - b
        self.noise += float(apart @ apart)

    def add_rows(self, right: np.ndarray, found: np.ndarray) -> None:
        if right.size and right.ndim:
            a, b = (v.reshape(-1, v.shape[-1]).argmax(1) for v in (right, found))
            self.rows += len(a)
            self.changed += int((a != b).sum())

    @property
    def sqnr(self) -> float:
        """Of signal to noise, in decibels."""
        if not self.noise:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf

    @property
    def cosine(self) -> float:
        norms = math.sqrt(self.signal * self.found)
        return self.product / norms if norms else float(self.signal == self.found)

    @property
    def error(self) -> float:
        """The root mean square of the difference, relative to that of the right tensor."""
        if not self.signal:
            return 0.0 if not self.noise else math.inf
        return math.sqrt(self.noise / self.signal)

    @property
    def top1(self) -> float:
        """The share of rows whose largest element is another one."""
        return self.changed / self.rows if self.rows else 0.0


#: what a drop is measured in
METRICS = ("error", "top1")


def drop(
    right: Sequence[Sequence[np.ndarray]],
    function: Function,
    samples: Sequence[Sample],
    metric: str,
    progress: Progress,
) -> float:
    """The worst output's, over all samples. ``right`` are the results of the float function."""
    found = [Agreement() for _ in function.results]
    for index, (expected, sample) in enumerate(zip(right, samples, strict=True)):
        progress("comparing", index, len(samples))
        for each, a, b in zip(found, expected, evaluate(function, sample), strict=True):
            each.add(a, b)
            each.add_rows(a, b)
    return max((float(getattr(each, metric)) for each in found), default=0.0)


def layer_errors(
    function: Function,
    recipe: Recipe,
    layers: Sequence[Layer],
    samples: Sequence[Sample],
    progress: Progress,
) -> dict[str, Agreement]:
    """By the layers' names."""
    found = {layer.name: Agreement() for layer in layers}
    by_result = {layer.call.output: layer for layer in layers}
    last: dict[Var, Layer] = {layer.x: layer for layer in layers}
    for index, sample in enumerate(samples):
        values: dict[Var, np.ndarray] = {p: sample[p.name] for p in function.params if p in last}

        def observe(var: Var, data: np.ndarray) -> None:
            if var in last:
                values[var] = data  # noqa: B023
            layer = by_result.get(var)
            if layer is None:
                return
            found[layer.name].add(data, rounded_result(layer, recipe, values[layer.x]))  # noqa: B023
            if last[layer.x] is layer:
                del values[layer.x]  # noqa: B023

        progress("comparing layers", index, len(samples))
        evaluate(function, sample, observe)
    return found


def rounded_result(layer: Layer, recipe: Recipe, x: np.ndarray) -> np.ndarray:
    """What a layer computes of integers instead of ``x`` and its weights."""
    scaled, weights = recipe.tensors[layer.x.name], recipe.layers[layer.name]
    operands = [scaled.rounded(x), weights.numbers()]
    if weights.bias is not None:
        operands.append(
            weights.bias.astype(np.float32) * (np.float32(scaled.scale) * weights.scale)
        )
    return np.asarray(layer.call.op.evaluate(*operands))  # type: ignore[attr-defined]


def range_use(between: Mapping[str, tuple[float, float]], recipe: Recipe, name: str) -> float:
    """The share of a tensor's range that all but its outliers take up."""
    low, high = between[name]
    return min(1.0, (high - low) / (recipe.tensors[name].scale * 255))
