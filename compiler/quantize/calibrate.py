"""What a float function's tensors hold when it runs on data: counted, one sample after the other.

The function is evaluated layer by layer. What was counted is written to a file now and then,
beside it and then renamed, so that after an interruption, and the next time, counting goes on
from there. A file belongs to one function and one set of data.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from armlet.compiler.ir import Function, Var, print_function
from armlet.compiler.ops.interpreter import evaluate
from armlet.settings import CACHE

from .histogram import Histogram

#: inputs by name, of one run
Sample = Mapping[str, np.ndarray]
Progress = Callable[[str, int, int], None]
#: seconds between two states on disk
INTERVAL = 5.0


@dataclass
class Statistics:
    """By the tensors' names, over ``samples`` samples."""

    histograms: dict[str, Histogram] = field(default_factory=dict)
    #: the sum over samples of each channel's mean; channels are axis 1 of images, else the last
    means: dict[str, np.ndarray] = field(default_factory=dict)
    samples: int = 0

    def add(self, name: str, data: np.ndarray) -> None:
        self.histograms.setdefault(name, Histogram()).add(data)
        axis = 1 if data.ndim == 4 else data.ndim - 1
        others = tuple(a for a in range(data.ndim) if a != axis)
        mean = data.mean(axis=others, dtype=np.float64)
        self.means[name] = self.means.get(name, 0.0) + mean

    def mean(self, name: str) -> np.ndarray:
        return self.means[name] / self.samples

    def save(self, path: Path) -> None:
        """A folder that cannot be written is no error: the next run counts again."""
        arrays = {"samples": np.array(self.samples), "names": np.array(list(self.histograms))}
        for index, (name, histogram) in enumerate(self.histograms.items()):
            arrays[f"range{index}"], arrays[f"counts{index}"] = histogram.arrays()
            arrays[f"means{index}"] = self.means[name]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            os.replace(file.name, path)
        except OSError:
            return

    @classmethod
    def load(cls, path: Path) -> Statistics:
        """Of a file that is missing or damaged, nothing."""
        made = cls()
        try:
            with np.load(path, allow_pickle=False) as file:
                for index, name in enumerate(map(str, file["names"])):
                    parts = file[f"range{index}"], file[f"counts{index}"]
                    made.histograms[name] = Histogram.of_arrays(*parts)
                    made.means[name] = file[f"means{index}"]
                made.samples = int(file["samples"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return cls()
        return made


def calibrate(
    function: Function, tensors: Collection[Var], samples: Sequence[Sample], progress: Progress
) -> Statistics:
    """Counts what ``tensors`` hold; goes on from where the same work was interrupted."""
    path = _state_of(function, tensors, samples)
    found, saved = Statistics.load(path), time.monotonic()
    for index in range(found.samples, len(samples)):
        sample = samples[index]
        for param in function.params:
            if param in tensors:
                found.add(param.name, sample[param.name])
        done = 0

        def observe(var: Var, data: np.ndarray) -> None:
            nonlocal done
            done += 1
            if var in tensors:
                found.add(var.name, data)
            progress("counting", index * len(function.bindings) + done, total)  # noqa: B023

        total = len(samples) * len(function.bindings)
        evaluate(function, sample, observe)
        found.samples += 1
        if time.monotonic() - saved > INTERVAL or found.samples == len(samples):
            found.save(path)
            saved = time.monotonic()
    return found


def _state_of(function: Function, tensors: Collection[Var], samples: Sequence[Sample]) -> Path:
    """Where that work's state is kept: its name tells the function and the data."""
    digest = hashlib.sha256(print_function(function).encode())
    digest.update(" ".join(sorted(v.name for v in tensors)).encode())
    arrays = [c.data for c in function.constants]
    arrays += [sample[p.name] for sample in samples for p in function.params]
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return CACHE.value / "calibration" / f"{digest.hexdigest()}.npz"
