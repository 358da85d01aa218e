"""Running artifacts from Python, over the same C interface as any program.

    with armlet.open("m.so", threads=4) as model:
        scores = model.run({"image": pixels})["scores"]

Arrays go in and out without a copy. A model may be used by one thread at a time (others
wait); open the file once for each thread to run in parallel: weights are shared.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from armlet import binding
from armlet.binding import DTYPES, Library
from armlet.errors import ExecutionError, InputError
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
from armlet.state import state_here

if TYPE_CHECKING:
    from armlet.compare import Difference

#: seconds between the calls of who watches a benchmark
WATCHED = 0.5


def open(
    path: str | os.PathLike[str],
    *,
    threads: int = 0,
    cpus: Sequence[int] = (),
    spin_us: int = 0,
    devices: str = "use",
    device_cache: str | os.PathLike[str] | None = None,
    max_kernel_ms: int = 0,
    keep: object = None,
) -> CompiledModel:
    """Opens an artifact.

    ``threads``: 0 uses every CPU that the process may. ``cpus``: pins thread i to ``cpus[i]``,
    except the caller's. ``spin_us``: how long waiting threads spin before they sleep; 0 is
    the default, less is none. ``devices``: "use" accelerators that the artifact has
    programs for where they are there, "require" them (``AcceleratorError`` without) or "leave"
    them; their drivers may keep files in ``device_cache``, and a kernel of a GPU that takes longer
    than ``max_kernel_ms`` is run in parts (0: no limit). ``keep``: an object that lives as long as
    the model does.
    """
    return CompiledModel(
        Path(path), threads, cpus, spin_us, keep, devices, device_cache, max_kernel_ms
    )


def _view(v: Any) -> np.ndarray:
    """The memory of an observed value, as an array that cannot be written."""
    data = (ctypes.c_char * v.bytes).from_address(v.data)
    array = np.frombuffer(data, DTYPES[v.dtype]).reshape(v.shape[: v.rank])
    array.flags.writeable = False
    return array


class CompiledModel(OpenModel):
    """An instance of an artifact. Made by ``open``."""

    #: why it cannot be run here; only artifacts for other machines have a reason
    not_run = ""

    def __init__(
        self,
        path: Path,
        threads: int,
        cpus: Sequence[int],
        spin_us: int,
        keep: object,
        devices: str = "use",
        device_cache: str | os.PathLike[str] | None = None,
        max_kernel_ms: int = 0,
    ) -> None:
        if devices not in binding.DEVICES:
            known = ", ".join(binding.DEVICES)
            raise InputError(f"devices={devices!r} is unknown", way_out=f"one of {known}")
        self._instance = ctypes.c_void_p()
        self._lock = threading.RLock()
        #: the instance is not destroyed while cancel uses it
        self._life = threading.Lock()
        self._observer_error: BaseException | None = None
        self._keep = keep
        #: as the last profile found them
        self._timed: list[RegionState] = []
        self.path = path
        begun = time.perf_counter()
        self._library = library = Library(path)
        message = ctypes.create_string_buffer(256)
        places = (ctypes.c_int32 * len(cpus))(*cpus)
        options = binding.Options(
            threads=threads, spin_us=spin_us, cpus=places, cpu_count=len(cpus),
            message=ctypes.cast(message, ctypes.c_char_p), message_size=len(message),
            devices=binding.DEVICES.index(devices),
            device_cache=os.fsencode(device_cache) if device_cache else None,
            max_kernel_ms=max_kernel_ms,
        )  # fmt: skip
        status = library.armlet_create(options, self._instance)
        if status != binding.OK:
            library.close()
            raise binding.error(status, message.value.decode(), str(path))
        self.open_seconds = time.perf_counter() - begun

        self.inputs = self._tensors(library.armlet_input_count(), library.armlet_input_info)
        self.outputs = self._tensors(library.armlet_output_count(), library.armlet_output_info)
        size = ctypes.c_size_t()
        self._manifest = ctypes.string_at(library.armlet_manifest(size), size.value)
        #: of each output from its source, where the model was compiled just now
        self.differences: tuple[Difference, ...] = ()

    # ---- what it is

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return json.loads(self._manifest)

    @property
    def tasks(self) -> list[LayerTime]:
        """Every task in order, as ``profile`` lists them; with times only if it is running."""
        return [self._layer(i) for i in range(self._library.armlet_task_count())]

    @property
    def regions(self) -> list[RegionState]:
        now = [self._region(i) for i in range(self._library.armlet_region_count())]
        return [
            dataclasses.replace(n, seconds=t.seconds, calls=t.calls, steps=t.steps)
            for n, t in zip(now, self._timed or now)
        ]

    @property
    def threads(self) -> int:
        return self._library.armlet_thread_count(self._handle)

    # ---- running

    def run(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        feeds = self._feeds(inputs)
        results = self._results(outputs or {})
        with self._lock:
            self._bind(feeds, results)
            begun = time.perf_counter()
            self._run()
            self.run_seconds = time.perf_counter() - begun
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
        rate: float = 0.0,
        watch: Watcher | None = None,
    ) -> Benchmark:
        with self._bound(inputs):
            run, handle, clock = self._library.armlet_run, self._handle, time.perf_counter
            self._run()
            until = clock() + warmup
            while clock() < until:
                run(handle)
            times: list[float] = []
            begun = seen = clock()
            told, until = 0, begun + seconds
            while len(times) < runs if runs else (not times or clock() < until):
                if rate and (early := begun + len(times) / rate - clock()) > 0:
                    time.sleep(early)
                start = clock()
                run(handle)
                end = clock()
                times.append(end - start)
                if watch and end > seen + WATCHED:
                    watch(np.array(times[told:]), state_here())
                    told, seen = len(times), clock()
            if watch and told < len(times):
                watch(np.array(times[told:]), state_here())
            self._run()
        return Benchmark(np.array(times), self.threads)

    def profile(
        self, inputs: Mapping[str, Any] | None = None, *, runs: int = 10
    ) -> list[LayerTime]:
        library, handle = self._library, self._handle
        with self._bound(inputs):
            self._run()
            self._check(library.armlet_set_profiling(handle, 1))
            self._timed = []
            try:
                for _ in range(runs):
                    self._run()
                self._timed = self.regions
                return self.tasks
            finally:
                library.armlet_set_profiling(handle, 0)

    def selftest(self) -> SelfTestReport:
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

    # ---- the file, and the end

    def close(self) -> None:
        with self._lock, self._life:
            if self._instance:
                self._library.armlet_destroy(self._instance)
                self._instance = ctypes.c_void_p()
                self._library.close()

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

    def _region(self, index: int) -> RegionState:
        library, handle, e = self._library, self._handle, binding.RegionInfo()
        self._check(library.armlet_region(handle, index, e))
        layer, seconds, steps = ctypes.c_char_p(), ctypes.c_double(), []
        for i in range(e.step_count):
            self._check(library.armlet_region_step(handle, index, i, layer, seconds))
            steps.append(((layer.value or b"").decode(), seconds.value))
        return RegionState(
            e.name.decode(), e.back_end.decode(), bool(e.live), e.reason.decode(errors="replace"),
            e.first_task, e.task_count, e.program_bytes, e.seconds / max(e.calls, 1), e.calls,
            tuple(steps),
        )  # fmt: skip

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
