"""Tunes the tasks of a model: shares the trials, keeps records, and judges at the end.

Each round goes to the task that promises to save the most of the model's time: its share of it
times the gain that its search expects. Where the meter works ahead, the next rounds are proposed
before the last one's times are known. The end comes when that sums up to less than ``ENOUGH``,
or with the budget. Then each form's best is measured in turns with its default, and only what
is surely faster serves. Every record is on the disk before the next is made, so a tuner that is
killed goes on where it was.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from armlet.compiler.records import FASTER, Record, Records, append, of_family, read, user_file
from armlet.targets import Target, of_fingerprint

from .features import features, matrix
from .measure import Measuring, Meter
from .ranker import Samples
from .search import Search
from .tasks import Point, Task, point_of

T = TypeVar("T")

#: candidates that are built and raced together
BATCH = 8
#: the share of the model's time that is not worth another round
ENOUGH = 0.01
#: turns of the last comparison, and the share of them that the better one must win
JUDGING, WON = 15, 2 / 3
#: seconds of a candidate in the last comparison
JUDGED = 0.5
#: trials of other workloads that teach the model
TAUGHT = 4000


@dataclass
class Job:
    """A task and its search."""

    task: Task
    points: list[Point]
    search: Search
    trials: int = 0
    #: rounds of its search, those that found something faster, and those that are not over
    rounds: int = 0
    gains: int = 0
    going: int = 0
    #: (trials of all tasks, seconds of the best) whenever it changed
    curve: list[tuple[int, float]] = field(default_factory=list)
    #: seconds with and without tuning, measured in turns at the end
    verdict: tuple[float, float] | None = None

    @property
    def default_seconds(self) -> float:
        """Of what is used without tuning; the best known where that cannot be measured."""
        found = self.search.seconds.get(0, math.inf)
        return found if math.isfinite(found) else self.best_seconds

    @property
    def best_seconds(self) -> float:
        best = self.search.best
        return math.inf if best is None else self.search.seconds[best]

    @property
    def failures(self) -> int:
        return sum(math.isinf(s) for s in self.search.seconds.values())


@dataclass(frozen=True)
class Update:
    """How far tuning is: after every batch."""

    job: Job
    trials: int
    #: share of the model's time that the next rounds are expected to save
    gain: float
    #: what has been saved of the time of all tasks
    saved: float
    seconds: float
    judging: bool = False


@dataclass(frozen=True)
class Budget:
    """Trials and seconds that may be spent; None: as many as promise a gain."""

    trials: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Round:
    """Points of some jobs that are measured together."""

    chosen: Sequence[tuple[Job, int]]
    #: as ``Meter.start`` takes it
    race: dict[str, Any]
    #: whether the search proposed it
    proposed: bool = True

    @property
    def points(self) -> list[Point]:
        return [job.points[i] for job, i in self.chosen]

    @property
    def jobs(self) -> list[Job]:
        return list({id(job): job for job, _ in self.chosen}.values())


class Tuner:
    def __init__(
        self,
        tasks: Sequence[Task],
        target: Target,
        meter: Meter,
        output: Path,
        *,
        seed: int = 0,
        observe: Callable[[Update], None] = lambda update: None,
    ) -> None:
        self.target, self.meter, self.output, self.observe = target, meter, output, observe
        own = [*read(user_file(target)), *read(output)]
        known = Records(r for r in own if r.modelled == meter.modelled)
        names, others = _taught([*of_family(target), *read(output)], target)
        self.jobs = [self._job(t, known, names, others, seed) for t in tasks]
        #: trials that are recorded, and that were begun
        self.trials = self._asked = 0
        self._begun = time.monotonic()

    def _job(
        self,
        task: Task,
        known: Records,
        names: Sequence[str],
        others: _Taught,
        seed: int,
    ) -> Job:
        points = task.points(self.target)
        rows = [features(p, self.target) for p in points]
        names = sorted({*names, *(n for row in rows for n in row)})
        told = {w: found for w in task.workloads if (found := known.at(w.text, self.target))}
        own = {(self.target.fingerprint, w.text, self.meter.modelled) for w in told}
        taught = [_samples(found, names) for key, found in others.items() if key not in own]
        estimates = np.exp2([row["estimate"] for row in rows])
        search = Search(matrix(rows, names), estimates, len(task.workloads), taught, seed)
        job = Job(task, points, search)
        place = {p.record.identity: i for i, p in enumerate(points)}
        for record in (r for found in told.values() for r in found):
            if record.identity in place:
                search.tell(place[record.identity], record.seconds)
        return job

    # -- the search -----------------------------------------------------------------------------

    def run(self, budget: Budget = Budget()) -> list[Job]:
        """The jobs, searched and judged."""
        self._begun = time.monotonic()
        for started in self._overlapped(self._started(self._defaults())):
            self._finish(*started)
        for started in self._overlapped(self._started(self._rounds(budget))):
            self._finish(*started)
        for jobs, points, verdict in self._overlapped(self._verdicts()):
            self._judge(jobs, points, verdict)
        return self.jobs

    def _overlapped(self, started: Iterable[T]) -> Iterator[T]:
        """In order, each after as many have been started as the meter takes at once."""
        going: deque[T] = deque()
        for each in started:
            going.append(each)
            if len(going) == self.meter.ahead:
                yield going.popleft()
        yield from going

    def _started(self, rounds: Iterable[Round]) -> Iterator[tuple[Round, Measuring]]:
        for round in rounds:
            self._asked += len(round.chosen)
            for job in round.jobs:
                job.going += 1
            keep = partial(append, self.output)
            yield round, self.meter.start(round.points, keep, **round.race)

    def _defaults(self) -> Iterator[Round]:
        """What is used without tuning, of all forms, where it is not known."""
        for jobs in _chunks(self.jobs):
            fresh = [
                (job, i)
                for job in jobs
                for i in range(len(job.task.workloads))
                if i not in job.search.seconds
            ]
            if fresh:
                yield Round(fresh, {"races": False}, proposed=False)

    def _rounds(self, budget: Budget) -> Iterator[Round]:
        while self._may_go_on(budget):
            promises = [(self._promise(job), job) for job in self.jobs]
            if sum(promise for promise, _ in promises) < ENOUGH:
                return
            # what is not told yet may be the gain
            most = sorted(promises, key=lambda p: -p[0] / (1 + p[1].going))[: self.meter.together]
            jobs = [job for promise, job in most if promise > 0]
            chosen = [(job, i) for job in jobs for i in job.search.propose(BATCH)]
            if budget.trials is not None:
                chosen = chosen[: budget.trials - self._asked]
            yield Round(chosen, {"best": [job.best_seconds for job, _ in chosen]})

    def _may_go_on(self, budget: Budget) -> bool:
        if all(job.search.done for job in self.jobs):
            return False
        if budget.trials is not None and self._asked >= budget.trials:
            return False
        return budget.seconds is None or time.monotonic() - self._begun < budget.seconds

    def _promise(self, job: Job) -> float:
        """The share of the model's time that the next round of a task may save."""
        total = sum(
            j.task.count * j.best_seconds for j in self.jobs if math.isfinite(j.best_seconds)
        )
        if job.search.done:
            return 0.0
        if math.isinf(job.best_seconds):
            return 1.0
        share = job.task.count * job.best_seconds / total
        # the rule of succession: errors of predictions are too much alike to be trusted alone
        chance = (job.gains + 1) / (job.rounds + 2)
        return share * chance * job.search.expected_gain(BATCH)

    def _finish(self, round: Round, measuring: Measuring) -> None:
        before = {id(job): job.best_seconds for job in round.jobs}
        for (job, index), (record, _) in zip(round.chosen, measuring.result(), strict=True):
            best = job.best_seconds
            job.search.tell(index, record.seconds)
            self.trials += 1
            job.trials += 1
            if job.best_seconds < best or not job.curve:
                job.curve.append((self.trials, job.best_seconds))
        for job in round.jobs:
            job.going -= 1
            job.rounds += round.proposed
            job.gains += round.proposed and job.best_seconds < before[id(job)]
        self.observe(self._update(round.chosen[-1][0]))

    def _update(self, job: Job, judging: bool = False) -> Update:
        known = [j for j in self.jobs if math.isfinite(j.best_seconds)]
        before = sum(j.task.count * j.default_seconds for j in known)
        after = sum(j.task.count * j.best_seconds for j in known)
        return Update(
            job, self.trials, 0.0 if judging else sum(map(self._promise, self.jobs)),
            1 - after / before if before else 0.0, time.monotonic() - self._begun, judging,
        )  # fmt: skip

    # -- the verdict ----------------------------------------------------------------------------

    def _verdicts(self) -> Iterator[tuple[list[Job], list[Point], Measuring]]:
        for jobs in _chunks(self.jobs):
            points = [p for job in jobs for pair in self._rivals(job) for p in pair]
            points = list(dict.fromkeys(points))
            race: dict[str, Any] = {"turns": JUDGING, "most": JUDGED, "races": False}
            yield jobs, points, self.meter.start(points, **race)

    def _judge(self, jobs: Sequence[Job], points: Sequence[Point], measuring: Measuring) -> None:
        """Every form's best in turns with its default; the records say who won."""
        found = dict(zip(points, measuring.result(), strict=True))
        for job in jobs:
            settled = [self._settle(*pair, found) for pair in self._rivals(job)]
            untuned = found[job.points[0]][0].seconds
            if untuned is not None:
                job.verdict = (min(settled), untuned)
        self.observe(self._update(jobs[-1], judging=True))

    def _settle(
        self, default: Point, best: Point, found: dict[Point, tuple[Record, list[float]]]
    ) -> float:
        """Records who won; the seconds of the form from now on."""
        usual, its_times = found[default]
        made, times = found[best]
        won = best is not default and _surely_faster(times, its_times)
        if usual.seconds is not None:
            if best is not default:
                append(self.output, replace(made, default=usual.seconds, rejected=not won))
            append(self.output, replace(usual, default=usual.seconds))
        seconds = made.seconds if won else usual.seconds
        return math.inf if seconds is None else seconds

    def _rivals(self, job: Job) -> Iterator[tuple[Point, Point]]:
        """Each form's default and the best that was found for it."""
        for default in job.points[: len(job.task.workloads)]:
            of_form = {
                i: s
                for i, s in job.search.seconds.items()
                if job.points[i].workload == default.workload and math.isfinite(s)
            }
            best = min(of_form, key=of_form.__getitem__, default=None)
            yield default, default if best is None else job.points[best]


