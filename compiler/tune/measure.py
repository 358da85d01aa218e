"""Measures candidates: builds by an executor, runs in a runner process, names what went wrong.

A candidate that crashes or hangs costs the runner, which is started again; the others of its
batch are measured all the same.
"""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from armlet.compiler.lower import worker
from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.records import Record, now
from armlet.errors import ArmletError, ExecutionError, OutputError
from armlet.settings import JOBS
from armlet.targets import Target

from . import build, runner
from .runner import Batch, Begun, Candidate, Done, Wrong
from .tasks import Point

#: seconds that a build may take, and a runner be silent: long, as machines may be busy
BUILD_PATIENCE, RUN_PATIENCE = 120.0, 120.0
#: times that a runner may end by itself before it is an error
STARTS = 2
#: characters of a reason that a record keeps
REASON = 200


@dataclass
class Race:
    """The outcome of a batch as it comes in: seconds of each turn, or (kind, reason) of failing."""

    times: dict[int, list[float]] = field(default_factory=dict)
    failures: dict[int, tuple[str, str]] = field(default_factory=dict)


class Builders:
    """An executor that is the caller's, or a pool of processes that is replaced when it breaks."""

    def __init__(self, executor: Executor | None = None) -> None:
        self._given = executor
        self._pool: ProcessPoolExecutor | None = None

    @property
    def executor(self) -> Executor:
        if self._given is not None:
            return self._given
        if self._pool is None:
            # threads of TVM do not survive a fork
            self._pool = ProcessPoolExecutor(JOBS.value or 1, mp_context=get_context("spawn"))
        return self._pool

    def build(self, points: Sequence[Point], target: Target) -> list[Kernel | Exception]:
        """The kernel of each point, or why there is none."""
        submit = self.executor.submit
        futures = [submit(build.build, p.workload.group, target, p.record) for p in points]
        return [self._result(f) for f in futures]

    def _result(self, future: Future[Kernel]) -> Kernel | Exception:
        try:
            return future.result(timeout=BUILD_PATIENCE)
        except TimeoutError:
            self.close()
            return TimeoutError(f"building took more than {BUILD_PATIENCE:.0f} s")
        except BrokenProcessPool:
            self.close()
            return RuntimeError("the process that built it died")
        except Exception as error:
            return error

    def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            for process in (getattr(pool, "_processes", None) or {}).values():
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)


class _Unbuffered:
    """A pipe's bytes without reading ahead: ``select`` would not know of what was."""

    def __init__(self, file: int) -> None:
        self.file = file

    def read(self, size: int) -> bytes:
        found = b""
        while len(found) < size and (part := os.read(self.file, size - len(found))):
            found += part
        return found


