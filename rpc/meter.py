"""Measures candidates on devices: the meter of ``armlet tune --device``.

Each device has two lanes, which take turns: while the device measures the batch of one, the other's
is built and uploaded; one where TVM's tracker or server lets a device have one client at a time.
Each lane has a session of its own, connects again when that breaks, and goes
on with the batch where it was. Several devices share the batches.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.records import Record
from armlet.compiler.tune import build
from armlet.compiler.tune.measure import Measuring, Meter, drop, failed, not_built, timed
from armlet.compiler.tune.tasks import Point
from armlet.errors import (
    ArmletError,
    DeviceBusyError,
    DeviceConnectionError,
    DeviceError,
    DeviceProtocolError,
    DeviceTimeoutError,
    NotOnDeviceError,
    TargetError,
)
from armlet.targets import CORES, Target

from .batch import Batch, Outcome
from .device import session_with
from .registry import Entry
from .session import OK, REMOVE, STATUS, Request, Session, pieces

#: sessions with each device
LANES = 2
#: tasks of a round
TOGETHER = 2
#: seconds that others may hold the device, and that it may be out of reach, before it is given up
WAIT, GONE = 600.0, 60.0
#: seconds between attempts to reach it, at first and at most
BACK_OFF = (0.1, 5.0)
#: drift of a device's clock that is told
DRIFTS = 0.05
#: what records call failures
_KINDS = {"crashed": "crash", "wrong_output": "wrong", "out_of_memory": "memory"}
#: errors after which another attempt may succeed
_PASSING = (
    DeviceBusyError, DeviceConnectionError, DeviceProtocolError, DeviceTimeoutError,
    NotOnDeviceError,
)  # fmt: skip


@dataclass
class _Work:
    """What ``start`` was asked for, and what is known of it."""

    points: Sequence[Point]
    keep: Callable[[Record], None]
    race: dict[str, Any]
    built: list[Kernel | Exception] = field(default_factory=list)
    found: dict[int, tuple[Record, list[float]]] = field(default_factory=dict)
    future: Measuring = field(default_factory=Future)

    def tell(self, point: int, record: Record, seconds: list[float]) -> None:
        self.found[point] = record, seconds
        self.keep(record)

    @property
    def left(self) -> list[tuple[int, Kernel]]:
        pairs = enumerate(self.built)
        return [(i, k) for i, k in pairs if isinstance(k, Kernel) and i not in self.found]


class Lane:
    """A session with a device that batches go through, one after the other."""

    def __init__(self, entry: Entry, target: Target) -> None:
        self.entry, self.target = entry, target
        self.closed = threading.Event()
        self._session: Session | None = None
        self._present: set[bytes] = set()

    def open(self) -> Session:
        """The session, new if there is none; ``TargetError`` if the device is of another kind."""
        if self._session is None:
            if self.closed.is_set():
                raise DeviceConnectionError("tuning has ended", where=self.entry.name)
            self._present = set()
            session = session_with(self.entry, wait=WAIT)
            try:
                require(session.facts, self.target, self.entry.name)
            except BaseException:
                session.close()
                raise
            self._session = session
        return self._session

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def measure(self, batch: Batch) -> None:
        """Until every outcome has been told; an error that stays for ``GONE`` seconds is raised."""
        left, until, pause = len(batch.left), time.monotonic() + GONE, BACK_OFF[0]
        while batch.left:
            try:
                self._attempt(batch)
            except _PASSING as error:
                self.close()
                if len(batch.left) < left:
                    left, until, pause = len(batch.left), time.monotonic() + GONE, BACK_OFF[0]
                if time.monotonic() > until or self.closed.wait(pause):
                    raise
                logging.getLogger("armlet").info(f"{self.entry.name}: {error.what}; again")
                pause = min(2 * pause, BACK_OFF[1])

    def _attempt(self, batch: Batch) -> None:
        session = self.open()
        batch.cpus, _ = cluster(session.facts, self.target)
        blobs = batch.blobs()
        missing = {h: 0 for h in blobs if h not in self._present}
        if set(missing) != {batch.library_hash}:  # which is new
            present = session.have([*missing])
            missing = {h: n for h, n in zip(missing, present) if n is not None}

        def requests() -> Iterator[Request]:
            for hash, start in missing.items():
                yield from pieces(hash, blobs[hash](), start)
            yield batch.request(WAIT)
            yield Request(REMOVE, batch.id)
            yield Request(REMOVE, batch.library_hash)

        try:
            for _ in session.exchange(requests()):
                pass
        except ArmletError:
            if batch.left:
                raise
        if batch.left:
            raise DeviceProtocolError("it forgot some candidates", where=self.entry.name)
        self._present |= {h for h in blobs if h != batch.library_hash}

    def record(self, point: Record, outcome: Outcome) -> Record:
        """What is recorded of an outcome."""
        session = self._session
        _, place = cluster(session.facts, self.target) if session else ((), -1)
        mhz = outcome.state.mhz[place] if outcome.state.mhz else 0
        celsius = outcome.state.temperature
        point = replace(
            point,
            device=self.entry.name,
            mhz=round(mhz) or None,
            celsius=None if math.isnan(celsius) else round(celsius, 1),
        )
        if outcome.status == OK:
            return timed(point, outcome.seconds)
        name = STATUS[outcome.status] if outcome.status < len(STATUS) else "failed"
        return failed(point, _KINDS.get(name, name), outcome.reason)


class DeviceMeter(Meter):
    """A meter that measures on devices. Used as a context, which ends its threads."""

    together = TOGETHER

    def __init__(
        self, target: Target, devices: Sequence[Entry], executor: Executor | None = None
    ) -> None:
        super().__init__(target, executor)
        self._waiting: queue.Queue[_Work | None] = queue.Queue()
        self._building = threading.Lock()
        self._lanes = [
            Lane(entry, target)
            for entry in devices
            for _ in range(1 if entry.kind in ("tracker", "tvm") else LANES)
        ]
        self.ahead = self._serving = len(self._lanes)
        self._threads = [
            threading.Thread(target=self._serve, args=(lane,), daemon=True, name=lane.entry.name)
            for lane in self._lanes
        ]

    def __enter__(self) -> DeviceMeter:
        """Connects, so that a device that cannot be used is told at once."""
        try:
            for lane in self._lanes:
                lane.open()
        except BaseException:
            self.__exit__()
            raise
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *details: Any) -> None:
        for lane in self._lanes:
            self._waiting.put(None)
            lane.closed.set()
            lane.close()
        super().__exit__(*details)  # which ends builds that lanes wait for
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def start(
        self, points: Sequence[Point], keep: Callable[[Record], None] = drop, **race: Any
    ) -> Measuring:
        work = _Work(points, keep, race)
        self._waiting.put(work)
        return work.future

    def _serve(self, lane: Lane) -> None:
        """A lane's thread."""
        while not lane.closed.is_set() and (work := self._waiting.get()) is not None:
            try:
                self._do(lane, work)
                work.future.set_result([work.found[i] for i in range(len(work.points))])
            except DeviceError as error:
                if not self._given_up(lane, work, error):
                    work.future.set_exception(error)
            except BaseException as error:
                work.future.set_exception(error)

    def _given_up(self, lane: Lane, work: _Work, error: DeviceError) -> bool:
        """Whether others go on without this lane."""
        with self._building:
            self._serving -= 1
            others = self._serving
        if not others or lane.closed.is_set():
            return False
        logging.getLogger("armlet").warning(
            f"{lane.entry.name} is left out from now on: {error.what}"
        )
        self._waiting.put(work)
        lane.closed.set()
        return True

    def _do(self, lane: Lane, work: _Work) -> None:
        with self._building:  # which takes all cores already
            work.built = work.built or self.builders.build(work.points, self.target)
        for i, (point, made) in enumerate(zip(work.points, work.built)):
            if isinstance(made, Exception) and i not in work.found:
                work.tell(i, not_built(point.record, made), [])
        if not work.left:
            return
        counted = [(k, len(work.points[i].workload.group.inputs) + 1) for i, k in work.left]
        with tempfile.TemporaryDirectory(prefix="armlet-tune-") as folder:
            library = build.link(counted, self.target, Path(folder)).read_bytes()
        drifts = False

        def told(i: int, outcome: Outcome) -> None:
            nonlocal drifts
            work.tell(i, lane.record(work.points[i].record, outcome), outcome.seconds)
            if outcome.drift > DRIFTS and not drifts:
                drifts = True
                logging.getLogger("armlet").warning(
                    f"{lane.entry.name}: its clock is {outcome.drift:.0%} slower than it was; it "
                    "has rested, and measured again"
                )

        lane.measure(Batch(work.points, work.left, library, work.race, told=told))


