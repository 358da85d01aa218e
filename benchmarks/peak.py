"""The fp32 peak of one core, measured: fused multiply-adds that wait for nothing."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from functools import lru_cache
from pathlib import Path

from armlet.compiler.link.toolchain import zig

#: twelve chains hide the latency of two pipes, and fit into sixteen registers
SOURCE = """
#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float vector __attribute__((vector_size(LANES * sizeof(float))));

double operations(long rounds, float *out) {
    vector sum[12], factor = (vector){0} + 0.5f, term = (vector){0} + 1.0f;
    for (int i = 0; i < 12; i++) sum[i] = term * (float)i;
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < 12; i++) sum[i] = sum[i] * factor + term;
    for (int i = 1; i < 12; i++) sum[0] += sum[i];
    *out = sum[0][0];
    return 2.0 * LANES * 12 * rounds;
}
"""
ROUNDS = 2_000_000


@lru_cache(maxsize=1)
def _kernel() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as name:
        source, library = Path(name) / "peak.c", Path(name) / "peak.so"
        source.write_text(SOURCE)
        flags = ["-O3", "-march=native", "-mprefer-vector-width=512", "-ffp-contract=fast"]
        subprocess.run([zig(), "cc", *flags, "-shared", "-fPIC", source, "-o", library], check=True)
        kernel = ctypes.CDLL(str(library))
    kernel.operations.restype = ctypes.c_double
    kernel.operations.argtypes = [ctypes.c_long, ctypes.POINTER(ctypes.c_float)]
    return kernel


def gflops() -> float:
    """The best of several runs of some milliseconds."""
    kernel, out, best = _kernel(), ctypes.c_float(), 0.0
    for _ in range(10):
        begun = time.perf_counter()
        done = kernel.operations(ROUNDS, out)
        best = max(best, done / (time.perf_counter() - begun))
    return best / 1e9
