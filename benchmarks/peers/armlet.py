"""armlet itself, compiled in a cache that knows nothing and with the machine's records."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from . import Opened


def convert(model: Path, feeds: dict[str, np.ndarray], folder: Path) -> None:
    with tempfile.TemporaryDirectory() as cache:
        os.environ["ARMLET_CACHE"] = cache
        import armlet

        armlet.compile(model, data=feeds).save(folder / "model.so")


class Model(Opened):
    def __init__(self, folder: Path, feeds: dict[str, np.ndarray], threads: int) -> None:
        from armlet import artifact

        self.feeds, self.model = feeds, artifact.open(folder / "model.so", threads=threads)

    def run(self) -> None:
        self.found = self.model.run(self.feeds)

    def outputs(self) -> list[np.ndarray]:
        return list(self.found.values())

    def times(self, seconds: float, warmup: float) -> list[float]:
        return self.model.benchmark(self.feeds, seconds=seconds, warmup=warmup).seconds.tolist()
