"""Phones, boards and computers by name: ``devices.toml`` as targets.

A device's code is tuned for its big cores, which are those that a model runs on; the little ones
of every device here have what these have, so that the code runs anywhere.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cores import CORES, Core, tomllib
from .families import FAMILIES
from .target import Target

_FILE = Path(__file__).with_name("devices.toml")

#: a core is big if it reaches this share of the speed of the fastest
BIG = 0.5


@dataclass(frozen=True)
class Cluster:
    """Equal cores; ``l2_bytes`` is one core's share where they have one together."""

    core: Core
    count: int
    mhz: int
    l2_bytes: int

    @property
    def speed(self) -> float:
        """Multiply-adds of one core in a microsecond, vectors of 128 bits."""
        return self.core.values.get("fma_units", 2) * self.mhz


@dataclass(frozen=True)
class Device:
    name: str
    title: str
    system: str
    clusters: tuple[Cluster, ...]
    #: of the level after the last that a core or a cluster has to itself; 0 if there is none
    l3_bytes: int
    gpu: str
    source: str

    @property
    def big(self) -> tuple[Cluster, ...]:
        fastest = max(c.speed for c in self.clusters)
        return tuple(c for c in self.clusters if c.speed >= BIG * fastest)

    @property
    def target(self) -> Target:
        """Code for the big cores, with no instruction that one of the others lacks."""
        tuned = max(self.big, key=lambda c: c.count * c.speed)
        family = next(
            f for f in FAMILIES.values()
            if f.system == self.system and tuned.core.fits(f)
        )  # fmt: skip
        return dataclasses.replace(
            tuned.core.on(family),
            name=self.name,
            l2_bytes=tuned.l2_bytes,
            cores=sum(c.count for c in self.big),
        )


def _device(name: str, row: dict[str, Any]) -> Device:
    clusters = [
        Cluster(CORES[c["core"]], c["count"], c["mhz"], c["l2"] << 10) for c in row["clusters"]
    ]
    return Device(
        name=name,
        title=row["title"],
        system=row["system"],
        clusters=tuple(clusters),
        l3_bytes=row.get("l3", 0) << 10,
        gpu=row.get("gpu", ""),
        source=row["source"],
    )


DEVICES = {name: _device(name, row) for name, row in tomllib.loads(_FILE.read_text()).items()}
