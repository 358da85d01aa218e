"""Runs kernels of single groups: builds them, links them into one library, calls them."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from armlet.compiler.ir import Builder, TensorType, Value
from armlet.compiler.lower.compile import lower
from armlet.compiler.lower.group import Group
from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.ops.registry import Fusion, Op
from armlet.targets import target


def single(op: Op, *operands: np.ndarray) -> Group:
    """A group of one call; operands of one element become immediates of the code."""
    builder = Builder(source=op.name)
    values = [
        builder.const(o, f"c{i}") if o.size == 1 else builder.param(f"x{i}", TensorType.of(o))
        for i, o in enumerate(operands)
    ]
    (*_,) = builder.multi(op, *values)
    (call,) = builder.bindings
    anchored = op.fusion in (Fusion.ANCHOR, Fusion.REDUCE, Fusion.OPAQUE)
    return Group.of([call], call if anchored else None)


def aligned(array: np.ndarray, align: int = 64) -> np.ndarray:
    raw = np.zeros(array.nbytes + align, "uint8")
    start = -raw.ctypes.data % align
    out = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


class Library:
    """Kernels linked into one shared library."""

    def __init__(self, kernels: Iterable[Kernel]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        objects = []
        for kernel in {k.symbol: k for k in kernels}.values():
            objects.append(folder / f"{kernel.symbol}.o")
            objects[-1].write_bytes(kernel.object)
        path = folder / "kernels.so"
        command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-o", path, *objects, "-lm"]
        subprocess.run([str(c) for c in command], check=True)
        self._library = ctypes.CDLL(str(path))

    def run(
        self,
        kernel: Kernel,
        inputs: Sequence[np.ndarray],
        out: TensorType,
        cuts: Sequence[int] = (),
    ) -> np.ndarray:
        """The kernel's output, computed in as many calls as ``cuts`` of its extent say."""
        function = getattr(self._library, kernel.symbol)
        buffers = [aligned(np.asarray(a)) for a in inputs]
        poison = np.full(out.static_shape, 0x7F, "uint8").view("uint8")
        result = aligned(np.empty(out.static_shape, out.dtype))
        result.view("uint8").fill(0x7F) if result.ndim and result.size else poison
        scratch = aligned(np.full(kernel.scratch + 64, 0xFF, "uint8"))
        pointers = [ctypes.c_void_p(b.ctypes.data) for b in (*buffers, result)]
        bounds = [0, *(min(c, kernel.extent) for c in cuts), kernel.extent]
        for begin, end in zip(bounds, bounds[1:]):
            function(*pointers, begin, end, ctypes.c_void_p(scratch.ctypes.data))
        return result


def compiled(groups: Sequence[Group], name: str = "host") -> tuple[list[Kernel], Library]:
    kernels = lower(groups, target(name))
    return kernels, Library(kernels)


def close(got: np.ndarray, want: np.ndarray, tolerance: float = 1e-5) -> bool:
    """Whether the largest difference is within ``tolerance`` of the largest magnitude."""
    if got.dtype.kind != "f":
        return bool(np.array_equal(got, want))
    special = ~np.isfinite(want)
    if not np.array_equal(got[special], want[special], equal_nan=True):
        return False
    got, want = got[~special].astype("d"), want[~special].astype("d")
    if not want.size:
        return True
    return bool(np.abs(got - want).max() <= tolerance * max(1e-30, np.abs(want).max()))


def inputs_of(group: Group, operands: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The arrays that the kernel of a single call takes by pointer."""
    call = group.calls[0]
    of: dict[Value, np.ndarray] = dict(zip(call.operands, operands, strict=True))
    return [of[v] for v in group.inputs]
