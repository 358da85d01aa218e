"""A model that is open on a device, with the interface of one that is open here."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from armlet.errors import ArmletError, DeviceProtocolError
from armlet.model import (
    Benchmark,
    LayerTime,
    Observer,
    OpenModel,
    RegionState,
    SelfTestReport,
    TensorInfo,
    Watcher,
)
from armlet.state import State
from armlet.targets import Target

from .facts import clusters_of, target_of
from .session import DEADLINE, Opened, Session


class RemoteModel(OpenModel):
    """Made by ``Device.open``; ``deadline`` is the seconds that a run may take."""

    def __init__(
        self, session: Session, opened: Opened, path: Path, deadline: float = DEADLINE
    ) -> None:
        self.path, self.deadline = path, deadline
        self.open_seconds = opened.seconds
        self._session, self._handle = session, opened.handle
        self._observer: Observer | None = None
        self._closed = False
        try:
            self.inputs = _infos(opened.description["inputs"])
            self.outputs = _infos(opened.description["outputs"])
            self._manifest: dict[str, Any] = opened.description["manifest"]
            self._threads = int(opened.description["threads"])
            self._tasks = [
                LayerTime(t["value"], t["source"], t["template"], 0.0, 0, 0)
                for t in opened.description["tasks"]
            ]
            self._regions = [
                RegionState(**r, seconds=0.0, calls=0) for r in opened.description["regions"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise DeviceProtocolError(
                f"the device describes the model without {error}", where=session.where
            ) from error

    @property
    def manifest(self) -> dict[str, Any]:
        return self._manifest

    @property
    def tasks(self) -> list[LayerTime]:
        return self._tasks

    @property
    def regions(self) -> list[RegionState]:
        return self._regions

    @property
    def processor(self) -> tuple[Target, float]:
        """The device's best target, and the MHz of its fastest cores, 0 if they are unknown."""
        clusters = clusters_of(self._session.facts)
        return target_of(self._session.facts), clusters[-1].mhz if clusters else 0.0

    @property
    def threads(self) -> int:
        return self._threads

    # ---- running

    def run(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        feeds = self._feeds(inputs)
        results = self._results(outputs or {})
        if self._observer is not None:
            self._session.set_inputs(self._handle, feeds)
            self._session.observe(self._handle, self._observer, self.deadline)
        self.run_seconds = self._session.run(self._handle, feeds, results, self.deadline)
        return {info.name: array for info, array in zip(self.outputs, results)}

    def benchmark(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        seconds: float = 1.0,
        warmup: float = 0.2,
        runs: int | None = None,
        rate: float = 0.0,
        watch: Watcher | None = None,
    ) -> Benchmark:
        self._session.set_inputs(self._handle, self._given(inputs))
        times: list[np.ndarray] = []

        def part(found: np.ndarray, state: State) -> None:
            times.append(found)
            if watch is not None:
                watch(found, state)

        # no request may take longer than the agent allows
        most = self._session.facts.get("deadline_ms", 600_000) / 1000
        piece = max(0.1, (most - warmup) / 2)
        left = 0.0 if runs else seconds
        while not times or left > 0:
            length = min(left, piece)
            self._session.bench(
                self._handle, seconds=length, warmup=warmup, runs=runs or 0, rate=rate,
                deadline=most if runs else min(most, length + warmup + self.deadline), part=part,
            )  # fmt: skip
            left, warmup = left - length, 0.0
        return Benchmark(np.concatenate(times), self._threads)

    def profile(
        self, inputs: Mapping[str, Any] | None = None, *, runs: int = 10
    ) -> list[LayerTime]:
        self._session.set_inputs(self._handle, self._given(inputs))
        found, regions = self._session.profile(self._handle, runs, self.deadline * (runs + 1))
        self._regions = [
            dataclasses.replace(r, seconds=seconds / max(calls, 1), calls=calls, steps=steps)
            for r, (seconds, calls, steps) in zip(self._regions, regions, strict=True)
        ]
        return [
            LayerTime(t.value, t.source, t.template, seconds / max(calls, 1), calls, threads)
            for t, (seconds, calls, threads) in zip(self._tasks, found, strict=True)
        ]

    def selftest(self) -> SelfTestReport:
        return self._session.selftest(self._handle, self.deadline)

    @contextlib.contextmanager
    def observe(self, callback: Observer) -> Iterator[None]:
        """Within it, runs happen twice: once to look inside, once for the outputs."""
        self._observer = callback
        try:
            yield
        finally:
            self._observer = None

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # a device that is gone has closed it
        with contextlib.suppress(ArmletError):
            self._session.close_model(self._handle)

    def __repr__(self) -> str:
        ends = [", ".join(map(str, t)) for t in (self.inputs, self.outputs)]
        return f"<model {self.path} on {self._session.where}: {' -> '.join(ends)}>"

    def _given(self, inputs: Mapping[str, Any] | None) -> list[np.ndarray]:
        return self._feeds(self.example_inputs() if inputs is None else inputs)


def _infos(rows: list[dict[str, Any]]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(r["name"], r["dtype"], tuple(r["shape"])) for r in rows)
