"""What a front end tells about a model: every node with its fate, every problem with a way out."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any


class Status(str, enum.Enum):
    """What became of a node of the source model."""

    #: one operator of ours
    NATIVE = "native"
    #: computed at compile time, or only another name for its input
    FOLDED = "folded"
    #: several operators of ours
    DECOMPOSED = "decomposed"
    UNSUPPORTED = "unsupported"
    #: reads the result of an unsupported node; its operator and attributes are known
    NOT_REACHED = "not reached"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Problem:
    """One reason why a model cannot be compiled."""

    node: str
    operator: str
    version: str
    reason: str
    attribute: str = ""
    way_out: str = ""

    def __str__(self) -> str:
        version = f" ({self.version})" if self.version else ""
        attribute = f", attribute {self.attribute}" if self.attribute else ""
        text = f"{self.operator}{version} {self.node!r}{attribute}: {self.reason}"
        return f"{text}; way out: {self.way_out}" if self.way_out else text


def summary(problems: Sequence[Problem]) -> str:
    """The problems in a list; those that differ in the node's name only in one line."""
    groups: dict[Problem, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(replace(problem, node=""), []).append(problem)
    lines = []
    for number, group in enumerate(groups.values(), 1):
        more = f" (and {len(group) - 1} more nodes like it)" if len(group) > 1 else ""
        lines.append(f"\n  {number}. {group[0]}{more}")
    plural = "s" if len(problems) > 1 else ""
    return f"the model has {len(problems)} problem{plural}:{''.join(lines)}"


@dataclass(frozen=True)
class NodeReport:
    """``reason`` says why a node is unsupported, or into what it was decomposed."""

    name: str
    operator: str
    status: Status
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """The answer of ``check``: what ``load`` would do, node by node."""

    path: str
    nodes: tuple[NodeReport, ...]
    problems: tuple[Problem, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def supported(self) -> bool:
        return not self.problems

    def counts(self) -> dict[str, int]:
        """The number of nodes of each status."""
        found = Counter(n.status.value for n in self.nodes)
        return {s.value: found[s.value] for s in Status if found[s.value]}

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        nodes = [{**asdict(n), "status": n.status.value} for n in self.nodes]
        return {
            "path": self.path,
            "supported": self.supported,
            "counts": self.counts(),
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
            "notes": list(self.notes),
            "problems": [asdict(p) for p in self.problems],
            "nodes": nodes,
        }
