"""``armlet.h`` for Python: structs, functions and errors of an artifact, by ctypes.

``Library`` checks a file before the dynamic loader sees it, since a damaged one can crash
the loader. Mirrors ``runtime/include/armlet.h``; a test compares the two.
"""

from __future__ import annotations

import _ctypes
import ctypes
import mmap
import os
import platform
import threading
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from armlet.compiler.link import elf_format, formats
from armlet.compiler.link.elf import MACHINES, Elf
from armlet.compiler.link.format import FormatError
from armlet.compiler.link.seal import check_seal
from armlet.errors import (
    AcceleratorError,
    ArmletError,
    ArtifactError,
    CpuError,
    ExecutionError,
    InputError,
    InternalError,
)

ABI_VERSION = 3

#: by the codes of armlet_dtype
DTYPES = (
    "", "float16", "float32", "float64", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "bool",
)  # fmt: skip

#: by the codes of armlet_devices
DEVICES = ("use", "require", "leave")

OK, ERROR_CPU, ERROR_INPUT, ERROR_SELFTEST = 0, 3, 5, 8
_ERRORS: dict[int, type[ArmletError]] = {
    1: InternalError,
    ERROR_CPU: CpuError,
    ERROR_INPUT: InputError,
    9: ArtifactError,
    10: AcceleratorError,
}

_pointer = ctypes.c_void_p
_int = ctypes.c_int32
_text = ctypes.c_char_p


class Struct(ctypes.Structure):
    """A struct that begins with its size."""

    def __init__(self, **values: Any) -> None:
        super().__init__(struct_size=ctypes.sizeof(self), **values)


class TensorInfo(Struct):
    _fields_ = [
        ("struct_size", ctypes.c_size_t), ("name", _text),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("rank", _int), ("dtype", _int),
        ("bytes", ctypes.c_size_t),
    ]  # fmt: skip


class Options(Struct):
    _fields_ = [
        ("struct_size", ctypes.c_size_t), ("threads", _int), ("spin_us", _int),
        ("cpus", ctypes.POINTER(_int)), ("cpu_count", ctypes.c_size_t), ("message", _text),
        ("message_size", ctypes.c_size_t), ("devices", _int), ("max_kernel_ms", ctypes.c_uint32),
        ("device_cache", _text),
    ]  # fmt: skip


class ProfileEntry(Struct):
    _fields_ = [
        ("struct_size", ctypes.c_size_t), ("value", _text), ("source", _text),
        ("template_name", _text), ("seconds", ctypes.c_double), ("calls", ctypes.c_uint64),
        ("threads", _int),
    ]  # fmt: skip


class RegionInfo(Struct):
    _fields_ = [
        ("struct_size", ctypes.c_size_t), ("name", _text), ("back_end", _text),
        ("reason", _text), ("live", _int), ("first_task", _int), ("task_count", _int),
        ("step_count", _int), ("program_bytes", ctypes.c_size_t), ("seconds", ctypes.c_double),
        ("calls", ctypes.c_uint64),
    ]  # fmt: skip


class Value(Struct):
    _fields_ = [
        ("struct_size", ctypes.c_size_t), ("task", _int), ("rank", _int), ("name", _text),
        ("source", _text), ("shape", ctypes.POINTER(ctypes.c_int64)), ("data", _pointer),
        ("bytes", ctypes.c_size_t), ("dtype", _int),
    ]  # fmt: skip


class SelfTestReport(Struct):
    _fields_ = [
        ("struct_size", ctypes.c_size_t), ("compared", ctypes.c_uint64),
        ("wrong", ctypes.c_uint64), ("output", _text), ("element", ctypes.c_uint64),
        ("expected", ctypes.c_double), ("actual", ctypes.c_double),
        ("tolerance", ctypes.c_double),
    ]  # fmt: skip


Observer = ctypes.CFUNCTYPE(None, _pointer, ctypes.POINTER(Value))