class Runner:
    """The process that runs candidates, started when needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            path = os.pathsep.join(p for p in sys.path if p)
            self._process = subprocess.Popen(
                # not -m: what it sends would be of module __main__
                [sys.executable, "-c", f"from {runner.__name__} import main; main()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
            )
        return self._process

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream:
                    stream.close()

    def run(self, batch: Batch) -> Race:
        """Measures a batch; one that crashes or hangs is left out and the rest measured again."""
        race = Race()
        left = list(range(len(batch.candidates)))
        idle = 0
        while left:
            part = replace(batch, candidates=tuple(batch.candidates[i] for i in left))
            culprit, failure = self._attempt(part, left, race)
            if not failure[0]:
                break
            if culprit is not None:
                race.failures[culprit] = failure
            elif (idle := idle + 1) > STARTS:
                raise ExecutionError(
                    f"the process that measures ends before it runs anything: {failure[1]}",
                    way_out="see what it prints above",
                )
            left = [i for i in left if i not in race.failures]
        return race

    def _attempt(
        self, batch: Batch, left: Sequence[int], race: Race
    ) -> tuple[int | None, tuple[str, str]]:
        """What ended the runner, if anything did, and the candidate that ran then."""
        process = self._started()
        assert process.stdin and process.stdout
        answers = _Unbuffered(process.stdout.fileno())
        running: int | None = None

        def ended(kind: str, reason: str) -> tuple[int | None, tuple[str, str]]:
            self.close()
            return None if running is None else left[running], (kind, reason)

        try:
            worker.send(process.stdin, batch)  # type: ignore[arg-type]
            while True:
                ready, _, _ = select.select([process.stdout], [], [], RUN_PATIENCE)
                if not ready:
                    return ended("timeout", f"no answer within {RUN_PATIENCE:.0f} s")
                event = worker.receive(answers)  # type: ignore[arg-type]
                if isinstance(event, Begun):
                    running = event.candidate if event.candidate >= 0 else None
                elif isinstance(event, Wrong):
                    race.failures[left[event.candidate]] = ("wrong", event.reason)
                elif isinstance(event, Done):
                    race.times = {i: t for i, t in zip(left, event.times) if t}
                    return None, ("", "")
        except (OSError, EOFError):
            status = process.wait()
            if status == -signal.SIGPROF:
                return ended("timeout", f"it ran for {batch.patience:.0f} s")
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            return ended("crash", f"the process ended by {how}")


#: records of points, and the seconds of every turn of each
Measuring = Future[list[tuple[Record, list[float]]]]


def drop(record: Record) -> None:
    pass


class Meter:
    """Points to records. A meter that runs kernels elsewhere replaces ``race``."""

    #: what estimates the seconds; "" where they are measured
    modelled: str = ""
    #: tasks of a round: more where that much runs at once
    together: int = 1
    #: rounds that are begun before the first is over: more where it measures while others are built
    ahead: int = 1

    def __init__(self, target: Target, executor: Executor | None = None) -> None:
        self.target = target
        self.builders, self.runner = Builders(executor), Runner()

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *details: Any) -> None:
        self.builders.close()
        self.runner.close()

    def start(
        self, points: Sequence[Point], keep: Callable[[Record], None] = drop, **race: Any
    ) -> Measuring:
        """A record of each point, with seconds or with a failure, and the seconds of every turn.

        ``keep`` is called with each as soon as it is known. ``best`` are the seconds that each has
        to beat, the rest of ``race`` is as in ``Batch``.
        """
        found: Measuring = Future()
        found.set_result(self._measured(points, race))
        for record, _ in found.result():
            keep(record)
        return found

    def measure(self, points: Sequence[Point], **race: Any) -> list[Record]:
        """The records alone."""
        return [record for record, _ in self.start(points, **race).result()]

    def _measured(
        self, points: Sequence[Point], race: dict[str, Any]
    ) -> list[tuple[Record, list[float]]]:
        built = self.builders.build(points, self.target)
        kernels = [(i, k) for i, k in enumerate(built) if isinstance(k, Kernel)]
        try:
            with tempfile.TemporaryDirectory(prefix="armlet-tune-") as folder:
                found = self.race(points, kernels, Path(folder), race) if kernels else Race()
        except OSError as error:
            raise OutputError(
                f"a temporary file could not be written: {error.strerror or error}",
                where=tempfile.gettempdir(),
                way_out="free some space there, or set TMPDIR to another folder",
            ) from error
        index = {i: n for n, (i, _) in enumerate(kernels)}
        return [
            self._record(p.record, k, index.get(i, -1), found)
            for i, (p, k) in enumerate(zip(points, built))
        ]

    def race(
        self,
        points: Sequence[Point],
        kernels: Sequence[tuple[int, Kernel]],
        folder: Path,
        race: dict[str, Any],
    ) -> Race:
        """The outcome of ``kernels``, each the one of a point, in that order."""
        best = race.pop("best", [math.inf] * len(points))
        workloads = list(dict.fromkeys(points[i].workload for i, _ in kernels))
        counted = [(k, len(points[i].workload.group.inputs) + 1) for i, k in kernels]
        candidates = tuple(
            Candidate(workloads.index(points[i].workload), n, k.extent, k.scratch, best[i])
            for n, (i, k) in enumerate(kernels)
        )
        library = build.link(counted, self.target, folder)
        return self.runner.run(Batch(str(library), tuple(workloads), candidates, **race))

    def _record(
        self, point: Record, built: Kernel | Exception, index: int, race: Race
    ) -> tuple[Record, list[float]]:
        point = replace(point, modelled=self.modelled)
        if isinstance(built, Exception):
            return not_built(point, built), []
        if times := race.times.get(index, []):
            return timed(point, times), times
        return failed(point, *race.failures.get(index, ("crash", ""))), []


def timed(point: Record, times: Sequence[float]) -> Record:
    low, middle, high = (float(q) for q in np.percentile(times, [25, 50, 75]))
    spread = float(f"{high - low:.3g}")
    return replace(point, seconds=float(f"{middle:.6g}"), spread=spread, date=now())


def failed(point: Record, kind: str, reason: str) -> Record:
    return replace(point, failure=f"{kind}: {reason}"[:REASON], date=now())


def not_built(point: Record, error: Exception) -> Record:
    text = error.what if isinstance(error, ArmletError) else str(error)
    return failed(point, "compile", " ".join(text.split()) or type(error).__name__)
