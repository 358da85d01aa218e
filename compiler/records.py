"""Tuning records: which config of which template is the fastest for a workload, as measured.

A record is a line of JSON with a checksum. Trials are notes of the search; a record with
``default``, the seconds of the untuned kernel beside which it was measured once more at the
end of tuning, is a verdict, and one that won serves the compiler. Later lines replace earlier
ones of the same config. Records shipped in ``tuning_logs/`` serve where the user has no verdict.
Lines that are damaged are told in one sentence and skipped; a line is written at once and
synced, so that a process that is killed loses one at most.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

from armlet.errors import OutputError
from armlet.settings import RECORDS
from armlet.targets import Target

SHIPPED = Path(__file__).resolve().parent.parent / "tuning_logs"
#: a tuned kernel must take at most this much of the default's time
FASTER = 0.99
#: damaged lines that a message numbers
SHOWN = 5


@dataclass(frozen=True)
class Record:
    """One measured config. ``failure`` says why there are no seconds: compile, timeout, …"""

    target: str
    workload: str
    template: str
    version: int
    config: Mapping[str, int]
    #: median, and the distance of the quartiles
    seconds: float | None
    spread: float = 0.0
    failure: str = ""
    #: seconds of the template's default config, measured in turns with this one
    default: float | None = None
    #: whether it was not surely faster then
    rejected: bool = False
    #: what estimated the seconds, if they were not measured
    modelled: str = ""
    #: where it was measured, and how warm and how fast that was then; None: it does not tell
    device: str = ""
    celsius: float | None = None
    mhz: int | None = None
    date: str = ""

    @property
    def identity(self) -> tuple[Any, ...]:
        """Records of equal identity speak of the same kernel."""
        return self.place, self.template, self.version, tuple(sorted(self.config.items()))

    @property
    def place(self) -> tuple[str, str]:
        return self.target, self.workload

    @property
    def family(self) -> str:
        return self.target.partition(":")[0]

    @property
    def serves(self) -> bool:
        """Whether it won against the default when both were measured in turns."""
        if self.rejected or self.seconds is None or self.default is None:
            return False
        return self.seconds <= FASTER * self.default

    def line(self) -> bytes:
        fields = dataclasses.asdict(self)
        fields["config"] = dict(self.config)
        text = _canonical({k: v for k, v in fields.items() if v not in (None, "", False)})
        return f'{text[:-1]},"checksum":"{_checksum(text)}"}}\n'.encode()


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def now() -> str:
    """The date of a record."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(line: bytes) -> Record:
    """The record of a line; ``ValueError`` if it is not whole."""
    try:
        fields = json.loads(line)
        checksum = fields.pop("checksum")
        if checksum != _checksum(_canonical(fields)):
            raise ValueError("the checksum is another")
        return Record(**{"seconds": None, **fields})
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no record: {error}") from None


def read(path: Path) -> Iterator[Record]:
    """The records of a file; what is damaged in it is told once and skipped."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    damaged: list[int] = []
    for number, line in enumerate(lines, 1):
        try:
            yield parse(line)
        except ValueError:
            if line.strip():
                damaged.append(number)
    if damaged:
        numbers = ", ".join(map(str, damaged[:SHOWN])) + (", …" if len(damaged) > SHOWN else "")
        logging.getLogger("armlet").warning(
            f"{path}: {len(damaged)} of {len(lines)} tuning records are damaged and were "
            f"skipped (line {numbers}); `armlet tune log prune` removes them"
        )


def append(path: Path, record: Record) -> None:
    """Adds a line: one write at the end of the file, on the disk before this returns."""
    line = record.line()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                line = b"\n" + line  # a line before was cut short
            if os.write(file, line) < len(line):
                raise OSError("the disk is full")
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise OutputError(
            f"a tuning record cannot be written: {error.strerror or error}",
            where=str(path),
            way_out="free some space, or set ARMLET_RECORDS to another folder",
        ) from error


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.=-]+", "_", text) + ".jsonl"


def user_file(target: Target) -> Path:
    """Where this user's records of a target are."""
    return RECORDS.value / _file_name(target.fingerprint)


def shipped_file(target: Target) -> Path:
    """Where the records of a target are that come with armlet."""
    return SHIPPED / _file_name(target.fingerprint)


def of_family(target: Target) -> Iterator[Record]:
    """Everything known of targets of one family: it serves none but its own, and teaches all."""
    for folder in (SHIPPED, RECORDS.value):
        for path in sorted(folder.glob("*.jsonl")):
            yield from (r for r in _cached(path, _stamp(path)) if r.family == target.family)


class Records:
    """What is known, the latest of each config."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._latest: dict[tuple[Any, ...], Record] = {}
        self._places: dict[tuple[str, str], list[Record]] | None = None
        for record in records:
            self.add(record)

    @staticmethod
    def of(target: Target) -> Records:
        """What this user has measured, and what is shipped for workloads that are not judged."""
        own, shipped = (_cached(f, _stamp(f)) for f in (user_file(target), shipped_file(target)))
        judged = {r.place for r in own if r.default is not None}
        return Records([*(r for r in shipped if r.place not in judged), *own])

    def add(self, record: Record) -> None:
        known = self._latest.get(record.identity)
        # a trial does not unsay what was found in turns with the default
        if known is None or record.default is not None or known.default is None:
            self._latest[record.identity] = record
            self._places = None

    def __iter__(self) -> Iterator[Record]:
        return iter(self._latest.values())

    def __len__(self) -> int:
        return len(self._latest)

    def at(self, workload: str, target: Target) -> list[Record]:
        """All of one workload."""
        if self._places is None:
            self._places = {}
            for record in self:
                self._places.setdefault(record.place, []).append(record)
        return self._places.get((target.fingerprint, workload), [])

    def best(self, workload: str, target: Target) -> Record | None:
        """The fastest that serves, of each template's latest version."""
        known = self.at(workload, target)
        latest = {r.template: r.version for r in sorted(known, key=lambda r: r.version)}
        serving = [r for r in known if r.serves and r.version == latest[r.template]]
        return min(serving, key=lambda r: r.seconds or 0.0, default=None)

    def seconds(self, workload: str, target: Target) -> float | None:
        """What the workload takes with what ``best`` says, or with the default; None: unknown."""
        best = self.best(workload, target)
        if best is not None:
            return best.seconds
        verdicts = [r for r in self.at(workload, target) if r.default is not None]
        return max(verdicts, key=lambda r: r.date).default if verdicts else None


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=32)
def _cached(path: Path, stamp: tuple[int, int]) -> tuple[Record, ...]:
    return tuple(read(path))
