"""The runtimes that are compared; armlet is one of them. One module each, which has

    PACKAGES = (…)                   what pip installs into an environment of its own
    STANDALONE = (…)                 packages to install without their dependencies
    convert(model, feeds, folder)    writes the files that it runs, from ONNX of static shapes
    Model(folder, feeds, threads)    those files opened, with inputs in place

and imports the runtime only inside functions, for the packages are read elsewhere. All compute
in fp32, with the settings that their documentation gives for latency. A peer that cannot take
a model raises, and the table says so. A new peer is a module, named here.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

import numpy as np

PEERS = ("onnxruntime", "openvino", "ncnn", "mnn", "litert")


class Opened(ABC):
    """A model in a runtime, ready to run again and again."""

    @abstractmethod
    def run(self) -> None:
        """What is timed."""

    @abstractmethod
    def outputs(self) -> list[np.ndarray]:
        """Of the last run, in the model's order and layout."""

    def times(self, seconds: float, warmup: float) -> list[float]:
        """Of every run, after one at least to warm up."""
        clock, run = time.perf_counter, self.run
        until = clock() + warmup
        run()
        while clock() < until:
            run()
        times: list[float] = []
        until = clock() + seconds
        while not times or clock() < until:
            begun = clock()
            run()
            times.append(clock() - begun)
        return times