#: name -> (result, arguments)
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "armlet_abi_version": (_int, []),
    "armlet_status_text": (_text, [_int]),
    "armlet_manifest": (_pointer, [ctypes.POINTER(ctypes.c_size_t)]),
    "armlet_input_count": (_int, []),
    "armlet_output_count": (_int, []),
    "armlet_task_count": (_int, []),
    "armlet_input_info": (_int, [_int, ctypes.POINTER(TensorInfo)]),
    "armlet_output_info": (_int, [_int, ctypes.POINTER(TensorInfo)]),
    "armlet_create": (_int, [ctypes.POINTER(Options), ctypes.POINTER(_pointer)]),
    "armlet_destroy": (None, [_pointer]),
    "armlet_thread_count": (_int, [_pointer]),
    "armlet_set_input": (_int, [_pointer, _int, _pointer, ctypes.c_size_t]),
    "armlet_set_output": (_int, [_pointer, _int, _pointer, ctypes.c_size_t]),
    "armlet_output": (_pointer, [_pointer, _int]),
    "armlet_run": (_int, [_pointer]),
    "armlet_cancel": (None, [_pointer]),
    "armlet_error": (_text, [_pointer]),
    "armlet_current_task": (_int, [_pointer]),
    "armlet_set_profiling": (_int, [_pointer, _int]),
    "armlet_profile": (_int, [_pointer, _int, ctypes.POINTER(ProfileEntry)]),
    "armlet_region_count": (_int, []),
    "armlet_region": (_int, [_pointer, _int, ctypes.POINTER(RegionInfo)]),
    "armlet_region_step": (
        _int,
        [_pointer, _int, _int, ctypes.POINTER(_text), ctypes.POINTER(ctypes.c_double)],
    ),
    "armlet_observe": (_int, [_pointer, Observer, _pointer]),
    "armlet_selftest": (_int, [_pointer, ctypes.POINTER(SelfTestReport)]),
}


def error(status: int, text: str, where: str) -> ArmletError:
    """The exception for a status that is not OK."""
    way_out = ""
    if status == ERROR_CPU:
        way_out = "compile the model for this machine, or for a target with fewer features"
    return _ERRORS.get(status, ExecutionError)(text, where=where, way_out=way_out)


def check_file(path: Path) -> None:
    """``ArtifactError`` unless the file is a whole artifact for this kind of machine."""
    way_out = "give the .so file that `armlet compile` wrote for this machine"
    try:
        with path.open("rb") as file:
            data = _mapped(file)
        kind = formats.of_file(data)
        if kind is not elf_format.FORMAT or Elf(data).machine != MACHINES.get(platform.machine()):
            raise FormatError(f"it is made for another machine than {platform.machine()}")
        check_seal(data)
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise ArtifactError(f"the file cannot be read: {reason}", where=str(path)) from problem
    except FormatError as problem:
        text = f"the file is not an artifact that can be used: {problem}"
        raise ArtifactError(text, where=str(path), way_out=way_out) from problem


def _mapped(file: BinaryIO) -> memoryview:
    if os.fstat(file.fileno()).st_size == 0:
        raise FormatError("it is empty")
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


class _Names:
    """Names under which files are loaded.

    The loader takes a name that it has loaded already for the same file, even when another
    file has replaced it. Each file that is loaded now has a name of its own: ``dir/m.so``,
    ``dir/./m.so`` and so on.
    """

    lock = threading.Lock()
    in_use: ClassVar[dict[str, tuple[tuple[int, int], int]]] = {}

    @classmethod
    def take(cls, path: Path) -> str:
        status = path.stat()
        identity = (status.st_dev, status.st_ino)
        with cls.lock:
            name = str(path.parent) + "/"
            while cls.in_use.get(name + path.name, (identity, 0))[0] != identity:
                name += "./"
            name += path.name
            cls.in_use[name] = (identity, cls.in_use.get(name, (identity, 0))[1] + 1)
            return name

    @classmethod
    def release(cls, name: str) -> None:
        with cls.lock:
            identity, users = cls.in_use.pop(name)
            if users > 1:
                cls.in_use[name] = (identity, users - 1)


class Library:
    """An artifact that is loaded. Its functions are attributes: ``library.armlet_run(...)``."""

    def __init__(self, path: Path) -> None:
        check_file(path)
        self.path = path
        self.name = _Names.take(path.absolute())
        try:
            self._library = ctypes.CDLL(self.name)
            self._bind()
        except (OSError, AttributeError) as problem:
            _Names.release(self.name)
            raise ArtifactError(f"the loader refuses it: {problem}", where=str(path)) from problem

    def _bind(self) -> None:
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        version = self.armlet_abi_version()
        if version < ABI_VERSION:
            raise OSError(f"its interface is version {version}, and {ABI_VERSION} is needed")

    def __getattr__(self, name: str) -> Any:
        # for the type checker: what _bind has set is found without coming here
        raise AttributeError(name)

    def close(self) -> None:
        _ctypes.dlclose(self._library._handle)
        _Names.release(self.name)
