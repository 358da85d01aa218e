"""Running artifacts from Python, over the same C interface as any program.

    with armlet.open("m.so", threads=4) as model:
        scores = model.run({"image": pixels})["scores"]

Arrays go in and out without a copy. A model may be used by one thread at a time (others
wait); open the file once for each thread to run in parallel: weights are shared.
"""

from __future__ import annotations

import contextlib
import ctypes
import difflib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from armlet import binding
from armlet.binding import DTYPES, Library
from armlet.errors import ExecutionError, InputError

if TYPE_CHECKING:
    from armlet.compare import Difference

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


def open(
    path: str | os.PathLike[str],
    *,
    threads: int = 0,
    cpus: Sequence[int] = (),
    spin_us: int = 0,
    keep: object = None,
) -> CompiledModel:
    """Opens an artifact.

    ``threads``: 0 uses every CPU that the process may. ``cpus``: pins thread i to ``cpus[i]``,
    except the caller's. ``spin_us``: how long waiting threads spin before they sleep; 0 is
    the default, less is none. ``keep``: an object that lives as long as the model does.
    """
    return CompiledModel(Path(path), threads, cpus, spin_us, keep)


def _empty(info: TensorInfo) -> np.ndarray:
    """An array that begins on a cache line."""
    size = int(np.prod(info.shape, dtype=np.int64)) * np.dtype(info.dtype).itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(info.dtype).reshape(info.shape)


def _view(v: Any) -> np.ndarray:
    """The memory of an observed value, as an array that cannot be written."""
    data = (ctypes.c_char * v.bytes).from_address(v.data)
    array = np.frombuffer(data, DTYPES[v.dtype]).reshape(v.shape[: v.rank])
    array.flags.writeable = False
    return array


