"""An artifact for another machine: saved here, and run by an emulator where there is one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from armlet import emulator
from armlet.binding import DTYPES
from armlet.compiler.build import Build
from armlet.compiler.plan.plan import Tensor
from armlet.errors import ExecutionError
from armlet.model import Observer, RegionState, TensorInfo

if TYPE_CHECKING:
    from armlet.compare import Difference


class EmulatedModel:
    """What of ``CompiledModel`` does not need the machine that the artifact is for."""

    def __init__(
        self, path: Path, made: Build, manifest: Mapping[str, Any], keep: object = None
    ) -> None:
        self.path, self.target, self.manifest = path, made.target, manifest
        self.inputs, self.outputs = _infos(made.plan.inputs), _infos(made.plan.outputs)
        self._keep, self._regions = keep, made.plan.regions
        self._observer: Observer | None = None
        self._emulator = emulator.find(self.target)
        #: why the artifact cannot be run here, "" if it can
        self.not_run = self._emulator.missing
        #: of each output from its source, if it was run
        self.differences: tuple[Difference, ...] = ()

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Computes the outputs, by name, with two threads; slow."""
        if self.not_run:
            raise ExecutionError(self.not_run, where=str(self.path))
        with tempfile.TemporaryDirectory(prefix="armlet-") as name:
            feeds, results, values = (Path(name, n) for n in ("inputs", "outputs", "values"))
            with feeds.open("wb") as file:
                for info in self.inputs:
                    file.write(np.ascontiguousarray(inputs[info.name], info.dtype).tobytes())
            observed = [values] if self._observer else []
            self._emulator.run([self.path, feeds, results, *observed])
            if self._observer:
                _replay(values, self._observer)
            return _arrays(results.read_bytes(), self.outputs)

    @property
    def regions(self) -> list[RegionState]:
        """Parts that accelerators may do; an emulator has none."""
        reason = "accelerators are looked for on the device"
        return [
            RegionState(
                r.program.name, r.program.back_end, False, reason, r.first_task, r.task_count,
                len(r.program.blob), 0.0, 0,
            )
            for r in self._regions
        ]  # fmt: skip

    @contextlib.contextmanager
    def observe(self, callback: Observer) -> Iterator[None]:
        """Within it, runs call ``callback`` with every task's value, flat, once they have ended."""
        self._observer = callback
        try:
            yield
        finally:
            self._observer = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Copies the artifact; ``OutputError`` if that cannot be."""
        from armlet.compiler.link.publish import publish

        publish(self.path, Path(path))

    def __repr__(self) -> str:
        return f"<model {self.path} for {self.target}>"


def _infos(tensors: Sequence[Tensor]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(t.name, t.type.dtype, t.type.static_shape) for t in tensors)


def _arrays(data: bytes, infos: Sequence[TensorInfo]) -> dict[str, np.ndarray]:
    found, at = {}, 0
    for info in infos:
        size = int(np.prod(info.shape, dtype=np.int64))
        array = np.frombuffer(data, info.dtype, size, at)
        found[info.name] = array.reshape(info.shape).copy()
        at += array.nbytes
    return found


def _replay(values: Path, observer: Observer) -> None:
    with values.open("rb") as file:
        while line := file.readline():
            size, dtype, name = line.decode().rstrip("\n").split(" ", 2)
            observer(name, np.frombuffer(file.read(int(size)), DTYPES[int(dtype)]))
