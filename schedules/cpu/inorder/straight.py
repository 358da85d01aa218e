"""Straight-line code for a core that issues in order: the order of issue, and registers.

A list scheduler (Gibbons & Muchnick, PLDI'86): cycle by cycle, the first instructions of the
given order that are ready, within a window, are issued as far as units allow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from .pipeline import Pipeline
from .schedule import DoesNotFitError

#: instructions that are looked at in a cycle
_WINDOW = 64
#: registers that only the first instruction in order may take
_SPARE = 2


@dataclass(frozen=True)
class Instruction:
    """``text`` names its values in braces; ``replaces`` is the value that ``result`` overwrites."""

    kind: str
    text: str
    result: str = ""
    reads: tuple[str, ...] = ()
    replaces: str = ""
    #: whether the result is an integer
    integer: bool = False


@dataclass
class Ordered:
    texts: list[str]
    #: registers of the values that nothing read
    kept: dict[str, str]
    cycles: int


def order(
    code: Sequence[Instruction],
    pipeline: Pipeline,
    registers: Sequence[str],
    temporaries: Sequence[str],
) -> Ordered:
    """``registers`` are for vectors, ``temporaries`` for integers on their way into them."""
    return _Attempt(pipeline, list(registers), list(temporaries)).run(code)


@dataclass
class _Attempt:
    pipeline: Pipeline
    registers: list[str]
    temporaries: list[str]
    #: where values are, when they may be read, and how many reads are to come
    held: dict[str, str] = field(default_factory=dict)
    ready: dict[str, int] = field(default_factory=dict)
    reads: Counter[str] = field(default_factory=Counter)
    #: what the cycle issues
    written: list[str] = field(default_factory=list)

    def run(self, code: Sequence[Instruction]) -> Ordered:
        self.reads = Counter(v for i in code for v in i.reads)
        waiting, texts, time, idle = list(code), list[str](), 0, 0
        while waiting:
            issued = self._cycle(waiting[:_WINDOW], time)
            for each in issued:
                waiting.remove(each)
            texts += self.written
            idle = 0 if issued else idle + 1
            if idle > 64:
                raise DoesNotFitError("no register is free")
            time += 1
        return Ordered(texts, self.held, time)

    def _cycle(self, window: Sequence[Instruction], time: int) -> list[Instruction]:
        """What is issued in a cycle."""
        free = {**self.pipeline.units, "issue": self.pipeline.width}
        issued: list[Instruction] = []
        self.written = []
        for place, each in enumerate(window):
            if not free["issue"]:
                break
            units = {**self.pipeline.kinds[each.kind].units, "issue": 1}
            fits = all(free[u] >= n for u, n in units.items())
            if fits and self._ready(each, time) and self._room(each, place == 0):
                for unit, count in units.items():
                    free[unit] -= count
                self._issue(each, time)
                issued.append(each)
        return issued

    def _ready(self, each: Instruction, time: int) -> bool:
        if any(self.ready.get(v, time + 1) > time for v in each.reads):
            return False
        return not each.replaces or self.reads[each.replaces] == 1

    def _room(self, each: Instruction, first: bool) -> bool:
        if not each.result or each.replaces:
            return True
        if any(self.reads[v] == 1 and self.held[v].isdigit() for v in each.reads):
            return True
        pool = self.temporaries if each.integer else self.registers
        return len(pool) > (0 if first or each.integer else _SPARE)

    def _issue(self, each: Instruction, time: int) -> None:
        """An instruction may write to a register that it is the last to read."""
        names = dict(self.held)
        for value in each.reads:
            self.reads[value] -= 1
            if not self.reads[value]:
                register = self.held.pop(value)
                if value != each.replaces:
                    pool = self.registers if register.isdigit() else self.temporaries
                    pool.append(register)
        if each.replaces:
            self.held[each.result] = names[each.replaces]
        elif each.result:
            pool = self.temporaries if each.integer else self.registers
            self.held[each.result] = pool.pop(0)
        if each.result:
            names[each.result] = self.held[each.result]
            self.ready[each.result] = time + self.pipeline.kinds[each.kind].latency
        self.written.append(each.text.format(**names))
