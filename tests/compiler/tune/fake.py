"""A meter that invents times, so that the tuner itself can be tested in no time.

``python -m tests.compiler.tune.fake RECORDS`` tunes with it and tells of each batch: the tests
kill it.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from armlet.compiler.ir import Builder, TensorType
from armlet.compiler.ir.group import Group
from armlet.compiler.ops import OPERATORS
from armlet.compiler.records import Record, now
from armlet.compiler.tune.measure import Measuring
from armlet.compiler.tune.runner import Workload
from armlet.compiler.tune.tasks import Point, Task
from armlet.compiler.tune.tuner import Budget, Tuner
from armlet.targets import target

HOST = target("linux-x86_64-v4")


def convolution(channels: int = 32, size: int = 14, kernel: int = 3, lanes: int = 16) -> Workload:
    builder = Builder(source=f"conv{channels}")
    blocks, pads = channels // lanes, (kernel // 2,) * 4
    x = builder.param("x", TensorType((1, blocks, size, size, lanes)))
    w = builder.param("w", TensorType((blocks, blocks, kernel, kernel, lanes, lanes)))
    op = OPERATORS["conv2d_blocked"](
        strides=(1, 1), pads=pads, dilations=(1, 1),
        in_channels=channels, out_channels=channels, group=1,
    )  # fmt: skip
    builder.call(op, x, w)
    (call,) = builder.bindings
    return Workload(Group.of([call], call), (1,))


def task(*sizes: int, count: int = 1) -> Task:
    forms = tuple(convolution(size) for size in sizes)
    return Task(f"layer{sizes[0]}", forms, count)


def invented(point: Point) -> float:
    """Seconds between 1 and 2 ms, the same each time."""
    digest = hashlib.sha256(str(point.record.identity).encode()).digest()
    return 1e-3 * (1 + digest[0] / 255)


class FakeMeter:
    modelled = ""
    together = 1
    ahead = 1

    def __init__(self, seconds: Callable[[Point], float | None] = invented) -> None:
        self.seconds = seconds
        self.measured: list[Point] = []

    def start(
        self, points: Sequence[Point], keep: Callable[[Record], None] | None = None, **race: Any
    ) -> Measuring:
        found: Measuring = Future()
        found.set_result([self.outcome(point) for point in points])
        if keep:  # which the verdict does not ask for
            self.measured += points
            for record, _ in found.result():
                keep(record)
        return found

    def outcome(self, point: Point) -> tuple[Record, list[float]]:
        seconds = self.seconds(point)
        failure = "crash: invented" if seconds is None else ""
        record = replace(
            point.record, seconds=seconds, failure=failure, modelled=self.modelled, date=now()
        )
        return record, [] if seconds is None else [seconds] * 15


def main(path: str) -> None:
    tuner = Tuner(
        [task(32), task(48), task(64)], HOST, FakeMeter(), Path(path),  # type: ignore[arg-type]
        observe=lambda update: print(update.trials, flush=True),
    )  # fmt: skip
    print(0, flush=True)
    tuner.run(Budget(trials=400))


if __name__ == "__main__":
    main(sys.argv[1])
