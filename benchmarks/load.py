"""Whether the machine was the benchmark's own: CPU time that others took meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .process import Process

TICK = os.sysconf("SC_CLK_TCK")


def _ticks(file: str) -> list[int]:
    """The numbers of a ``stat`` file of Linux, after its name."""
    return [int(n) for n in Path(file).read_text().split("\n")[0].rpartition(")")[2].split()[1:]]


@dataclass(frozen=True)
class Sample:
    """Seconds since some moment: of the clock, and of CPUs that worked for somebody else."""

    clock: float
    others: float

    @classmethod
    def of(cls, processes: Iterable[Process]) -> Sample:
        user, nice, system, _, _, irq, softirq, steal, *_ = _ticks("/proc/stat")
        busy = user + nice + system + irq + softirq + steal
        own = sum(sum(_ticks(f"/proc/{p.process.pid}/stat")[10:12]) for p in processes)
        self = os.times()
        return cls(time.monotonic(), (busy - own) / TICK - self.user - self.system)

    def disturbance(self, before: Sample) -> float:
        """CPUs that others used on average since ``before``, other virtual machines included."""
        return max(0.0, (self.others - before.others) / (self.clock - before.clock))
