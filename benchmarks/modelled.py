"""Tunes the benchmark models for Arm cores without Arm hardware, by estimated cycles.

    export ARMSIM=/path/of/armsim
    python -m benchmarks.modelled --core cortex-a55 --records FILE [--trials N] MODEL…

A model is one of ``benchmarks.zoo`` or an .onnx file. Each candidate runs by itself under armsim
(``benchmarks/arm.py`` says what that is) in a process of its own; its inputs lie in the caches,
its weights do not. Estimates repeat, so an idle machine is not needed. Long kernels are estimated
by two parts of their steps during the search, and as a whole in the last comparison. The
records say what modelled their seconds.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from armlet import api, emulator
from armlet.compiler.link import toolchain
from armlet.compiler.link.runtime import compiled_once
from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.tune import build
from armlet.compiler.tune.measure import Meter, Race
from armlet.compiler.tune.runner import GUARD, Workload, difference, sample
from armlet.compiler.tune.tasks import Point, tasks_of
from armlet.compiler.tune.tuner import BATCH, Budget, Tuner, Update
from armlet.settings import JOBS
from armlet.targets import Target, target

from .arm import Simulator
from .subject import subject

DRIVER = Path(__file__).parent / "arm_kernel.c"
#: cycles of a kernel, by its template's estimate, that are a part
PART = 7e5
#: laps before the kernel's: its inputs come into the caches
LAPS_BEFORE = 1


def driver(chosen: Target) -> Path:
    def make(folder: Path) -> None:
        arguments = ["cc", "-target", chosen.zig_triple, "-O2", DRIVER, "-ldl", "-o", "driver"]
        toolchain.run("compiling the driver", arguments, folder)

    return compiled_once("arm_kernel", chosen.zig_triple, [DRIVER], make) / "driver"


@lru_cache(maxsize=8)
def _sample(workload: Workload) -> tuple[list[np.ndarray], np.ndarray]:
    return sample(workload.group)


class ModelledMeter(Meter):
    """Seconds are armsim's cycles at the core's usual clock."""

    def __init__(self, chosen: Target, simulator: Simulator) -> None:
        super().__init__(chosen)
        self.simulator = simulator
        self.hertz = simulator.core.mhz * 1e6
        self.together = max(1, JOBS.value // BATCH)
        self.modelled = f"armsim {simulator.core.name} at {simulator.core.mhz} MHz"

    def race(
        self,
        points: Sequence[Point],
        kernels: Sequence[tuple[int, Kernel]],
        folder: Path,
        race: dict[str, Any],
    ) -> Race:
        counted = [(k, len(points[i].workload.group.inputs) + 1) for i, k in kernels]
        library = build.link(counted, self.target, folder)
        learnt = self.simulator.learn(library)
        for workload in dict.fromkeys(points[i].workload for i, _ in kernels):
            for path, array in zip(_inputs(workload, folder), _sample(workload)[0]):
                array.tofile(path)
        found = Race()
        whole = "turns" in race  # as only the last comparison asks for

        def run(number: int) -> None:
            i, kernel = kernels[number]
            estimate = self._estimate(points[i])
            parts = 1 if whole else max(1, min(kernel.extent, int(estimate / PART)))
            steps = -(-kernel.extent // parts)
            candidate = _Candidate(points[i].workload, kernel, number, library, steps)
            try:
                laps, _ = self.simulator.laps(candidate.command(driver(self.target)), learnt)
            except RuntimeError as error:
                found.failures[number] = ("crash", str(error))
                return
            if reason := candidate.wrong():
                found.failures[number] = ("wrong", reason)
            else:
                found.times[number] = [candidate.cycles(laps) / self.hertz]

        with ThreadPoolExecutor(JOBS.value) as pool:
            list(pool.map(run, range(len(kernels))))
        return found

    def _estimate(self, point: Point) -> float:
        return point.template.estimate(point.workload.group, self.target, point.record.config)


def _inputs(workload: Workload, folder: Path) -> list[Path]:
    return [folder / f"{id(workload)}.{i}" for i in range(len(workload.group.inputs))]


@dataclass(frozen=True)
class _Candidate:
    workload: Workload
    kernel: Kernel
    number: int
    library: Path
    #: of the kernel's parallel axis, in a lap
    steps: int

    @property
    def result(self) -> Path:
        return self.library.parent / f"{self.number}.result"

    def command(self, driver: Path) -> list[str]:
        files = [
            f"{'=' if i in self.workload.constants else '+'}{path}"
            for i, path in enumerate(_inputs(self.workload, self.library.parent))
        ]
        bytes = self.workload.group.output.type.bytes
        numbers = (self.kernel.extent, self.steps, self.kernel.scratch)
        command = [driver, self.library, f"call_{self.number}", *numbers, self.result, bytes]
        return [str(each) for each in (*command, *files)]

    def cycles(self, laps: Sequence[int]) -> float:
        """Of all steps: the first lap's, and the rest at the pace of the second."""
        first, *rest = laps[LAPS_BEFORE:]
        return first + sum(rest) * (self.kernel.extent - self.steps) / self.steps

    def wrong(self) -> str:
        """What is wrong with the answer, as far as it was computed; "" if nothing is."""
        right, data = _sample(self.workload)[1], self.result.read_bytes()
        if data[right.nbytes :] != b"\xff" * GUARD:
            return "it writes beyond its buffers"
        got = np.frombuffer(data, right.dtype, right.size).reshape(right.shape)
        if self.steps < self.kernel.extent and right.dtype.kind == "f":
            got = np.where(np.isnan(got), right, got)
        return difference(got, right)


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--core", default="cortex-a55")
    parser.add_argument("--armsim", type=Path, default=os.environ.get("ARMSIM"))
    parser.add_argument("--records", type=Path, required=True, metavar="FILE")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--seconds", type=float)
    arguments = parser.parse_args()
    if arguments.armsim is None:
        parser.error("set ARMSIM, or give --armsim, the folder of armsim.py")
    chosen = target(f"linux-arm64-{arguments.core}")
    if missing := emulator.find(chosen).missing:
        parser.error(missing)
    budget = Budget(arguments.trials, arguments.seconds)
    with ModelledMeter(chosen, Simulator(arguments.armsim, arguments.core)) as meter:
        for model in arguments.models:
            tune(model, meter, arguments.records, budget)


def tune(model: str, meter: Meter, records: Path, budget: Budget) -> None:
    begun = time.monotonic()

    def observe(update: Update) -> None:
        print(f"{model}: {update.trials} trials, saved {update.saved:.1%}", flush=True)

    tasks = tasks_of(api.load(subject(model).model), meter.target)
    jobs = Tuner(tasks, meter.target, meter, records, observe=observe).run(budget)
    verdicts = [(j.task.count, *j.verdict) for j in jobs if j.verdict]
    tuned, default = (sum(v[0] * v[i] for v in verdicts) for i in (1, 2))
    print(
        f"{model}: {tuned * 1e3:.2f} ms instead of {default * 1e3:.2f} ms ({default / tuned:.3f}), "
        f"in {time.monotonic() - begun:.0f} s"
    )


if __name__ == "__main__":
    main()
