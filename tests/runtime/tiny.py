"""A tiny model with kernels in C, for tests of what comes after compilation.

a = x * w      (in parallel)        y = sum of each row of b
b = a * a      (through scratch)    z = b + 1
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from armlet.compiler.ir import TensorType
from armlet.compiler.link import formats, toolchain
from armlet.compiler.link.linker import link
from armlet.compiler.link.selftest import SelfTest, expect, inputs
from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.plan.plan import Location, Plan, Space, Task, Tensor

ROWS, COLUMNS = 8, 64
TRIPLE = "x86_64-linux-gnu.2.17"

#: name -> C text; rows [begin, end) are a call's part
SOURCES = {
    "scale": """
void armlet_k_scale(const float *x, const float *w, float *y, int begin, int end, void *scratch) {
    (void)scratch;
    for (int i = begin; i < end; i++)
        for (int j = 0; j < 64; j++) y[i * 64 + j] = x[i * 64 + j] * w[j];
}""",
    "square": """
void armlet_k_square(const float *x, float *y, int begin, int end, void *scratch) {
    float *row = scratch;
    for (int i = begin; i < end; i++) {
        for (int j = 0; j < 64; j++) row[j] = x[i * 64 + j];
        for (int j = 0; j < 64; j++) y[i * 64 + j] = row[j] * row[j];
    }
}""",
    "sum": """
void armlet_k_sum(const float *x, float *y, int begin, int end, void *scratch) {
    (void)scratch;
    for (int i = begin; i < end; i++)
        for (int k = 0; k < 8; k++) {
            float sum = 0;
            for (int j = 0; j < 64; j++) sum += x[k * 64 + j];
            y[k] = sum;
        }
}""",
    "increment": """
void armlet_k_increment(const float *x, float *y, int begin, int end, void *scratch) {
    (void)scratch;
    for (int i = begin * 64; i < end * 64; i++) y[i] = x[i] + 1;
}""",
}

SLOW_SOURCE = """
void armlet_k_slow(const float *x, float *y, int begin, int end, void *scratch) {
    (void)begin, (void)end, (void)scratch;
    for (volatile int i = 0; i < 50000000; i++) y[0] = x[0];
}"""


@dataclasses.dataclass(frozen=True)
class TinyTarget:
    zig_triple: str = TRIPLE
    features: tuple[str, ...] = ("sse2",)
    page_bytes: int = 4 << 10


@lru_cache(maxsize=64)
def compiled(source: str, triple: str = TRIPLE) -> bytes:
    """The object file of a kernel's C text."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "kernel.c").write_text(source)
        target = f"--target={toolchain.llvm_triple(triple)}"
        flags = formats.of_triple(triple).flags
        arguments = ["clang", target, "-O2", *flags, "-c", "kernel.c", "-o", "kernel.o"]
        toolchain.run("compiling a test kernel", arguments, folder)
        return (folder / "kernel.o").read_bytes()


def kernel(name: str, extent: int, ways: int, scratch: int = 0) -> Kernel:
    return Kernel(name, f"armlet_k_{name}", compiled(SOURCES[name]), extent, scratch, name, ways)


def weights() -> np.ndarray:
    return np.linspace(-1, 1, COLUMNS, dtype=np.float32)


def plan(ways: int = ROWS) -> Plan:
    """``ways`` are the threads that its kernels are worth."""
    whole, sums = TensorType((ROWS, COLUMNS)), TensorType((ROWS,))
    x, w = Location(Space.INPUT), Location(Space.CONSTANT, 64)
    a, b = Location(Space.ARENA), Location(Space.ARENA, whole.bytes)
    y, z = Location(Space.OUTPUT), Location(Space.OUTPUT, index=1)
    kernels = (
        kernel("scale", ROWS, ways),
        kernel("square", ROWS, ways, scratch=COLUMNS * 4),
        kernel("sum", 1, 1),
        kernel("increment", ROWS, ways),
    )
    tasks = (
        Task(0, (x, w, a), "a", whole, "net/scale"),
        Task(1, (a, b), "b", whole, 'net/"square"\n?'),
        Task(2, (b, y), "y", sums, "net/größe"),
        Task(3, (b, z), "z", whole, "net/increment"),
    )
    return Plan(
        inputs=(Tensor("x", whole),),
        outputs=(Tensor("y", sums), Tensor("z", whole)),
        kernels=kernels,
        tasks=tasks,
        arena_bytes=2 * whole.bytes,
        arena_lower_bound=2 * whole.bytes,
        constants=((64, weights()),),
        constant_bytes=64 + COLUMNS * 4,
    )


def slow_plan() -> Plan:
    """A plan of a hundred tasks that take a tenth of a second each, or so."""
    whole = plan()
    slow = Kernel("slow", "armlet_k_slow", compiled(SLOW_SOURCE), 1, 0, "slow", 1)
    task = dataclasses.replace(whole.tasks[3], kernel=len(whole.kernels))
    return dataclasses.replace(
        whole, kernels=(*whole.kernels, slow), tasks=(task,) * 100 + whole.tasks
    )


def evaluate(x: np.ndarray) -> dict[str, np.ndarray]:
    b = (x * weights()) ** 2
    return {"y": b.sum(axis=1), "z": b + 1}


def selftest(tolerance: float = 1e-5, shift: float = 0.0) -> SelfTest:
    """The right expectations, or wrong ones by ``shift``."""
    right = evaluate(inputs(plan().inputs)["x"])
    outputs = [right["y"] + np.float32(shift), right["z"]]
    return expect(outputs, [tolerance * float(np.abs(o).max()) for o in outputs])


def artifact(path: Path, **changes: Any) -> Path:
    """The model as an artifact; ``changes`` replace arguments of ``link``."""
    arguments: dict[str, Any] = {
        "plan": plan(), "target": TinyTarget(), "manifest": {"model": "tiny ☃"},
        "selftest": selftest(),
    }  # fmt: skip
    arguments |= changes
    link(arguments.pop("plan"), output=path, **arguments)
    return path


def artifact_for(target: Any, path: Path, increment: str = SOURCES["increment"]) -> Path:
    """The model for another machine; ``increment`` is the text of that kernel."""
    sources = {**SOURCES, "increment": increment}
    made = plan()
    kernels = tuple(
        dataclasses.replace(k, object=compiled(sources[k.key], target.zig_triple))
        for k in made.kernels
    )
    return artifact(path, plan=dataclasses.replace(made, kernels=kernels), target=target)
