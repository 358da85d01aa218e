"""What a core that issues in order can start together: kinds of instructions and units.

A 128-bit vector instruction takes both 64-bit halves of the vector unit, and what may issue
beside it differs from core to core: ``Target.pairs`` says. A 128-bit load blocks issue for two
cycles on all of them, so loops have none: a vector comes by a 64-bit load of its lower half,
an integer load of its upper half and an insertion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from armlet.targets import Target


@dataclass(frozen=True)
class Kind:
    """Cycles until the result may be read, and the units that it takes for a cycle."""

    latency: int
    units: Mapping[str, int]


@dataclass(frozen=True)
class Pipeline:
    #: instructions that start each cycle
    width: int
    #: units of each name
    units: Mapping[str, int]
    kinds: Mapping[str, Kind]
    #: cycles from a load to the first use of what it loads, such that a line from L2 is there
    reach: int


def pipeline(target: Target) -> Pipeline:
    """The pipeline of a target's core."""

    def beside(kind: str, latency: int, units: Mapping[str, int], vector: int) -> Kind:
        """Takes ``vector`` halves of the vector unit, unless it pairs with multiply-adds."""
        return Kind(latency, units if kind in target.pairs else {**units, "vector": vector})

    return Pipeline(
        width=2,
        units={"vector": 2, "load": 1, "store": 1, "alu": 2, "branch": 1},
        kinds={
            "multiply_add": Kind(target.fma_latency, {"vector": 2}),
            "vector": Kind(4, {"vector": 2}),
            "load_half": beside("load_half", 3, {"load": 1}, 2),
            "insert": beside("insert", 2, {"alu": 1} if "insert" in target.pairs else {}, 1),
            "load_integer": Kind(3, {"load": 1}),
            "store": Kind(1, {"store": 1}),
            "alu": Kind(1, {"alu": 1}),
            "branch": Kind(1, {"branch": 1}),
        },
        reach=16,
    )
