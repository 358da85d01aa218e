"""An artifact's values against the source model's, as the artifact computes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from armlet.compare import Difference, allowances, difference
from armlet.compiler.ir.names import split_transposed
from armlet.compiler.ops.blocked import unpack_array
from armlet.compiler.select.layouts import plain_name
from armlet.model import OpenModel
from armlet.reference import Reference


@dataclass(frozen=True)
class LayerDifference:
    """One value that both have; ``kind`` is "layer" or "output"."""

    source: str
    kind: str
    difference: Difference
    #: what the relative error may be
    allowed: float

    @property
    def flagged(self) -> bool:
        return not self.difference.within(self.allowed)

    def as_dict(self) -> dict[str, Any]:
        return {
            "value": self.difference.name,
            **{k: v for k, v in asdict(self.difference).items() if k != "name"},
            "layer": self.source,
            "kind": self.kind,
            "allowed": self.allowed,
            "flagged": self.flagged,
        }


def plain(name: str, data: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A value in the layout of the source model: channels and axes in their place again."""
    whole = plain_name(name)
    _, perm = split_transposed(whole)
    axes = perm or tuple(range(right.ndim))
    if name != whole and data.ndim == 5 and right.ndim == 4:
        data = unpack_array(data, right.shape[axes[1]])
    return data.transpose(np.argsort(axes)) if perm and data.ndim == len(perm) else data


def source_name(name: str) -> str:
    """What the source model calls a value, whatever its layout."""
    return split_transposed(plain_name(name))[0]


def _allowed(right: np.ndarray, tolerance: float) -> float:
    if right.dtype.kind != "f":
        return 0.0
    return max(tolerance, float(np.finfo(right.dtype).eps))


def compare_layers(
    model: OpenModel,
    reference: Reference,
    feeds: Mapping[str, np.ndarray],
    tolerance: float,
) -> list[LayerDifference]:
    """Every inner value that the source model has too, in order of computation, then the outputs.

    Outputs are allowed what ``compare.allowances`` says, inner values ``tolerance`` of their
    own range.
    """
    outputs = reference.run(feeds)
    outputs = {o.name: outputs[o.name] for o in model.outputs}
    inner = reference.values(feeds, {source_name(t.value) for t in model.tasks})
    found: list[LayerDifference] = []
    sources = iter([t.source for t in model.tasks])

    def observe(name: str, data: np.ndarray) -> None:
        source, base = next(sources), source_name(name)
        if base not in inner or base in outputs:
            return
        right = inner[base]
        apart = difference(base, right, plain(name, data, right))
        found.append(LayerDifference(source, "layer", apart, _allowed(right, tolerance)))

    with model.observe(observe):
        results = model.run(feeds)
    allowed = allowances(reference, feeds, outputs, tolerance)
    for name, right in outputs.items():
        apart = difference(name, right, results[name])
        found.append(LayerDifference("", "output", apart, allowed[name]))
    return found
