"""Processor cores by name: ``cores.toml`` as targets."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from .extensions import EXTENSIONS
from .target import Target

_FILE = Path(__file__).with_name("cores.toml")

#: keys that are fields of ``Target``, and what else a field is called there
_VALUES = (
    "lanes", "vector_registers", "issue_width", "in_order", "pairs", "fma_units", "fma_latency",
    "load_units", "broadcasts_from_memory",
)  # fmt: skip
_KIB = {"l1": "l1_bytes", "l2": "l2_bytes", "l3": "l3_bytes"}


@dataclass(frozen=True)
class Core:
    name: str
    architectures: tuple[str, ...]
    #: of machines that have it
    systems: tuple[str, ...]
    #: LLVM's name of it
    cpu: str
    extensions: tuple[str, ...]
    features: tuple[str, ...]
    attributes: tuple[str, ...]
    #: implementer and part, as in /proc/cpuinfo
    part: tuple[int, ...]
    #: what else of a target it sets
    values: dict[str, Any]

    def fits(self, family: Target) -> bool:
        """Whether there are machines of the family with this core."""
        return family.architecture in self.architectures and family.system in self.systems

    def on(self, family: Target) -> Target:
        """Code for this core under the family's system."""
        known = EXTENSIONS[family.architecture]
        has = [known[name] for name in self.extensions if name in known]
        changes = {k: v for e in has for k, v in e.changes.items()} | self.values
        features = (*family.features, *self.features, *(f for e in has for f in e.features))
        # LLVM knows a core's extensions, but gives 32-bit code few of them
        told = [a for e in has for a in e.attributes] if family.architecture == "armv7" else []
        return dataclasses.replace(
            family,
            name=f"{family.name}-{self.name}",
            cpu=self.cpu,
            attributes=(*family.attributes, *self.attributes, *told),
            features=tuple(dict.fromkeys(features)),
            **changes,
        )


def _core(name: str, row: dict[str, Any]) -> Core:
    values = {key: row[key] for key in _VALUES if key in row}
    values |= {field: row[key] << 10 for key, field in _KIB.items() if key in row}
    if "pairs" in values:
        values["pairs"] = tuple(values["pairs"])
    lists = ("extensions", "features", "attributes", "part")
    return Core(
        name=name,
        architectures=tuple(row["architecture"]),
        systems=tuple(row.get("systems", ("linux", "android"))),
        cpu=row.get("cpu", name),
        values=values,
        **{key: tuple(row.get(key, ())) for key in lists},
    )


CORES = {name: _core(name, row) for name, row in tomllib.loads(_FILE.read_text()).items()}
