"""What the executor costs: nanoseconds for each task of a model whose kernels do nothing.

    python benchmarks/executor_overhead.py [threads ...]

With more than one thread every task is shared by all of them: the time is a barrier's, from
waking the workers to seeing them done. It is measured with workers that spin while they wait,
as they do by default, and with workers that sleep at once.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from armlet import artifact
from armlet.compiler.ir import TensorType
from armlet.compiler.link import toolchain
from armlet.compiler.link.linker import link
from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.plan.plan import Location, Plan, Space, Task, Tensor
from armlet.targets import target

TASKS = 1000
#: how workers wait, and the option that says so
WAITING = {"spinning": 0, "asleep": -1}
SOURCE = "void armlet_k_nothing(float *x, float *y, int begin, int end, void *scratch) {}\n"


def compiled(folder: Path) -> bytes:
    (folder / "k.c").write_text(SOURCE)
    command = [toolchain.zig(), "clang", "--target=x86_64-linux-gnu", "-O2", "-fPIC", "-c", "k.c"]
    subprocess.run(command, cwd=folder, check=True)
    return (folder / "k.o").read_bytes()


def plan(folder: Path) -> Plan:
    type = TensorType((16,))
    kernel = Kernel("nothing", "armlet_k_nothing", compiled(folder), 64, 0, "nothing", 64)
    task = Task(0, (Location(Space.INPUT), Location(Space.OUTPUT)), "y", type, "")
    ends = (Tensor("x", type),), (Tensor("y", type),)
    return Plan(*ends, (kernel,), (task,) * TASKS, 0, 0, (), 0)


def main() -> None:
    print(f"{'threads':>7} {'waiting':>8} {'min ns':>8} {'median':>8} {'p90':>8}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "nothing.so"
        made = plan(folder)
        link(made, target=target("linux-x86_64"), manifest={}, selftest=None, output=path)
        for threads in [int(a) for a in sys.argv[1:]] or [1, 2]:
            for waiting, spin_us in WAITING.items():
                if threads == 1 and spin_us:
                    continue
                with artifact.open(path, threads=threads, spin_us=spin_us) as model:
                    ns = model.benchmark(seconds=1).seconds / TASKS * 1e9
                low, middle, high = np.percentile(ns, [0, 50, 90])
                print(f"{threads:7} {waiting:>8} {low:8.0f} {middle:8.0f} {high:8.0f}")


if __name__ == "__main__":
    main()