class CompiledModel:
    """An instance of an artifact. Made by ``open``."""

    #: why it cannot be run here; only artifacts for other machines have a reason
    not_run = ""

    def __init__(
        self, path: Path, threads: int, cpus: Sequence[int], spin_us: int, keep: object
    ) -> None:
        self._instance = ctypes.c_void_p()
        self._lock = threading.RLock()
        #: the instance is not destroyed while cancel uses it
        self._life = threading.Lock()
        self._observer_error: BaseException | None = None
        self._keep = keep
        self.path = path
        self._library = library = Library(path)
        message = ctypes.create_string_buffer(256)
        places = (ctypes.c_int32 * len(cpus))(*cpus)
        options = binding.Options(
            threads=threads, spin_us=spin_us, cpus=places, cpu_count=len(cpus),
            message=ctypes.cast(message, ctypes.c_char_p), message_size=len(message),
        )  # fmt: skip
        status = library.armlet_create(options, self._instance)
        if status != binding.OK:
            library.close()
            raise binding.error(status, message.value.decode(), str(path))

        self.inputs = self._tensors(library.armlet_input_count(), library.armlet_input_info)
        self.outputs = self._tensors(library.armlet_output_count(), library.armlet_output_info)
        size = ctypes.c_size_t()
        self._manifest = ctypes.string_at(library.armlet_manifest(size), size.value)
        #: of each output from its source, where the model was compiled just now
        self.differences: tuple[Difference, ...] = ()

    # ---- what it is

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the artifact was made of and for."""
        return json.loads(self._manifest)

    @property
    def tasks(self) -> list[LayerTime]:
        """Every task in order, as ``profile`` lists them; with times only if it is running."""
        return [self._layer(i) for i in range(self._library.armlet_task_count())]

    @property
    def threads(self) -> int:
        """Threads in use: no more than the model can keep busy."""
        return self._library.armlet_thread_count(self._handle)

    # ---- running

    def run(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Computes the outputs, by name. Those given as arrays in ``outputs`` are written there."""
        feeds = self._feeds(inputs)
        results = self._results(outputs or {})
        with self._lock:
            self._bind(feeds, results)
            self._run()
        return {info.name: array for info, array in zip(self.outputs, results)}

    def cancel(self) -> None:
        """From any thread: ends the run that is going on, which raises ``ExecutionError``."""
        with self._life:
            self._library.armlet_cancel(self._handle)

    def benchmark(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        seconds: float = 1.0,
        warmup: float = 0.2,
        runs: int | None = None,
    ) -> Benchmark:
        """Times ``runs`` runs, or as many as fit in ``seconds``, after ``warmup`` seconds."""
        with self._bound(inputs):
            run, handle, clock = self._library.armlet_run, self._handle, time.perf_counter
            self._run()
            until = clock() + warmup
            while clock() < until:
                run(handle)
            times: list[float] = []
            until = clock() + seconds
            while len(times) < runs if runs else (not times or clock() < until):
                start = clock()
                run(handle)
                times.append(clock() - start)
            self._run()
        return Benchmark(np.array(times), self.threads)

    def profile(
        self, inputs: Mapping[str, Any] | None = None, *, runs: int = 10
    ) -> list[LayerTime]:
        """The time of every task, in order, as the mean of ``runs`` runs after one more."""
        library, handle = self._library, self._handle
        with self._bound(inputs):
            self._run()
            self._check(library.armlet_set_profiling(handle, 1))
            try:
                for _ in range(runs):
                    self._run()
                return self.tasks
            finally:
                library.armlet_set_profiling(handle, 0)

    def selftest(self) -> SelfTestReport:
        """Compares the model's answers on known inputs with those kept in the artifact."""
        report = binding.SelfTestReport()
        with self._lock:
            status = self._library.armlet_selftest(self._handle, report)
            if status != binding.ERROR_SELFTEST:
                self._check(status)
        return SelfTestReport(
            report.compared, report.wrong, (report.output or b"").decode(), report.element,
            report.expected, report.actual, report.tolerance,
        )  # fmt: skip

    @contextlib.contextmanager
    def observe(self, callback: Observer) -> Iterator[None]:
        """Within it, runs call ``callback`` after every task."""

        def observer(_: Any, value: Any) -> None:
            try:
                v = value.contents
                callback(v.name.decode(), _view(v))
            except BaseException as error:  # must not cross C; raised again by _run
                self._observer_error = error
                self.cancel()

        function = binding.Observer(observer)
        with self._lock:
            self._check(self._library.armlet_observe(self._handle, function, None))
            try:
                yield
            finally:
                self._library.armlet_observe(self._handle, binding.Observer(), None)

    def example_inputs(self) -> dict[str, np.ndarray]:
        """Random inputs: those of the self-test."""
        from armlet.compiler.link.selftest import random_array

        return {t.name: random_array(t.dtype, t.shape, i) for i, t in enumerate(self.inputs)}

    # ---- the file, and the end

    def save(self, path: str | os.PathLike[str]) -> None:
        """Copies the artifact; ``OutputError`` if that cannot be."""
        from armlet.compiler.link.publish import publish

        publish(self.path, Path(path))

    def close(self) -> None:
        """Frees the instance; nothing else of the model may be used afterwards."""
        with self._lock, self._life:
            if self._instance:
                self._library.armlet_destroy(self._instance)
                self._instance = ctypes.c_void_p()
                self._library.close()

    def __enter__(self) -> CompiledModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_instance", None):
            self.close()

    def __repr__(self) -> str:
        if not self._instance:
            return f"<closed model {self.path}>"
        ends = [", ".join(map(str, t)) for t in (self.inputs, self.outputs)]
        return f"<model {self.path}: {' -> '.join(ends)}>"

    # ---- inside

    @property
    def _handle(self) -> ctypes.c_void_p:
        if not self._instance:
            raise ExecutionError("the model is closed", where=str(self.path))
        return self._instance

    def _check(self, status: int) -> None:
        if status == binding.OK:
            return
        text = self._library.armlet_error(self._handle) or b""
        text = text or self._library.armlet_status_text(status)
        raise binding.error(status, text.decode(errors="replace"), str(self.path))

    def _run(self) -> None:
        status = self._library.armlet_run(self._handle)
        error, self._observer_error = self._observer_error, None
        if error is not None:
            raise error
        self._check(status)

    @staticmethod
    def _tensors(count: int, info: Any) -> tuple[TensorInfo, ...]:
        found = []
        for i in range(count):
            raw = binding.TensorInfo()
            info(i, raw)
            shape = tuple(raw.shape[: raw.rank])
            found.append(TensorInfo(raw.name.decode(), DTYPES[raw.dtype], shape))
        return tuple(found)

    def _layer(self, task: int) -> LayerTime:
        e = binding.ProfileEntry()
        self._check(self._library.armlet_profile(self._handle, task, e))
        return LayerTime(
            e.value.decode(), e.source.decode(), e.template_name.decode(),
            e.seconds / max(e.calls, 1), e.calls, e.threads,
        )  # fmt: skip

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
        return [given[t.name] if t.name in given else _empty(t) for t in self.outputs]

    def _bind(self, feeds: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> None:
        library, handle = self._library, self._handle
        for i, array in enumerate(feeds):
            self._check(library.armlet_set_input(handle, i, array.ctypes.data, array.nbytes))
        for i, array in enumerate(results):
            self._check(library.armlet_set_output(handle, i, array.ctypes.data, array.nbytes))

    @contextlib.contextmanager
    def _bound(self, inputs: Mapping[str, Any] | None) -> Iterator[None]:
        """Inputs and outputs that stay for several runs."""
        feeds = self._feeds(self.example_inputs() if inputs is None else inputs)
        results = self._results({})
        with self._lock:
            self._bind(feeds, results)
            yield
