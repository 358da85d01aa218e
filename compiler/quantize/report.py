"""What to tell of a quantised model: where each layer is computed, why, and how well."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LayerReport:
    """``sqnr`` (decibels) and ``cosine`` are of its result in integers, even where it is not."""

    layer: str
    operator: str
    #: "int8" or "float32"
    precision: str
    #: of a layer in float32: "slow" or "inaccurate"
    why: str
    sqnr: float
    cosine: float
    #: the share of its input's range that all but outliers take up
    range_use: float
    #: how many times as fast as in floats integers are estimated to be; None where nobody asked
    gain: float | None

    @property
    def reason(self) -> str:
        """In words."""
        if self.why == "inaccurate":
            return "int8 is too inaccurate"
        if self.gain is None:
            return ""
        if self.why == "slow":
            return f"float32 is {1 / self.gain:.2f} times as fast"
        return f"int8 is {self.gain:.2f} times as fast"

    def as_dict(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "operator": self.operator,
            "precision": self.precision,
            "why": self.why,
            "sqnr": round(self.sqnr, 2) if math.isfinite(self.sqnr) else None,
            "cosine": round(self.cosine, 6),
            "range_use": round(self.range_use, 3),
            "gain": None if self.gain is None else round(self.gain, 3),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Report:
    """``drop`` is that of the answers over ``samples`` samples, in units of ``metric``."""

    layers: tuple[LayerReport, ...]
    metric: str
    drop: float
    max_drop: float | None
    samples: int

    @property
    def integer(self) -> int:
        return sum(layer.precision == "int8" for layer in self.layers)

    def as_dict(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "drop": self.drop,
            "max_drop": self.max_drop,
            "samples": self.samples,
            "integer_layers": self.integer,
            "layers": [layer.as_dict() for layer in self.layers],
        }
