"""What the partitioner decided of every call, and why: the text and the JSON that users get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from armlet.compiler.ir import Call
from armlet.targets.npu import Estimate

#: where calls are that no back end took
CPU = "cpu"


@dataclass(frozen=True)
class Step:
    """A region that a back end could take, with both prices; taken if the reason is ""."""

    back_end: str
    #: the layers at its ends: "stem .. head"
    name: str
    calls: tuple[Call, ...]
    macs: int
    device: Estimate
    cpu_seconds: float
    reason: str = ""

    def __str__(self) -> str:
        verdict = f"stays on the CPU: {self.reason}" if self.reason else "taken"
        return (
            f"{self.back_end}, {self.name}: {len(self.calls)} calls, {self.macs} MACs, "
            f"{1e3 * self.device.seconds:.3g} ms ({self.device}) against "
            f"{1e3 * self.cpu_seconds:.3g} on the CPU: {verdict}"
        )


@dataclass(frozen=True)
class Placed:
    """Where a call is, and the reasons of the back ends that did not take it."""

    call: Call
    place: str
    reasons: tuple[str, ...]
    macs: int

    def __str__(self) -> str:
        return f"{self.call.source!r} ({self.call.op.name}): {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Report:
    """Every call in the order of the model, and every region that was priced."""

    calls: tuple[Placed, ...]
    steps: tuple[Step, ...]

    @property
    def taken(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if not step.reason)

    @property
    def left(self) -> tuple[Placed, ...]:
        """The calls that the CPU does."""
        return tuple(p for p in self.calls if p.place == CPU)

    def share(self) -> float:
        """Of the multiply-adds, the part that accelerators do."""
        total = sum(p.macs for p in self.calls)
        return 1 - sum(p.macs for p in self.left) / total if total else 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "macs_share": round(self.share(), 4),
            "calls": [
                {
                    "layer": p.call.source,
                    "operator": p.call.op.name,
                    "place": p.place,
                    "macs": p.macs,
                    "reasons": list(p.reasons),
                }
                for p in self.calls
            ],
            "regions": [
                {
                    "back_end": s.back_end,
                    "name": s.name,
                    "calls": len(s.calls),
                    "macs": s.macs,
                    "device_seconds": s.device.seconds,
                    "cpu_seconds": s.cpu_seconds,
                    "reason": s.reason,
                }
                for s in self.steps
            ],
        }