def _surely_faster(times: Sequence[float], default: Sequence[float]) -> bool:
    """Whether it took less in most turns, and clearly less in the median one."""
    if not times or not default:
        return bool(times)
    ratios = np.array(times) / np.array(default)[: len(times)]
    return bool(np.median(ratios) <= FASTER and (ratios < 1).mean() >= WON)


def _chunks(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """A few jobs at a time, as their data are in memory together."""
    for start in range(0, len(jobs), BATCH):
        yield list(jobs[start : start + BATCH])


# -- what earlier records teach -------------------------------------------------------------------


#: features and seconds of what was measured, by target, workload and how they were found
_Taught = dict[tuple[str, str, str], list[tuple[dict[str, float], float]]]


def _taught(records: Iterable[Record], target: Target) -> tuple[list[str], _Taught]:
    """Names of the features, and what the trials of the target's family tell."""
    trials = [r for r in Records(records) if r.seconds or r.failure][-TAUGHT:]
    found: _Taught = {}
    names: set[str] = set()
    for record in trials:
        of = target if record.target == target.fingerprint else of_fingerprint(record.target)
        point = point_of(record, of) if of else None
        if point and of:
            row = features(point, of)
            names.update(row)
            key = (*record.place, record.modelled)
            found.setdefault(key, []).append((row, record.seconds or math.inf))
    return sorted(names), found


def _samples(found: Sequence[tuple[dict[str, float], float]], names: Sequence[str]) -> Samples:
    rows, seconds = [row for row, _ in found], np.array([s for _, s in found])
    estimates = np.log(2) * np.array([row["estimate"] for row in rows])
    return Samples(matrix(rows, names), estimates, seconds)
