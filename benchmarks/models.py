"""One table of what matters for some models: time, memory, size, error, beside ONNX Runtime.

    python benchmarks/models.py det.onnx@x=1x3x640x640 cls.onnx@x=1x3x48x192 --json out.json

Every model is compiled in a fresh cache, then again; timed in turns with ONNX Runtime, with
one and with two threads, answers compared first; run by a process of its own for the peak of
its memory. Nothing else should run on the machine. ``model.onnx@sr=16000`` gives a scalar
input its value, ``model.onnx@x=picture.npy`` an input its shape and data; others are random.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import armlet
from armlet.errors import ArmletError
from armlet.measure import in_turns

THREADS = (1, 2)

#: prints the peak of resident KiB since the process began to run this program
PEAK = """
print(next(l.split()[1] for l in open("/proc/self/status") if l.startswith("VmHWM")))
"""
MEMORY = {
    "armlet": """
import sys, numpy as np
from armlet import artifact
feeds = dict(np.load(sys.argv[2]))
model = artifact.open(sys.argv[1], threads=2)
for _ in range(5): model.run(feeds)
""",
    "onnxruntime": """
import sys, numpy as np, onnxruntime
onnxruntime.set_default_logger_severity(4)
feeds = dict(np.load(sys.argv[2]))
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
for _ in range(5): session.run(None, feeds)
""",
}


@dataclass
class Row:
    """One model; times in ms, memory in MiB, sizes in bytes."""

    name: str
    compile_cold_s: float = math.nan
    compile_warm_s: float = math.nan
    open_ms: float = math.nan
    error: float = math.nan
    code_bytes: int = 0
    weight_bytes: int = 0
    arena_bytes: int = 0
    arena_ratio: float = math.nan
    rss_armlet: float = math.nan
    rss_onnxruntime: float = math.nan
    armlet_ms: dict[int, float] = field(default_factory=dict)
    onnxruntime_ms: dict[int, float] = field(default_factory=dict)
    refused: str = ""

    def ratio(self, threads: int) -> float:
        return self.armlet_ms[threads] / self.onnxruntime_ms[threads]


def parse(text: str) -> tuple[Path, dict[str, tuple[int, ...]], dict[str, np.ndarray]]:
    """``path[@input=1x2x3]…[@scalar=5][@input=file.npy]`` -> path, shapes, values."""
    path, *rest = text.split("@")
    shapes, values = {}, {}
    for item in rest:
        name, _, size = item.rpartition("=")
        if size.endswith(".npy"):
            values[name] = np.load(size)
            shapes[name] = values[name].shape
        elif "x" in size:
            shapes[name] = tuple(int(d) for d in size.split("x"))
        else:
            values[name] = np.array(int(size))
    return Path(path), shapes, values


def compile_seconds(
    path: Path, shapes: dict, data: Path | None, output: Path, cache: Path
) -> float:
    """Seconds of ``armlet compile`` in a process of its own, start-up included."""
    options = [f"--shape={n}={'x'.join(map(str, s))}" for n, s in shapes.items()]
    options += [f"--data={data}"] if data else []
    command = [sys.executable, "-m", "armlet", "compile", str(path), "-o", str(output)]
    begun = time.perf_counter()
    done = subprocess.run(
        [*command, *options], env={**os.environ, "ARMLET_CACHE": str(cache)},
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise ArmletError(done.stderr.strip())
    return time.perf_counter() - begun


def peak_mib(who: str, model: Path, feeds: Path) -> float:
    out = subprocess.run(
        [sys.executable, "-c", MEMORY[who] + PEAK, str(model), str(feeds)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(out.stdout) / 1024


def opening_ms(path: Path) -> float:
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        armlet.open(path).close()
        times.append(time.perf_counter() - begun)
    return float(np.median(times)) * 1e3


def measure(text: str, folder: Path, seconds: float) -> Row:
    path, shapes, values = parse(text)
    row = Row(path.stem)
    so, cache, inputs = folder / f"{path.stem}.so", folder / path.stem, folder / "inputs.npz"
    data = None
    if values:
        data = folder / "values.npz"
        np.savez(data, **values)
    try:
        row.compile_cold_s = compile_seconds(path, shapes, data, so, cache)
    except ArmletError as error:
        row.refused = str(error).splitlines()[0]
        return row
    row.compile_warm_s = compile_seconds(path, shapes, data, so, cache)
    row.open_ms = opening_ms(so)
    model = armlet.open(so)
    feeds = {**model.example_inputs(), **values}
    np.savez(inputs, **feeds)
    manifest = model.manifest
    row.weight_bytes = manifest["constant_bytes"]
    row.code_bytes = so.stat().st_size - row.weight_bytes
    row.arena_bytes = manifest["arena_bytes"]
    row.arena_ratio = row.arena_bytes / max(1, manifest["arena_lower_bound"])
    row.rss_armlet = peak_mib("armlet", so, inputs)
    row.rss_onnxruntime = peak_mib("onnxruntime", path, inputs)
    for threads in THREADS:
        with armlet.open(so, threads=threads) as one:
            ours, theirs, apart = in_turns(one, path, feeds, threads, seconds, 0.3)
        row.armlet_ms[threads] = float(np.median(ours)) * 1e3
        row.onnxruntime_ms[threads] = float(np.median(theirs)) * 1e3
        row.error = max(d.relative for d in apart)
    return row


def geometric_mean(rows: list[Row], threads: int) -> float:
    return math.exp(sum(math.log(r.ratio(threads)) for r in rows) / len(rows))


def show(rows: list[Row]) -> None:
    console = Console(width=200)
    table = Table("model", *(
        f"{who} ms, {t} threads" for t in THREADS for who in ("armlet", "ORT", "ratio")
    ))  # fmt: skip
    timed = [r for r in rows if not r.refused]
    for r in timed:
        cells = []
        for t in THREADS:
            cells += [f"{r.armlet_ms[t]:.3f}", f"{r.onnxruntime_ms[t]:.3f}", f"{r.ratio(t):.2f}"]
        table.add_row(r.name, *cells)
    means = [cell for t in THREADS for cell in ("", "", f"{geometric_mean(timed, t):.2f}")]
    table.add_row("geometric mean", *means)
    console.print(table)
    table = Table(
        "model", "error", "compile s", "again s", "open ms", "code KiB", "weights KiB", "arena KiB",
        "of bound", "RSS MiB", "ORT RSS",
    )  # fmt: skip
    for r in timed:
        table.add_row(
            r.name, f"{r.error:.1e}", f"{r.compile_cold_s:.1f}", f"{r.compile_warm_s:.1f}",
            f"{r.open_ms:.2f}", f"{r.code_bytes / 1024:.0f}", f"{r.weight_bytes / 1024:.0f}",
            f"{r.arena_bytes / 1024:.0f}", f"{r.arena_ratio:.3f}", f"{r.rss_armlet:.0f}",
            f"{r.rss_onnxruntime:.0f}",
        )  # fmt: skip
    console.print(table)
    for r in rows:
        if r.refused:
            console.print(f"{r.name}: {r.refused}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for text in arguments.models:
            rows.append(measure(text, Path(name), arguments.seconds))
            print(rows[-1].name, "done", file=sys.stderr, flush=True)
    show(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(r) for r in rows], indent=1))


if __name__ == "__main__":
    main()
