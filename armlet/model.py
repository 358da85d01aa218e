"""What every open model offers, on this machine or on a device: running, timing, looking inside.

``artifact.CompiledModel`` runs in this process, ``rpc.remote.RemoteModel`` on a device. What is
given to either is checked here.
"""

from __future__ import annotations

import contextlib
import difflib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from typing_extensions import Self

from armlet.errors import InputError
from armlet.state import State

_ALIGNMENT = 64


@dataclass(frozen=True)
class TensorInfo:
    """An input or an output."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}{list(self.shape)}"


@dataclass(frozen=True)
class LayerTime:
    """What one task of the model took."""

    value: str
    source: str
    template: str
    #: mean of a call
    seconds: float
    calls: int
    threads: int


@dataclass(frozen=True)
class RegionState:
    """A part of the model that an accelerator may do in one step."""

    #: the layers at its ends
    name: str
    back_end: str
    #: whether the accelerator does it; why not, or what makes it slower than it could be
    live: bool
    reason: str
    first_task: int
    task_count: int
    program_bytes: int
    #: mean of a call on the accelerator
    seconds: float
    calls: int
    #: what it did inside in the last profiled run: layers and seconds
    steps: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """Seconds of every run, in order."""

    seconds: np.ndarray
    threads: int

    @property
    def median(self) -> float:
        return self.percentile(50)

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.seconds, percent))


@dataclass(frozen=True)
class SelfTestReport:
    """The largest error that the self-test met, and how many elements were out of tolerance."""

    compared: int
    wrong: int
    output: str
    element: int
    expected: float
    actual: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.wrong == 0


#: called with the name of a value just computed, and a view that later tasks overwrite
Observer = Callable[[str, np.ndarray], None]

#: called about twice a second while timing, with the seconds of the runs since then
Watcher = Callable[[np.ndarray, State], None]


def empty(info: TensorInfo) -> np.ndarray:
    """An array that begins on a cache line."""
    size = int(np.prod(info.shape, dtype=np.int64)) * np.dtype(info.dtype).itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(info.dtype).reshape(info.shape)


class OpenModel(ABC):
    """An instance of an artifact; ``path`` is its file here."""

    path: Path
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    #: what opening it took, and the last ``run``, where it runs
    open_seconds = 0.0
    run_seconds = 0.0

    # ---- what it is

    @property
    @abstractmethod
    def manifest(self) -> dict[str, Any]:
        """What the artifact was made of and for."""

    @property
    @abstractmethod
    def tasks(self) -> list[LayerTime]:
        """Every task in order, as ``profile`` lists them."""

    @property
    @abstractmethod
    def regions(self) -> list[RegionState]:
        """Parts that accelerators may do, and whether they do; times as ``profile`` found them."""

    @property
    @abstractmethod
    def threads(self) -> int:
        """Threads in use: no more than the model can keep busy."""

    # ---- running

    @abstractmethod
    def run(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Computes the outputs, by name. Those given as arrays in ``outputs`` are written there."""

    @abstractmethod
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
        """Times ``runs`` runs, or as many as fit in ``seconds``, after ``warmup`` seconds.

        With ``rate`` runs begin so many times a second, where they are short enough.
        """

    @abstractmethod
    def profile(
        self, inputs: Mapping[str, Any] | None = None, *, runs: int = 10
    ) -> list[LayerTime]:
        """The time of every task, in order, as the mean of ``runs`` runs after one more."""

    @abstractmethod
    def selftest(self) -> SelfTestReport:
        """Compares the model's answers on known inputs with those kept in the artifact."""

    @abstractmethod
    def observe(self, callback: Observer) -> contextlib.AbstractContextManager[None]:
        """Within it, runs call ``callback`` with the value of every task."""

    def example_inputs(self) -> dict[str, np.ndarray]:
        """Random inputs: those of the self-test."""
        from armlet.compiler.link.selftest import random_array

        return {t.name: random_array(t.dtype, t.shape, i) for i, t in enumerate(self.inputs)}

    # ---- the file, and the end

    def save(self, path: str | os.PathLike[str]) -> None:
        """Copies the artifact; ``OutputError`` if that cannot be."""
        from armlet.compiler.link.publish import publish

        publish(self.path, Path(path))

    @abstractmethod
    def close(self) -> None:
        """Frees the instance; nothing else of the model may be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- inside

    def _feeds(self, inputs: Mapping[str, Any]) -> list[np.ndarray]:
        known = [t.name for t in self.inputs]
        for name in inputs:
            if name not in known:
                close = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"inputs are {self._listed()}"
                self._refuse(f"the model has no input {name!r}", hint)
        missing = [str(t) for t in self.inputs if t.name not in inputs]
        if missing:
            self._refuse(f"input {missing[0]} is missing", f"the model takes {self._listed()}")
        return [self._feed(t, inputs[t.name]) for t in self.inputs]

    def _listed(self) -> str:
        return ", ".join(map(str, self.inputs)) or "none"

    def _refuse(self, what: str, way_out: str) -> NoReturn:
        raise InputError(what, where=str(self.path), way_out=way_out)

    def _feed(self, info: TensorInfo, value: Any) -> np.ndarray:
        if isinstance(value, np.ndarray):
            array = value
        else:
            try:
                array = np.asarray(value, info.dtype)
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"input {info} is no array: {error}", where=str(self.path)
                ) from None
        self._check_array("input", info, array)
        return np.require(array, requirements=["C", "ALIGNED"])

    def _check_array(self, kind: str, info: TensorInfo, array: np.ndarray) -> None:
        if array.dtype != np.dtype(info.dtype):
            self._refuse(
                f"{kind} {info.name!r} is {array.dtype}, and {info.dtype} is expected",
                f"convert it: array.astype({info.dtype!r})",
            )
        if array.shape != info.shape:
            self._refuse(
                f"{kind} {info.name!r} has shape {list(array.shape)}, and {list(info.shape)} is "
                "expected",
                "reshape the array, or compile the model for this shape",
            )

    def _results(self, given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        known = [t.name for t in self.outputs]
        for name, array in given.items():
            if name not in known:
                self._refuse(f"the model has no output {name!r}", f"outputs are {', '.join(known)}")
            self._check_array("output", self.outputs[known.index(name)], array)
            if not (array.flags.c_contiguous and array.flags.writeable and array.flags.aligned):
                self._refuse(f"output {name!r} cannot be written in place", "use np.empty(...)")
        return [given[t.name] if t.name in given else empty(t) for t in self.outputs]
