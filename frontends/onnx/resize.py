"""Resize: at most two axes change, by sizes or scales known at compile time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Known, Unsupported

from .constants import static_sizes
from .registry import handles

_COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
)
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@dataclass(frozen=True)
class Target:
    """Of every axis: the size to make, and the scale that maps coordinates."""

    sizes: tuple[int, ...]
    scales: tuple[float, ...]

    def pick(self, axes: Sequence[int]) -> Target:
        return Target(tuple(self.sizes[a] for a in axes), tuple(self.scales[a] for a in axes))


@handles("Resize", since=10)
def resize(
    b: Emitter,
    x: Value,
    roi: Value | None = None,
    scales: Const | None = None,
    sizes: Known | None = None,
    *,
    antialias: int = 0,
    axes: tuple[int, ...] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Value:
    _refuse("mode", mode, ("nearest", "linear", "cubic"))
    _refuse("coordinate_transformation_mode", coordinate_transformation_mode, _COORDINATES)
    _refuse("nearest_mode", nearest_mode, _NEAREST)
    held = b.static(x, "its size depends on")
    chosen = range(len(held)) if axes is None else [b.axis(a, len(held), "axes") for a in axes]
    target = _target(held, list(chosen), scales, sizes, keep_aspect_ratio_policy)
    changed = [
        a for a, (n, s) in enumerate(zip(target.sizes, target.scales)) if (n, s) != (held[a], 1)
    ]
    if not changed:
        return x
    shrinks = mode != "nearest" and any(target.scales[a] < 1 for a in changed)
    if antialias and shrinks:
        raise Unsupported("antialiasing is not supported", attribute="antialias")
    return _resized(
        b,
        x,
        changed,
        target,
        mode=mode,
        coordinate_mode=coordinate_transformation_mode,
        nearest_mode=nearest_mode,
        cubic_coeff_a=cubic_coeff_a,
        exclude_outside=bool(exclude_outside),
    )


def _refuse(attribute: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise Unsupported(
            f"{value!r} is not supported; known are {', '.join(known)}", attribute=attribute
        )


def _target(
    held: tuple[int, ...],
    axes: list[int],
    scales: Const | None,
    sizes: Known | None,
    policy: str,
) -> Target:
    by_scale = scales is not None and scales.data.size > 0
    if by_scale == (sizes is not None and sizes.data.size > 0):
        raise Unsupported("either scales or sizes must be given")
    new_sizes, new_scales = list(held), [1.0] * len(held)
    if by_scale:
        assert scales is not None
        factors = [float(s) for s in scales.data.ravel()]
        _check_length(factors, axes)
        for axis, factor in zip(axes, factors):
            if not (np.isfinite(factor) and factor > 0):
                raise Unsupported(f"a scale is {factor}")
            new_sizes[axis], new_scales[axis] = int(np.floor(held[axis] * factor)), factor
        return Target(tuple(new_sizes), tuple(new_scales))
    assert sizes is not None
    wanted = list(static_sizes(sizes, "the new size depends on"))
    _check_length(wanted, axes)
    ratios = [n / held[axis] for axis, n in zip(axes, wanted)]
    if policy != "stretch":
        if policy not in ("not_larger", "not_smaller"):
            raise Unsupported(f"{policy!r} is unknown", attribute="keep_aspect_ratio_policy")
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        ratios = [ratio] * len(axes)
        wanted = [int(np.floor(ratio * held[axis] + 0.5)) for axis in axes]
    for axis, size, ratio in zip(axes, wanted, ratios):
        new_sizes[axis], new_scales[axis] = size, ratio
    return Target(tuple(new_sizes), tuple(new_scales))


def _check_length(given: Sequence[float], axes: Sequence[int]) -> None:
    if len(given) != len(axes):
        raise Unsupported(f"{len(given)} sizes are given for {len(axes)} axes")


def _resized(
    b: Emitter, x: Value, changed: list[int], target: Target, **attributes: object
) -> Value:
    """Moves the axes that change to the places 2 and 3 of four, and back."""
    held = b.static(x)
    if len(changed) > 2:
        raise Unsupported(f"the axes {changed} change; at most two may")
    spatial = changed
    if len(changed) == 1:
        # a neighbour that stays as it is comes along, so that images need no transposition
        spare = len(held) - 2 if changed[0] == len(held) - 1 else len(held) - 1
        spatial = sorted({*changed, spare} - {-1})
    outer = [a for a in range(len(held)) if a not in spatial]
    order = [*outer, *spatial]
    lead = [held[a] for a in outer]
    images = [1, 1, *lead][-2:] if len(lead) <= 2 else [int(np.prod(lead[:-1])), lead[-1]]
    part = target.pick(spatial)
    if len(spatial) == 1:
        part = Target((1, *part.sizes), (1.0, *part.scales))
    sizes = [1, *(held[a] for a in spatial)][-2:]
    flat = b.reshape(b.transpose(x, order), (*images, *sizes))
    y = b.call("resize", flat, size=part.sizes, scale=part.scales, **attributes)
    y = b.reshape(y, [target.sizes[a] for a in order])
    return b.transpose(y, [order.index(a) for a in range(len(held))])
