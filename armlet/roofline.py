"""What this machine can do at most, measured, and how near to that a kernel comes.

The roofline of Williams et al. (CACM 2009): a kernel takes at least the time of its arithmetic
at the peak, and at least that of moving its inputs and its output once, at the bandwidth of L2
where they fit there and of memory where they do not.
"""

from __future__ import annotations

import ctypes
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from armlet.compiler.link import toolchain
from armlet.targets import Target, target

SOURCE = Path(__file__).parent / "peak.c"
#: does something so many times
Work = Callable[[int], None]
#: seconds of one trial, of which the best of several counts
TRIAL, TRIALS = 0.01, 5
#: larger than any cache that a core has to itself
BEYOND_CACHES = 64 << 20
#: sums that hide the latency of a multiply-add on two units, and fit 16 registers
SUMS = 12


@dataclass(frozen=True)
class Machine:
    """Of ``threads`` threads together: operations and bytes a second."""

    threads: int
    flops: float
    cache_bandwidth: float
    memory_bandwidth: float
    #: bytes that a thread's cache holds
    cache_bytes: int
    #: or else estimated, from what is known of the target
    measured: bool = True

    def bound(self, macs: int, moved: int) -> tuple[float, str]:
        """Least seconds for so much work, and which of "compute", "cache", "memory" says so."""
        if moved <= self.cache_bytes * self.threads:
            bandwidth, name = self.cache_bandwidth, "cache"
        else:
            bandwidth, name = self.memory_bandwidth, "memory"
        return max((2 * macs / self.flops, "compute"), (moved / bandwidth, name))

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def measure(threads: int = 1) -> Machine:
    """Measures for less than a second; nothing else should run."""
    host = target()
    library, lanes = _library(host), host.lanes

    def multiply() -> Work:
        return lambda times: library.armlet_multiply_add(times, 0.999, 0.001)

    def move(size: int) -> Work:
        buffers = np.ones((2, size // 8), np.float32)
        to, source = (b.ctypes.data for b in buffers)

        def work(times: int) -> None:
            library.armlet_move(to, source, buffers.shape[1] // lanes, times)

        return work

    cached = host.l2_bytes // 2
    return Machine(
        threads,
        2 * SUMS * lanes * _rate([multiply() for _ in range(threads)]),
        cached * _rate([move(cached) for _ in range(threads)]),
        BEYOND_CACHES * _rate([move(BEYOND_CACHES) for _ in range(threads)]),
        host.l2_bytes,
    )


#: of a device that does not tell its clock
USUAL_MHZ = 2000.0
#: bytes a second that a core gets from memory, at the least that phones do
USUAL_MEMORY = 8e9


def estimated(target: Target, mhz: float, threads: int = 1) -> Machine:
    """What so many of a target's cores should do: a vector from L2 each cycle, and one result of
    every unit for multiply-adds."""
    hertz = 1e6 * (mhz or USUAL_MHZ)
    vector = target.lanes * target.element_bytes
    return Machine(
        threads,
        2 * target.lanes * target.fma_units * hertz * threads,
        vector * hertz * threads,
        USUAL_MEMORY * threads,
        target.l2_bytes,
        measured=False,
    )


def _rate(works: Sequence[Work]) -> float:
    """Repetitions a second of all threads together, each with work of its own."""
    times, taken = 1, 0.0
    while (taken := min(_seconds(works, times) for _ in range(2))) < TRIAL / 2:
        times = max(times + 1, int(times * min(10.0, TRIAL / max(taken, 1e-6))))
    return len(works) * times / min(_seconds(works, times) for _ in range(TRIALS))


def _seconds(works: Sequence[Work], times: int) -> float:
    """From a common start to the last one's end."""
    start = threading.Barrier(len(works))
    spans: list[tuple[float, float]] = []

    def run(work: Work) -> None:
        start.wait()
        begun = time.perf_counter()
        work(times)
        spans.append((begun, time.perf_counter()))

    helpers = [threading.Thread(target=run, args=(w,)) for w in works[1:]]
    for helper in helpers:
        helper.start()
    run(works[0])
    for helper in helpers:
        helper.join()
    return max(end for _, end in spans) - min(begun for begun, _ in spans)


@lru_cache(maxsize=1)
def _library(host: Target) -> ctypes.CDLL:
    """``peak.c`` for this processor."""
    with tempfile.TemporaryDirectory(prefix="armlet-") as name:
        folder = Path(name)
        triple = f"--target={toolchain.llvm_triple(host.zig_triple)}"
        flags = [
            triple, "-march=native", f"-mprefer-vector-width={32 * host.lanes}", "-O3", "-fPIC",
            "-ffp-contract=fast", f"-DLANES={host.lanes}", f"-DSUMS={SUMS}",
        ]  # fmt: skip
        toolchain.run("compiling the peak", ["clang", *flags, "-c", SOURCE, "-o", "peak.o"], folder)
        toolchain.run("linking the peak", ["ld.lld", "-shared", "peak.o", "-o", "peak.so"], folder)
        library = ctypes.CDLL(str(folder / "peak.so"))
    library.armlet_multiply_add.argtypes = [ctypes.c_long, ctypes.c_float, ctypes.c_float]
    library.armlet_multiply_add.restype = ctypes.c_float
    library.armlet_move.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_long]
    return library
