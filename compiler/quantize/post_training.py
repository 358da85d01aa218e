"""Quantise a trained model: count on data, choose scales, keep in floats what must stay so.

A layer stays in float32 where the target computes it faster so, and where the answers would drop
by more than they may: those with the largest errors of their own are kept, as few as do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from armlet.compiler.ir import Function, Module
from armlet.compiler.ops.interpreter import evaluate
from armlet.compiler.passes import pipeline
from armlet.compiler.records import Records
from armlet.errors import QuantizationError, SettingError
from armlet.targets import Target

from .assess import METRICS, OUTLIERS, Agreement, drop, layer_errors, range_use
from .calibrate import Progress, Sample, Statistics, calibrate
from .equalize import equalize
from .insert import insert
from .layers import Layer, layers_of, tensors_for
from .observers import METHODS
from .price import Price, prices, slower
from .recipe import Recipe, Scaled
from .report import LayerReport, Report
from .weights import quantized_weights

#: samples that layers are compared by
COMPARED = 4


@dataclass(frozen=True)
class Options:
    """How to quantise; ``max_drop`` is in units of ``metric``, None where there is no limit."""

    method: str = "mse"
    metric: str = "error"
    max_drop: float | None = None
    equalize: bool = False
    #: every layer in integers, though floats be faster
    force: bool = False

    def __post_init__(self) -> None:
        for what, value, known in (
            ("method", self.method, tuple(METHODS)),
            ("metric", self.metric, METRICS),
        ):
            if value not in known:
                way_out = f"use one of {', '.join(known)}"
                raise SettingError(f"{what} {value!r} is unknown", way_out=way_out)
        if self.max_drop is not None and not self.max_drop >= 0:
            raise SettingError(
                f"a drop of at most {self.max_drop} is not possible", way_out="a number from 0"
            )


@dataclass(frozen=True)
class Quantized:
    """``module`` is the quantised model; ``plain`` the float function that ``recipe`` is for."""

    module: Module
    plain: Function
    recipe: Recipe
    report: Report
    #: whether the function's constants are others than the source's
    equalized: bool = False


def _any(layer: Layer, function: Function) -> bool:
    return True


def quantize(
    module: Module,
    samples: Sequence[Sample],
    options: Options,
    progress: Progress,
    target: Target | None = None,
    records: Records | None = None,
    may: Callable[[Layer, Function], bool] = _any,
) -> Quantized:
    """Of static shapes. Without a ``target`` speed does not matter.

    Only layers that ``may`` be are quantised. ``QuantizationError`` where there is none.
    """
    plain = pipeline.run(module.main)
    if options.equalize:
        plain = equalize(plain)
    layers = [layer for layer in layers_of(plain) if may(layer, plain)]
    if not layers:
        raise QuantizationError(
            "no layer can be computed in integers: there is neither a convolution nor a product "
            "by a constant matrix in floats",
            where=str(module.metadata.get("path", "")),
            way_out="compile it as it is",
        )
    tensors = tensors_for(plain, layers)
    statistics = calibrate(plain, tensors, samples, progress)
    recipe = _recipe(layers, tensors, statistics, options)
    work = _Work(plain, layers, samples, options, progress, recipe)
    cost = prices(layers, target, records or Records.of(target)) if target else {}
    kept = slower(layers, cost, target) if target and not options.force else {}
    errors = layer_errors(plain, recipe, layers, samples[:COMPARED], progress)
    steered = work.steer(kept, errors)
    reports = [
        _report(layer, statistics, recipe, errors, cost, layer.name in kept, steered.kept)
        for layer in layers
    ]
    report = Report(tuple(reports), options.metric, steered.drop, options.max_drop, len(samples))
    main = replace(insert(plain, steered.recipe), name=module.main.name)
    metadata = {k: v for k, v in module.metadata.items() if k not in ("path", "format")}
    metadata["source"] = module.metadata.get("path", "")
    module = replace(module, main=main, metadata=metadata)
    return Quantized(module, plain, steered.recipe, report, options.equalize)


def _recipe(
    layers: Sequence[Layer], tensors: dict, statistics: Statistics, options: Options
) -> Recipe:
    """Of every layer that can be quantised."""
    choose = METHODS[options.method]
    ranges = {v: choose(statistics.histograms[v.name]) for v in tensors}
    scaled = {}
    for v, root in tensors.items():
        mates = [ranges[w] for w, other in tensors.items() if other is root]
        scaled[v.name] = Scaled.of_range(min(r[0] for r in mates), max(r[1] for r in mates))
    weights = {
        layer.name: quantized_weights(layer, scaled[layer.x.name], statistics.mean(layer.x.name))
        for layer in layers
    }
    return Recipe(scaled, weights)


@dataclass(frozen=True)
class Steered:
    recipe: Recipe
    kept: frozenset[str]
    drop: float


@dataclass(frozen=True)
class _Work:
    """What steering goes by."""

    plain: Function
    layers: Sequence[Layer]
    samples: Sequence[Sample]
    options: Options
    progress: Progress
    recipe: Recipe

    def steer(self, kept: dict[str, Price], errors: dict[str, Agreement]) -> Steered:
        """``kept`` are in floats anyway; the fewest others with the largest errors join them."""
        right = [evaluate(self.plain, sample) for sample in self.samples]
        names = [layer.name for layer in self.layers if layer.name not in kept]
        worst = sorted(names, key=lambda name: errors[name].sqnr)

        def tried(count: int) -> Steered:
            recipe = self.cut({*kept, *worst[:count]})
            found = 0.0
            if recipe.layers:
                function = insert(self.plain, recipe)
                found = drop(right, function, self.samples, self.options.metric, self.progress)
            return Steered(recipe, frozenset(worst[:count]), found)

        best, limit = tried(0), self.options.max_drop
        if limit is None or best.drop <= limit:
            return best
        # the drop falls as layers are kept: halve the interval in which it meets the limit
        low, high, best = 0, len(worst), tried(len(worst))
        while high - low > 1:
            middle = tried((low + high) // 2)
            if middle.drop <= limit:
                high, best = (low + high) // 2, middle
            else:
                low = (low + high) // 2
        return best

    def cut(self, kept: set[str]) -> Recipe:
        """The recipe without layers that are kept, and without tensors that nobody needs then."""
        left = [layer for layer in self.layers if layer.name not in kept]
        return self.recipe.without(kept, {v.name for v in tensors_for(self.plain, left)})


def _report(
    layer: Layer,
    statistics: Statistics,
    recipe: Recipe,
    errors: dict[str, Agreement],
    cost: dict[str, Price],
    slow: bool,
    kept: frozenset[str],
) -> LayerReport:
    name, x = layer.name, layer.x.name
    between = {x: statistics.histograms[x].between(OUTLIERS / 100)}
    gain = cost[name].gain if name in cost else None
    why = "slow" if slow else "inaccurate" if name in kept else ""
    return LayerReport(
        layer.source, layer.call.op.name, "float32" if why else "int8", why, errors[name].sqnr,
        errors[name].cosine, range_use(between, recipe, x), gain,
    )  # fmt: skip
