"""The process that runs candidates; ``main`` is all that it does.

A request is a batch of candidates. Each is first checked: its answer on random data against
the operators' NumPy evaluation, and that it writes nowhere else. Then the right ones race:
they run in turns, and one that is surely slower than the best does not go on. Before every
run the process says which candidate it is about to run, so that whoever waits knows which one
crashed. One that uses too much processor time ends the process by SIGPROF; time on the clock
would say nothing on a busy machine.

Constant operands have copies that take turns, more than L2 holds, as the weights of a whole
model do not stay in the cache either.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from armlet.compiler.ir import Value
from armlet.compiler.ir.group import Group
from armlet.compiler.lower.worker import receive, send

#: largest error, relative to the largest magnitude of the right answer
TOLERANCE = 1e-4
#: seconds of a turn in the race, and of all turns of a candidate
TURN, MOST = 1e-3, 0.1
#: turns of a candidate, and turns after which it may be given up
TURNS, SURE = 9, 2
#: times the best that is surely slower
SLOWER = 1.15
PATIENCE = 10.0
#: bytes that copies of constants fill, and the most copies
FILL, COPIES = 4 << 20, 64
#: workloads whose data are kept for the next batch
KEPT = 8
ALIGNMENT, GUARD = 64, 4096


@dataclass(frozen=True)
class Workload:
    """A group, and which of its inputs are constants of the model."""

    group: Group
    constants: tuple[int, ...]

    @property
    def text(self) -> str:
        """What records call it."""
        return self.group.workload


@dataclass(frozen=True)
class Candidate:
    """The function ``call_<index>`` of the library."""

    workload: int
    index: int
    extent: int
    scratch: int
    #: seconds to beat, beside those of the same workload's others
    best: float = math.inf


@dataclass(frozen=True)
class Batch:
    library: str
    workloads: tuple[Workload, ...]
    candidates: tuple[Candidate, ...]
    #: whether what is surely slower is given up
    races: bool = True
    #: seconds of processor time that a run may take
    patience: float = PATIENCE
    turns: int = TURNS
    most: float = MOST


class Begun(NamedTuple):
    """The candidate that runs now; -1: data are made."""

    candidate: int


class Wrong(NamedTuple):
    candidate: int
    reason: str


class Done(NamedTuple):
    """Seconds of each turn of each candidate; empty where it was wrong."""

    times: list[list[float]]


class _Memory:
    """An array at an aligned address, with bytes behind it that nobody may write."""

    def __init__(self, array: np.ndarray) -> None:
        raw = np.full(array.nbytes + ALIGNMENT + GUARD, 0xFF, "uint8")
        start = -raw.ctypes.data % ALIGNMENT
        self.array = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        self.array[...] = array
        self.behind = raw[start + array.nbytes :]
        self.address = raw.ctypes.data + start

    @property
    def whole(self) -> bool:
        return bool((self.behind == 0xFF).all())


def _random(value: Value, rng: np.random.Generator) -> np.ndarray:
    shape, dtype = value.type.static_shape, np.dtype(value.type.dtype)
    if dtype.kind == "f":
        return rng.uniform(-1, 1, shape).astype(dtype)
    return rng.integers(0, 2 if dtype.kind == "b" else 10, shape).astype(dtype)


class _Data:
    """Operands, the right answer, and the sets of pointers that calls take in turns."""

    def __init__(self, workload: Workload) -> None:
        arrays, self.right = sample(workload.group)
        group = workload.group
        sizes = sum(arrays[i].nbytes for i in workload.constants)
        copies = min(COPIES, -(-FILL // sizes)) if sizes else 1
        once = [_Memory(a) for a in arrays]
        self.out = _Memory(np.zeros(self.right.shape, group.output.type.dtype))
        self.kept: list[Any] = [once]
        addresses: list[list[int]] = []
        for copy in range(copies):
            own = once
            if copy:
                own = [_Memory(a) if i in workload.constants else m
                       for i, (a, m) in enumerate(zip(arrays, once))]  # fmt: skip
                self.kept.append(own)
            addresses.append([*(m.address for m in own), self.out.address])
        pointers = [(ctypes.c_void_p * len(a))(*a) for a in addresses]
        self.kept.append(pointers)
        self.sets = (ctypes.c_void_p * copies)(*(ctypes.addressof(p) for p in pointers))
        self.copies, self.first = copies, pointers[0]


def sample(group: Group) -> tuple[list[np.ndarray], np.ndarray]:
    """Random data for a group, the same each time, and the right answer."""
    rng = np.random.default_rng(0)
    arrays = [_random(v, rng) for v in group.inputs]
    return arrays, _evaluate(group, arrays)


def _evaluate(group: Group, arrays: Sequence[np.ndarray]) -> np.ndarray:
    from armlet.compiler.ir import Const

    made: dict[Value, Any] = dict(zip(group.inputs, arrays, strict=True))
    for call in group.calls:
        operands = [v.data if isinstance(v, Const) else made[v] for v in call.operands]
        with np.errstate(all="ignore"):
            found = call.op.evaluate(*operands)  # type: ignore[attr-defined]
        made.update(zip(call.outputs, found if isinstance(found, (tuple, list)) else [found]))
    return np.asarray(made[group.output])


def difference(got: np.ndarray, want: np.ndarray) -> str:
    """What is wrong with an answer; "" if nothing is."""
    if got.dtype.kind != "f":
        return "" if np.array_equal(got, want) else "its answer differs"
    error = np.abs(got - want).max() / max(np.abs(want).max(), 1e-30)
    return "" if error <= TOLERANCE else f"its answer differs by {error:.2g} of the range"


class _Runner:
    def __init__(self, answers: BinaryIO) -> None:
        self.answers = answers
        self.data: dict[str, _Data] = {}

    def run(self, batch: Batch) -> None:
        """Checks, then the race; tells as it goes on."""
        library = ctypes.CDLL(batch.library)
        self.clock = library.armlet_time
        self.clock.restype = ctypes.c_int64
        right: list[tuple[int, Candidate, _Data, Any]] = []
        for number, candidate in enumerate(batch.candidates):
            data = self._data(batch.workloads[candidate.workload])
            function = getattr(library, f"call_{candidate.index}")
            self._begin(number, batch)
            reason = self._check(function, candidate, data)
            if reason:
                send(self.answers, Wrong(number, reason))
            else:
                right.append((number, candidate, data, function))
        times = self._race(right, batch)
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(self.answers, Done([times.get(n, []) for n in range(len(batch.candidates))]))

    def _begin(self, number: int, batch: Batch) -> None:
        send(self.answers, Begun(number))
        signal.setitimer(signal.ITIMER_PROF, batch.patience)

    def _data(self, workload: Workload) -> _Data:
        key = f"{workload.group.text}{workload.constants}"
        if key not in self.data:
            signal.setitimer(signal.ITIMER_PROF, 0)
            send(self.answers, Begun(-1))
            if len(self.data) > KEPT:
                self.data.clear()
            self.data[key] = _Data(workload)
        return self.data[key]

    def _check(self, function: Any, candidate: Candidate, data: _Data) -> str:
        """What is wrong with the answer; "" if nothing is."""
        scratch = _Memory(np.full(candidate.scratch, 0xFF, "uint8"))
        data.out.array.reshape(-1).view("uint8")[...] = 0xFF
        function(data.first, 0, candidate.extent, ctypes.c_void_p(scratch.address))
        if not (scratch.whole and data.out.whole):
            data.out.behind[:] = 0xFF
            return "it writes beyond its buffers"
        return difference(data.out.array, data.right)

    def _race(
        self, right: Sequence[tuple[int, Candidate, _Data, Any]], batch: Batch
    ) -> dict[int, list[float]]:
        times: dict[int, list[float]] = {number: [] for number, *_ in right}
        calls: dict[int, int] = {}
        for turn in range(batch.turns + 1):
            best = {c.workload: math.inf for _, c, _, _ in right}
            for number, candidate, *_ in right:
                best[candidate.workload] = min([best[candidate.workload], *times[number]])
            for number, candidate, data, function in right:
                mine, least = times[number], min(candidate.best, best[candidate.workload])
                if batch.races and turn > SURE and min(mine) > SLOWER * least:
                    continue
                if turn > SURE and sum(mine) * calls[number] > batch.most:
                    continue
                self._begin(number, batch)
                seconds = self._turn(function, candidate, data, calls.get(number, 1))
                if turn == 0:  # caches and clock warm up
                    calls[number] = max(1, int(TURN / max(seconds, 1e-9)))
                else:
                    mine.append(seconds)
        return times

    def _turn(self, function: Any, candidate: Candidate, data: _Data, calls: int) -> float:
        scratch = np.empty(candidate.scratch + ALIGNMENT, "uint8")
        address = scratch.ctypes.data + -scratch.ctypes.data % ALIGNMENT
        took = self.clock(
            function, data.sets, ctypes.c_int32(data.copies), ctypes.c_int32(candidate.extent),
            ctypes.c_void_p(address), ctypes.c_int64(calls),
        )  # fmt: skip
        return took / calls / 1e9


def main() -> None:
    # Ctrl-C reaches the whole group of processes; the caller deals with it and ends this one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not mix with the answers
    runner = _Runner(answers)
    while True:
        try:
            batch = receive(sys.stdin.buffer)
        except EOFError:
            return
        runner.run(batch)
