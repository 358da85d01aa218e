"""The table that judges the search: every point of some workloads, measured.

    python -m benchmarks.search_table build FOLDER        # kernels; goes on where it was ended
    python -m benchmarks.search_table measure FOLDER      # some 25 s of a pass; repeat it
    python -m benchmarks.search_table write FOLDER tests/data/search.npz

Each pass measures as much as its time allows and goes on where the one before ended; what
counts is a point's least median over the passes, so that a busy moment spoils none for good.
Run ``measure`` on an otherwise idle machine until every point has had two passes at least.
"""

from __future__ import annotations

import argparse
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np

from armlet.compiler.ir import Builder, TensorType
from armlet.compiler.ir.group import Group
from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.ops import OPERATORS
from armlet.compiler.tune.features import features, matrix
from armlet.compiler.tune.measure import Builders, Meter
from armlet.compiler.tune.runner import Workload
from armlet.compiler.tune.tasks import Point, points_of
from armlet.targets import Target, target

SECONDS = 25.0
#: points of a workload, of one in ``WIDE``, and candidates that are built and measured together
MOST, WIDEST, BATCH = 72, 320, 24


def conv(channels: int, size: int, out: int, kernel: int, stride: int = 1) -> Workload:
    c, o, pads = min(channels, 16), 16, (kernel // 2,) * 4
    types = [(1, channels // c, size, size, c), (out // o, channels // c, kernel, kernel, c, o)]
    op = OPERATORS["conv2d_blocked"](
        strides=(stride, stride), pads=pads, dilations=(1, 1),
        in_channels=channels, out_channels=out, group=1,
    )  # fmt: skip
    return _workload(op, types, (1,))


def packed(rows: int, depth: int, columns: int) -> Workload:
    op = OPERATORS["matmul_packed"](columns=columns)
    return _workload(op, [(rows, depth), (-(-columns // 16), depth, 16)], (1,))


def product(batch: int, rows: int, depth: int, columns: int) -> Workload:
    return _workload(OPERATORS["matmul"](), [(batch, rows, depth), (batch, depth, columns)], ())


def _workload(op: Any, types: list[tuple[int, ...]], constants: tuple[int, ...]) -> Workload:
    builder = Builder(source="table")
    builder.call(op, *(builder.param(f"p{i}", TensorType(t)) for i, t in enumerate(types)))
    (call,) = builder.bindings
    return Workload(Group.of([call], call), constants)


WORKLOADS = {
    "3x3, 64 to 64, 56x56": lambda: conv(64, 56, 64, 3),
    "3x3, 128 to 128, 28x28": lambda: conv(128, 28, 128, 3),
    "3x3, 256 to 256, 14x14": lambda: conv(256, 14, 256, 3),
    "3x3, 512 to 512, 7x7": lambda: conv(512, 7, 512, 3),
    "3x3 stride 2, 3 to 32, 224x224": lambda: conv(3, 224, 32, 3, 2),
    "3x3 stride 2, 128 to 256, 28x28": lambda: conv(128, 28, 256, 3, 2),
    "1x1, 32 to 64, 112x112": lambda: conv(32, 112, 64, 1),
    "1x1, 64 to 384, 14x14": lambda: conv(64, 14, 384, 1),
    "1x1, 960 to 160, 7x7": lambda: conv(960, 7, 160, 1),
    "128x512 by 512x512, packed": lambda: packed(128, 512, 512),
    "128x2048 by 2048x512, packed": lambda: packed(128, 2048, 512),
    "8 of 128x64 by 64x128": lambda: product(8, 128, 64, 128),
}


#: searched as widely as real spaces are
WIDE = (
    "3x3, 64 to 64, 56x56", "3x3, 128 to 128, 28x28", "3x3, 256 to 256, 14x14",
    "3x3, 512 to 512, 7x7", "1x1, 32 to 64, 112x112", "128x512 by 512x512, packed",
)  # fmt: skip


def points(name: str, host: Target) -> list[Point]:
    """The default first, then evenly picked others."""
    found, most = list(points_of(WORKLOADS[name](), host)), WIDEST if name in WIDE else MOST
    step = max(1.0, (len(found) - 1) / (most - 1))
    rest = range(min(most, len(found)) - 1)
    return [found[0], *(found[1 + int(i * step)] for i in rest)]


def build(folder: Path, host: Target) -> None:
    builders = Builders()
    for number, name in enumerate(WORKLOADS):
        path = folder / f"{number}.kernels"
        made, kernels = (
            pickle.loads(path.read_bytes()) if path.exists() else (points(name, host), [])
        )
        while len(kernels) < len(made):
            part = made[len(kernels) : len(kernels) + BATCH]
            kernels += builders.build(part, host)
            path.write_bytes(pickle.dumps((made, kernels)))
            print(f"{name}: {len(kernels)} of {len(made)} points", flush=True)
    builders.close()


class _Built(Builders):
    """Hands out kernels that are made."""

    def __init__(self, kernels: dict[int, Kernel | Exception]) -> None:
        super().__init__()
        self.kernels = kernels

    def build(self, points: Any, target: Target) -> list[Kernel | Exception]:
        return [self.kernels[id(p)] for p in points]


def measure(folder: Path, host: Target, seconds: float) -> None:
    state = folder / "times"
    times: dict[int, list[list[float]]] = pickle.loads(state.read_bytes()) if state.exists() else {}
    work = []
    for number in range(len(WORKLOADS)):
        made, kernels = pickle.loads((folder / f"{number}.kernels").read_bytes())
        known = times.setdefault(number, [[] for _ in made])
        for start in range(0, len(made), BATCH):
            part = slice(start, start + BATCH)
            work.append((len(known[start]), number, made[part], kernels[part], part))
    until = time.monotonic() + seconds
    with Meter(host) as meter:
        for _, number, made, kernels, part in sorted(work, key=lambda w: w[0]):
            if time.monotonic() > until:
                break
            meter.builders = _Built({id(p): k for p, k in zip(made, kernels)})
            found = meter.measure(made, races=False, turns=5, most=0.02)
            for all_times, record in zip(times[number][part], found):
                all_times.append(record.seconds or float("inf"))
    state.write_bytes(pickle.dumps(times))
    print("passes:", min(len(t) for known in times.values() for t in known))


def write(folder: Path, host: Target, output: Path) -> None:
    times = pickle.loads((folder / "times").read_bytes())
    arrays: dict[str, np.ndarray] = {}
    for number, name in enumerate(WORKLOADS):
        made, _ = pickle.loads((folder / f"{number}.kernels").read_bytes())
        rows = [features(p, host) for p in made]
        names = sorted({n for row in rows for n in row})
        arrays[f"{name}|names"] = np.array(names)
        arrays[f"{name}|features"] = matrix(rows, names).astype(np.float16)
        least = [min(t) for t in times[number]]
        arrays[f"{name}|microseconds"] = np.array(least, np.float32) * 1e6
    output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(output, **arrays)  # type: ignore[arg-type]
    print(output, output.stat().st_size, "bytes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_table")
    parser.add_argument("step", choices=["build", "measure", "write"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path, nargs="?", default=Path("tests/data/search.npz"))
    parser.add_argument("--seconds", type=float, default=SECONDS)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    host = target()
    if arguments.step == "build":
        build(arguments.folder, host)
    elif arguments.step == "measure":
        measure(arguments.folder, host, arguments.seconds)
    else:
        write(arguments.folder, host, arguments.output)


if __name__ == "__main__":
    main()
