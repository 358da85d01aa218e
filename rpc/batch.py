"""A batch of candidates as the request ``measure`` has it, and what the device tells of each.

The operands and the right answers are blobs, the same for every batch with such a workload.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from armlet.binding import DTYPES
from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.tune.runner import MOST, PATIENCE, TOLERANCE, TURNS, Workload, sample
from armlet.compiler.tune.tasks import Point
from armlet.state import State

from .fields import Reader, pack
from .session import MEASURE, Request, read_state

#: workloads whose data are kept for the next batch
KEPT = 8
#: candidates after which the device times its baseline
BASELINE = 8
#: times the patience of a run that a device may say nothing
SILENCE = 12


@dataclass(frozen=True)
class Outcome:
    """What became of a candidate; ``seconds`` of each turn, none where it failed."""

    number: int
    status: int
    reason: str
    seconds: list[float]
    #: by what share the device's clock was slower than at its best
    drift: float
    state: State

    @classmethod
    def read(cls, fields: Reader) -> Outcome:
        number, status = fields.numbers("IH")
        reason, count = fields.text(), fields.u32()
        seconds = list(fields.numbers(f"{count}d"))
        return cls(number, status, reason, seconds, fields.f64(), read_state(fields))


@lru_cache(KEPT)
def _arrays(workload: Workload) -> list[np.ndarray]:
    """Operands, and the right answer."""
    operands, right = sample(workload.group)
    return [np.ascontiguousarray(a) for a in (*operands, right)]


@lru_cache(None)
def _hashes(workload: Workload) -> list[bytes]:
    return [hashlib.sha256(_bytes(a)).digest() for a in _arrays(workload)]


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _fields_of(workload: Workload) -> bytes:
    arrays, hashes = _arrays(workload), _hashes(workload)
    *operands, right = (h + pack("Q", a.nbytes) for h, a in zip(hashes, arrays))
    constant = [o + pack("B", i in workload.constants) for i, o in enumerate(operands)]
    dtype = DTYPES.index(arrays[-1].dtype.name)
    return pack("I", len(operands)) + b"".join(constant) + right + pack("Id", dtype, TOLERANCE)


@dataclass
class Batch:
    """``kernels`` are numbers of points with what was built of them, in the library's order."""

    points: Sequence[Point]
    kernels: Sequence[tuple[int, Kernel]]
    library: bytes
    #: as ``Meter.start`` takes it
    race: dict[str, Any]
    cpus: Sequence[int] = ()
    #: called with the number of a point
    told: Callable[[int, Outcome], None] = lambda point, outcome: None
    id: bytes = field(default_factory=lambda: os.urandom(32))

    def __post_init__(self) -> None:
        self.left = set(range(len(self.kernels)))
        self.workloads = list(dict.fromkeys(self.points[i].workload for i, _ in self.kernels))
        # a file of its own, which can be removed while another batch has the same kernels
        self.library += self.id
        self.library_hash = hashlib.sha256(self.library).digest()

    def blobs(self) -> dict[bytes, Callable[[], bytes | memoryview]]:
        """What the device must have, by its hash."""

        def maker(workload: Workload, index: int) -> Callable[[], memoryview]:
            return lambda: _bytes(_arrays(workload)[index])

        found: dict[bytes, Callable[[], bytes | memoryview]] = {
            hash: maker(w, i) for w in self.workloads for i, hash in enumerate(_hashes(w))
        }
        return {**found, self.library_hash: lambda: self.library}

    def request(self, wait: float) -> Request:
        """``wait``: seconds that others may hold the device."""
        patience = self.race.get("patience", PATIENCE)
        return Request(MEASURE, b"".join(self._fields()), wait + SILENCE * patience, self._read)

    def _fields(self) -> Iterator[bytes]:
        race, best = self.race, self.race.get("best") or [math.inf] * len(self.points)
        yield self.library_hash + pack("I", len(self.workloads))
        yield from map(_fields_of, self.workloads)
        yield pack("I", len(self.kernels))
        for n, (i, kernel) in enumerate(self.kernels):
            workload = self.workloads.index(self.points[i].workload)
            yield pack("IIiQd", workload, n, kernel.extent, kernel.scratch, best[i])
        yield pack(
            f"IIddII{len(self.cpus)}i",
            race.get("races", True), race.get("turns", TURNS), race.get("most", MOST),
            race.get("patience", PATIENCE), BASELINE, len(self.cpus), *self.cpus,
        )  # fmt: skip
        yield self.id

    def _read(self, fields: Reader) -> None:
        outcome = Outcome.read(fields)
        if outcome.number in self.left:
            self.left.remove(outcome.number)
            self.told(self.kernels[outcome.number][0], outcome)
