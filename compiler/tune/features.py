"""Points as numbers that a model learns from: knobs, the estimate, and what it is made of.

Names are shared by all templates, so that what is learned of register tiles in convolutions
helps with matrix products; a point has no number for what its template does not speak of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from armlet.targets import Target

from .tasks import Point


def features(point: Point, target: Target) -> dict[str, float]:
    group, template, config = point.workload.group, point.template, point.record.config
    target = target.computing(group.dtype)
    estimate = template.estimate(group, target, config)
    ideal = group.macs / (target.lanes * target.fma_units)
    moved = sum(v.type.bytes for v in (*group.inputs, group.output))
    sizes = {
        "estimate": estimate,
        "ideal_of_estimate": ideal / estimate,
        "macs": group.macs,
        "moved_of_l2": moved / target.l2_bytes,
        "macs_per_byte": group.macs / moved,
        **template.features(group, target, config),
    }
    knobs = {f"{template.name}.{knob}": float(value) for knob, value in config.items()}
    return {**{name: math.log2(max(v, 1e-6)) for name, v in sizes.items()}, **knobs}


def matrix(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> np.ndarray:
    """The rows' numbers in the order of ``names``; NaN where a row has none."""
    return np.array([[row.get(n, math.nan) for n in names] for row in rows], np.float32)
