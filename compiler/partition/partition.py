"""Decides which calls go to which back end, and puts each region's calls side by side.

Back ends are asked in the order that they are given in, each of what is left by those before it:

  1. calls that belong together (``BackEnd.patterns``), and single ones, are units it takes;
  2. units grow to regions, as large as they get without a cycle through the outside;
  3. a region with less than the least work, or that the CPU would do sooner, stays with the CPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from armlet.compiler.ir import Call, Function
from armlet.compiler.ops import Fusion, Op
from armlet.compiler.records import Records
from armlet.errors import PartitionError
from armlet.targets import Target
from armlet.targets.npu import BackEnd, Rejected

from .parts import Part, Parts, cut
from .prices import cpu_seconds
from .regions import Quotient, Unit, grow
from .report import CPU, Placed, Report, Step
from .unshare import unshare

#: what the CPU may do though accelerators must do everything
CONVERSIONS = ("quantize", "dequantize")


@dataclass(frozen=True, eq=False)
class Region:
    """What one back end does in one step: canonical IR, as ``BackEnd.compile`` takes it."""

    back_end: BackEnd
    name: str
    function: Function


@dataclass(frozen=True)
class Partition:
    """``report`` is None where no back end was asked."""

    parts: Parts[Region]
    report: Report | None = None


def partition(
    function: Function,
    back_ends: Sequence[BackEnd],
    target: Target,
    records: Records,
    priced: bool = True,
) -> Partition:
    """The canonical function in parts, those of back ends marked with their regions.

    Unless ``priced``, they take what they can, however long that lasts.
    """
    return _Partitioner(unshare(function), target, records, priced).run(back_ends)


def require_all(report: Report) -> None:
    """``PartitionError`` with every reason, if the CPU is left more than conversions to bytes."""
    problems = [str(p) for p in report.left if p.call.op.name not in CONVERSIONS]
    if problems:
        raise PartitionError(
            "\n  ".join(
                [f"{len(problems)} of {len(report.calls)} calls stay on the CPU:", *problems]
            ),
            way_out="compile without --require-npu, or change these layers",
        )


class _Partitioner:
    def __init__(self, function: Function, target: Target, records: Records, priced: bool) -> None:
        self.function, self.target, self.records = function, target, records
        self.priced = priced
        self.quotient = Quotient(function)
        self.place = dict.fromkeys(function, CPU)
        self.reasons: dict[Call, list[str]] = {call: [] for call in function}
        self.steps: list[Step] = []
        #: by the node of the quotient
        self.taken: dict[int, Region] = {}

    def run(self, back_ends: Sequence[BackEnd]) -> Partition:
        for back_end in back_ends:
            self._ask(back_end)
        quotient = self.quotient
        ordered = [(quotient.of(n), self.taken.get(n)) for n in quotient.order()]
        placed = (
            Placed(c, self.place[c], tuple(self.reasons[c]), _macs([c])) for c in self.function
        )
        return Partition(
            cut(self.function, ordered).apart(), Report(tuple(placed), tuple(self.steps))
        )

    # -- what a back end takes -----------------------------------------------------------------

    def _units(self, back_end: BackEnd) -> list[Unit]:
        """In the function's order, by their last calls; none of their calls is taken yet."""
        unit_of: dict[Call, Unit] = {}
        for unit in back_end.patterns(self.function):
            free = all(self.place[c] == CPU and c not in unit_of for c in unit)
            if free and self.quotient.can_join_all(unit):
                unit_of.update(dict.fromkeys(unit, unit))
        for call in self.function:
            if call in unit_of or self.place[call] != CPU:
                continue
            answer = back_end.query(call)
            if isinstance(answer, Rejected):
                self.reasons[call].append(f"{back_end}: {answer.reason}")
            else:
                unit_of[call] = (call,)
        last = {unit_of[c]: i for i, c in enumerate(self.function) if c in unit_of}
        return sorted(last, key=last.__getitem__)

    def _ask(self, back_end: BackEnd) -> None:
        trial = self.quotient.copy()
        for node in grow(trial, self._units(back_end)):
            calls = trial.of(node)
            step = self._priced(calls, back_end)
            self.steps.append(step)
            if step.reason:
                for call in calls:
                    self.reasons[call].append(f"{back_end}: {step.reason}")
                continue
            self.place.update(dict.fromkeys(calls, str(back_end)))
            region = Region(back_end, step.name, self._alone(calls))
            self.taken[self.quotient.join_all(calls)] = region

    def _alone(self, calls: Sequence[Call]) -> Function:
        inside = set(calls)
        rest = [c for c in self.function if c not in inside]
        parts: Sequence[Part[bool]] = cut(self.function, [(calls, True), (rest, None)]).parts
        return dataclasses.replace(parts[0].function, name="region")

    def _priced(self, calls: Sequence[Call], back_end: BackEnd) -> Step:
        alone, macs = self._alone(calls), _macs(calls)
        device, cpu = back_end.estimate(alone), 0.0
        if not any(c.op.fusion is not Fusion.VIEW for c in calls if isinstance(c.op, Op)):
            reason = "nothing is computed"
        elif not self.priced:
            reason = ""
        elif macs < back_end.least_macs:
            reason = f"{macs} multiply-adds, and {back_end.least_macs} are the least for a step"
        else:
            cpu = cpu_seconds(alone, self.target, self.records)
            reason = "" if device.seconds < cpu else _loses(device.seconds, cpu)
        return Step(str(back_end), _name(calls), tuple(calls), macs, device, cpu, reason)


def _loses(device: float, cpu: float) -> str:
    return f"it would take {1e3 * device:.3g} ms there, and {1e3 * cpu:.3g} ms here"


def _name(calls: Sequence[Call]) -> str:
    ends = dict.fromkeys((calls[0].source, calls[-1].source))
    return " .. ".join(ends)


def _macs(calls: Sequence[Call]) -> int:
    return sum(
        c.op.macs([v.type for v in c.operands], [v.type for v in c.outputs])  # type: ignore[attr-defined]
        for c in calls
    )
