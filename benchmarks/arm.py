"""Estimated cycles on Arm cores, by layer, without Arm hardware.

    export ARMSIM=/path/of/armsim
    python benchmarks/arm.py --core cortex-a76 --per-layer mobilenet_v1 model.onnx

A model is one of ``benchmarks.zoo``, an .onnx file, or an artifact (.so) for that core. It is
compiled (and compared with its source), run warm with one thread under armsim, a timing model of
the cores on top of qemu, and printed as Mcycles beside the FMA bound: MACs over what the core's
FMA units do in a cycle. ``--hot N`` prints the hottest blocks of assembly. armsim needs the
environment that its own README describes; ``ARMSIM`` or ``--armsim`` says where it is.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from armlet import api, emulator
from armlet.compiler.link import toolchain
from armlet.compiler.link.elf import Elf
from armlet.compiler.link.runtime import HEADER, compiled_once
from armlet.targets import Target, target

DRIVER = Path(__file__).parent / "arm_driver.c"
#: laps that armsim keeps, less those around the tasks
LAPS = 60


@dataclass
class Layer:
    template: str
    source: str
    value: str
    operators: str
    cycles: int
    bound: float


@dataclass
class Row:
    model: str
    core: str
    cycles: int
    bound: float
    layers: list[Layer] = field(default_factory=list)


class Simulator:
    """armsim's Python interface, for one core."""

    def __init__(self, armsim: Path, core: str) -> None:
        sys.path.insert(0, str(armsim))
        self.armsim: Any = importlib.import_module("armsim")
        self.core = self.armsim.CORES[core]
        self.known = self.armsim.Dictionary()

    def whole(self, command: list[str], hot: int) -> Any:
        """The estimate of the last lap."""
        return self.armsim.estimate(command, self.core.name, roi=True, hot=max(hot, 1))

    def learn(self, artifact: Path) -> dict[int, str]:
        """All instructions of an artifact, looked up."""
        elf = Elf(artifact.read_bytes())
        text = elf.section(".text")
        assert text is not None
        words = struct.unpack_from(f"<{text.size // 4}I", elf.data, text.offset)
        self.known.learn(words)
        return {word: self.known.texts[word] for word in words}

    def laps(self, command: list[str], learnt: dict[int, str]) -> tuple[list[int], str]:
        """Cycles of every lap, and what was printed, of a program; the rest of it is cheap."""
        with tempfile.NamedTemporaryFile("w", suffix=".model") as file:
            file.write(self.armsim.model_text(self.core, learnt))
            file.flush()
            laps, _, printed = self.armsim.run_guest(
                self.core, command, self.armsim.DEFAULT_SYSROOT, None, f"in={file.name},roi=1"
            )
        return [lap[0] for lap in laps], printed


def driver(chosen: Target) -> Path:
    def make(folder: Path) -> None:
        arguments = ["cc", "-target", chosen.zig_triple, "-O2", f"-I{HEADER.parent}", DRIVER]
        toolchain.run("compiling the driver", [*arguments, "-ldl", "-o", "driver"], folder)

    return compiled_once("driver", chosen.zig_triple, [HEADER, DRIVER], make) / "driver"


def compiled(
    model: str, chosen: Target, folder: Path, precision: str
) -> tuple[Path, dict[str, Any]]:
    """The artifact and its manifest."""
    path = Path(model)
    if path.suffix == ".so":
        data = path.read_bytes()
        start = data.index(b'{"armlet":')
        return path, json.JSONDecoder().raw_decode(data[start:].decode(errors="ignore"))[0]
    if path.suffix != ".onnx":
        import onnx

        sys.path.insert(0, str(DRIVER.parent.parent))
        zoo = importlib.import_module("benchmarks.zoo")
        path = folder / f"{model}.onnx"
        onnx.save(zoo.MODELS[model](), path)
    made = api.compile(path, chosen, precision=precision)
    made.save(folder / f"{path.stem}.so")
    return folder / f"{path.stem}.so", dict(made.manifest)


def layers(
    simulator: Simulator, command: list[str], manifest: dict[str, Any], per_cycle: float
) -> Iterator[Layer]:
    tasks, learnt = manifest["tasks"], simulator.known.texts
    for first in range(0, tasks, LAPS):
        count = min(LAPS, tasks - first)
        laps, printed = simulator.laps([*command, str(first), str(count)], learnt)
        rows = printed.splitlines()[first : first + count]
        for i, (row, cycles) in enumerate(zip(rows, laps[-count:], strict=True), first):
            task = dict(zip(manifest["task_columns"], manifest["task_rows"][i]))
            yield Layer(*row.split("\t"), task["operators"], cycles, task["macs"] / per_cycle)


def measure(model: str, simulator: Simulator, precision: str, per_layer: bool, hot: int) -> Row:
    chosen = target(f"linux-arm64-{simulator.core.name}")
    with tempfile.TemporaryDirectory() as folder:
        path, manifest = compiled(model, chosen, Path(folder), precision)
        command = [str(driver(chosen)), str(path)]
        dtype = "float16" if precision == "fp16" else "float32"
        per_cycle = chosen.computing(dtype).lanes * chosen.fma_units
        row = Row(model, simulator.core.name, 0, manifest["macs"] / per_cycle)
        if hot or not per_layer:
            found = simulator.whole([*command, "0", "0"], hot)
            row.cycles = found.cycles
            if hot:
                simulator.armsim.report(found, hot)
        if per_layer:
            simulator.learn(path)
            row.layers = list(layers(simulator, command, manifest, per_cycle))
            row.cycles = sum(layer.cycles for layer in row.layers)
        return row


def show(row: Row) -> None:
    table = Table(
        title=f"{row.model} on {row.core}: {row.cycles / 1e6:.1f} Mcycles, "
        f"{row.bound / row.cycles:.0%} of the FMA bound ({row.bound / 1e6:.1f})"
    )
    for name in ("layer", "template", "operators"):
        table.add_column(name, overflow="fold")
    for name in ("Mcycles", "bound", "of bound", "lost"):
        table.add_column(name, justify="right")
    for layer in sorted(row.layers, key=lambda each: each.bound - each.cycles):
        table.add_row(
            layer.source or layer.value, layer.template, layer.operators,
            f"{layer.cycles / 1e6:.3f}", f"{layer.bound / 1e6:.3f}",
            f"{layer.bound / layer.cycles:.0%}", f"{(layer.cycles - layer.bound) / 1e6:.3f}",
        )  # fmt: skip
    Console(width=max(120, Console().width)).print(table if row.layers else table.title)


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--core", default="cortex-a76")
    parser.add_argument("--armsim", type=Path, default=os.environ.get("ARMSIM"))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "fp16"))
    parser.add_argument("--per-layer", action="store_true")
    parser.add_argument("--hot", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.armsim is None:
        parser.error("set ARMSIM, or give --armsim, the folder of armsim.py")
    chosen = target(f"linux-arm64-{arguments.core}")
    if missing := emulator.find(chosen).missing:
        parser.error(missing)
    simulator = Simulator(arguments.armsim, arguments.core)
    rows = []
    for model in arguments.models:
        rows.append(
            measure(model, simulator, arguments.precision, arguments.per_layer, arguments.hot)
        )
        show(rows[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
