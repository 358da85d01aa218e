"""A GPU program run by the runtime on PoCL, where that is installed from PyPI."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from importlib import util
from pathlib import Path

import numpy as np
import pytest

from armlet.compiler.gpu.pack import pack
from armlet.compiler.gpu.program import Program
from armlet.compiler.link import runtime

from .test_c_interface import CC, compile_c

OPENCL = runtime.SOURCES.parent / "opencl"


class _Blob(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint32), ("data", ctypes.c_void_p), ("bytes", ctypes.c_uint64),
        ("cache_dir", ctypes.c_char_p), ("max_kernel_ms", ctypes.c_uint32),
    ]  # fmt: skip


_TEXT = [ctypes.c_char_p, ctypes.c_size_t]
_CREATE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(_Blob), ctypes.POINTER(ctypes.c_void_p), *_TEXT
)
_RUN = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, *_TEXT)
_DESTROY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Api(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_uint32), ("name", ctypes.c_char_p),
        ("create", _CREATE), ("run", _RUN), ("destroy", _DESTROY),
    ]  # fmt: skip


def use_pocl() -> None:
    """Points this process at PoCL; skips the test if it is not installed."""
    found = util.find_spec("pyopencl")
    folder = Path(found.origin).parent / ".libs" if found and found.origin else Path()
    loaders = list(folder.glob("libOpenCL-*.so*"))
    if CC is None or not loaders or not (folder / "pocl.icd").exists():
        pytest.skip("PoCL is not installed: pip install pyopencl[pocl]")
    os.environ["PYOPENCL_HOME"] = str(folder.parent)  # where its loader looks for drivers,
    ctypes.CDLL(str(next(folder.glob("libpocl-*.so"))))  # which it names without a folder
    os.environ["ARMLET_OPENCL_LIBRARY"] = str(loaders[0])


@lru_cache(maxsize=1)
def _api() -> _Api:
    own = [runtime.SOURCES / name for name in ("beacon.c", "system.c")]
    include = [f"-I{path}" for path in (runtime.HEADER.parent, runtime.SOURCES)]
    options = ["-shared", "-fPIC", "-std=gnu11", "-O1", *include]
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "opencl.so"
        compile_c([*options, *sorted(OPENCL.glob("*.c")), *own, "-o", library, "-ldl"])
        return _Api.in_dll(ctypes.CDLL(str(library)), "armlet_opencl")


def run_program(
    program: Program,
    inputs: Sequence[np.ndarray],
    cache: Path | None = None,
    max_kernel_ms: int = 0,
) -> list[np.ndarray]:
    """The outputs, flat. ``RuntimeError`` says why the program could not be run."""
    api, blob = _api(), pack(program)
    store = np.zeros(len(blob) + 64, np.uint8)
    at = -store.ctypes.data % 64
    store[at : at + len(blob)] = np.frombuffer(blob, np.uint8)
    folder = str(cache).encode() if cache else None
    what = _Blob(ctypes.sizeof(_Blob), store.ctypes.data + at, len(blob), folder, max_kernel_ms)
    region, error = ctypes.c_void_p(), ctypes.create_string_buffer(512)
    given = [np.ascontiguousarray(x, np.float32) for x in inputs]
    made = [np.zeros(program.buffers[i].bytes // 4, np.float32) for i in program.outputs]

    def pointers(arrays: Sequence[np.ndarray]) -> ctypes.Array[ctypes.c_void_p]:
        return (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))

    if api.create(what, region, error, len(error)):
        raise RuntimeError(error.value.decode())
    try:
        if api.run(region, pointers(given), pointers(made), error, len(error)):
            raise RuntimeError(error.value.decode())
    finally:
        api.destroy(region)
    return made
