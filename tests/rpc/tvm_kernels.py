"""Libraries for TVM's RPC: kernels that TVM compiles, and functions in C, linked for any target."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import te

from armlet.compiler.link import toolchain
from armlet.targets import Target

SHAPE = (64, 1024)
FUNCTIONS = Path(__file__).parent / "c" / "functions.c"


def link(output: str, objects: Sequence[str], options: Any = None, **_: Any) -> None:
    """For ``export_library(fcompile=…)``: the bare linker, which links for any target."""
    files = [Path(o).resolve() for o in [output, *objects]]
    toolchain.run("linking kernels", ["ld.lld", "-shared", "-o", *files], files[0].parent)


def functions(target: Target, folder: Path) -> Path:
    """The library of ``functions.c``."""
    triple = toolchain.llvm_triple(target.zig_triple)
    options = ["--target=" + triple, "-ffreestanding", "-fPIC", "-O1", "-Wno-everything"]
    command = ["clang", *options, f"-I{toolchain.headers()}", "-c", FUNCTIONS, "-o", "functions.o"]
    toolchain.run("compiling functions", command, folder)
    link(str(folder / "functions.so"), [str(folder / "functions.o")])
    return folder / "functions.so"


def kernels(target: Target, folder: Path) -> Path:
    """``add`` of three vectors, ``exponential`` in parallel, ``mirrored`` with scratch memory."""
    module = tvm.IRModule({"add": _add(), "exponential": _exponential(), "mirrored": _mirrored()})
    return _compiled(module, target, folder / "kernels.so")


def entry(target: Target, folder: Path) -> Path:
    """``exponential`` as ``main``, as tuners call the kernel that they measure."""
    return _compiled(_named(_exponential(), "main"), target, folder / "entry.so")


def _compiled(module: Any, target: Target, path: Path) -> Path:
    triple = toolchain.llvm_triple(target.zig_triple)
    chosen = tvm.target.Target({"kind": "llvm", "mtriple": triple})
    before = os.getcwd()
    os.chdir(path.parent)  # where TVM leaves its objects
    try:
        tvm.compile(module, target=chosen).export_library(str(path), fcompile=link)
    finally:
        os.chdir(before)
    return path


def _named(function: Any, name: str) -> Any:
    return function.with_attr("global_symbol", name)


def _add() -> Any:
    a, b = te.placeholder((SHAPE[1],), name="a"), te.placeholder((SHAPE[1],), name="b")
    return _named(te.create_prim_func([a, b, te.compute(a.shape, lambda i: a[i] + b[i])]), "add")


def _exponential() -> Any:
    a = te.placeholder(SHAPE, name="a")
    function = te.create_prim_func([a, te.compute(SHAPE, lambda i, j: te.exp(a[i, j]), name="e")])
    schedule = tvm.s_tir.Schedule(function)
    schedule.parallel(schedule.get_loops(schedule.get_sblock("e"))[0])
    return _named(schedule.mod["main"], "exponential")


def _mirrored() -> Any:
    a = te.placeholder(SHAPE, name="a")
    twice = te.compute(SHAPE, lambda i, j: a[i, j] * 2, name="twice")
    last = SHAPE[0] - 1
    sum = te.compute(SHAPE, lambda i, j: twice[i, j] + twice[last - i, j], name="sum")
    return _named(te.create_prim_func([a, sum]), "mirrored")


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)