# -- what the device is ---------------------------------------------------------------------------


def require(facts: dict[str, Any], target: Target, name: str) -> None:
    """``TargetError`` if the target's kernels do not run on a device that tells this of itself."""
    kind = facts.get("system", target.system), facts.get("architecture", target.architecture)
    lacks = set(target.features) - set(facts.get("features") or target.features)
    if kind != (target.system, target.architecture):
        reason = f"it is {kind[0]} on {kind[1]}"
    elif lacks:
        reason = f"its processor lacks {', '.join(sorted(lacks))}"
    else:
        return
    raise TargetError(
        f"kernels for {target} cannot be measured on the device {name}: {reason}",
        way_out="give the device's own target (armlet device info tells it), or another device",
    )


def cluster(facts: dict[str, Any], target: Target) -> tuple[list[int], int]:
    """The CPUs that are the target's cores, and their place; none and -1 if it has no such."""
    parts = {
        f"{c.part[0]:x}:{c.part[1]:x}" for c in CORES.values() if c.part and c.cpu == target.cpu
    }
    for place, found in enumerate(facts.get("clusters") or ()):
        with contextlib.suppress(ValueError):
            made = [f"{int(n, 16):x}" for n in str(found.get("part", "")).split(":")]
            if ":".join(made) in parts:
                return list(found["cpus"]), place
    return [], -1
