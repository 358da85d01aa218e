"""``armlet doctor``: whether this machine has what compiling and running need."""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from armlet import settings
from armlet.errors import ArmletError

from . import show
from .options import Json, Npu

if TYPE_CHECKING:
    from armlet.targets.npu import BackEnd

OLDEST_PYTHON = (3, 10)


@dataclass(frozen=True)
class Finding:
    """``status``: ok, "note" where nothing is wrong but something is less good, or "bad"."""

    what: str
    status: str
    text: str
    way_out: str = ""


def doctor(
    show_settings: Annotated[
        bool, typer.Option("--settings", help="Print the ARMLET_* settings and leave.")
    ] = False,
    target: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Check compiling for these targets instead: names and commas, or 'all' families.",
        ),
    ] = "",
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Check this machine's GPU and OpenCL driver instead.")
    ] = False,
    npu: Npu = None,
    json: Json = False,
) -> None:
    """Checks Python, packages, the C toolchain, the CPU and the cache.

    With --target, compiles and links a tiny model for each, and runs it where that can be done
    here; with --gpu, has the GPU run one; with --npu, says whether these accelerators' compilers
    are here. Exit status 1 if something is missing or does not work.
    """
    if show_settings:
        return _settings(json)
    others = _of_back_ends(npu or ())
    others |= {"gpu": _gpu} if gpu else _of_targets(target) if target else {}
    diagnose(others or EXAMINATIONS, json)


def diagnose(examinations: Mapping[str, Callable[[], Finding]], json: bool) -> None:
    """Examines and tells; exit status 1 if anything is bad."""
    findings: list[Finding] = []
    with show.working("examining") as progress:
        for what, look in examinations.items():
            progress(what, len(findings), len(examinations))
            findings.append(_examine(what, look))
    healthy = all(f.status != "bad" for f in findings)
    if json:
        show.as_json({"healthy": healthy, "findings": [asdict(f) for f in findings]})
    else:
        show.table(["", "status", "found"], [(f.what, f.status, f.text) for f in findings])
        for f in findings:
            if f.way_out:
                print(f"{f.what}: way out: {f.way_out}")
    raise typer.Exit(0 if healthy else 1)


def _settings(json: bool) -> None:
    rows = [(s.name, str(s.value), s.default_text, s.help) for s in settings.ALL]
    if json:
        keys = ("name", "value", "default", "help")
        show.as_json([dict(zip(keys, row)) for row in rows])
    else:
        show.table(["setting", "value", "default", "meaning"], rows)


def _examine(what: str, look: Callable[[], Finding]) -> Finding:
    """A finding, whatever happens: a doctor must not fall ill."""
    try:
        return look()
    except ArmletError as error:
        return Finding(what, "bad", f"{error.id}: {error.what}", error.way_out)
    except Exception as error:
        return Finding(what, "bad", f"{type(error).__name__}: {error}")


# -- what is examined -----------------------------------------------------------------------------


def _python() -> Finding:
    found = platform.python_version()
    if sys.version_info >= OLDEST_PYTHON:
        return Finding("python", "ok", f"{found}, {sys.executable}")
    return Finding("python", "bad", found, "install Python 3.10 or newer")


def _pins() -> dict[str, str]:
    """Packages that are pinned exactly, by what armlet's own metadata says."""
    found = {}
    for line in metadata.requires("armlet") or ():
        name, equals, version = line.partition(";")[0].strip().partition("==")
        if equals and "extra" not in line:
            found[name] = version
    return found


def _tvm() -> Finding:
    wrong = []
    pins = _pins()
    for name, wanted in pins.items():
        found = metadata.version(name)
        if found != wanted:
            wrong.append(f"{name}=={wanted}")
    text = ", ".join(f"{name} {metadata.version(name)}" for name in pins)
    if wrong:
        return Finding("tvm", "bad", text, f"python -m pip install {' '.join(wrong)}")
    from tvm.target import codegen

    return Finding("tvm", "ok", f"{text}, LLVM {codegen.llvm_version_major()}")


def _toolchain() -> Finding:
    """Compiles, links, loads and calls a tiny C file."""
    import ctypes

    from armlet.compiler.link import toolchain

    with tempfile.TemporaryDirectory(prefix="armlet-doctor-") as name:
        folder = Path(name)
        (folder / "tiny.c").write_text("int tiny(int x) { return 3 * x; }\n")
        toolchain.run("compiling", ["clang", "-fPIC", "-c", "tiny.c", "-o", "tiny.o"], folder)
        toolchain.run("linking", ["ld.lld", "-shared", "tiny.o", "-o", "tiny.so"], folder)
        if ctypes.CDLL(str(folder / "tiny.so")).tiny(14) != 42:
            return Finding("toolchain", "bad", "its code computes something else")
    return Finding("toolchain", "ok", f"ziglang {toolchain.version()} compiles and links")


def _peer(package: str, extra: str) -> Finding:
    try:
        return Finding(package, "ok", metadata.version(package))
    except metadata.PackageNotFoundError:
        text = "not installed: answers are compared with NumPy's, which is slower"
        return Finding(package, "note", text, f"python -m pip install 'armlet[{extra}]'")


def _onnxruntime() -> Finding:
    return _peer("onnxruntime", "verify")


def _litert() -> Finding:
    return _peer("ai-edge-litert", "litert")


def _cpu() -> Finding:
    from armlet.targets import NAMED, cores, cpu_flags, is_native

    native = [t for t in NAMED.values() if is_native(t)]
    fitting = [t.name for t in native if cpu_flags().issuperset(t.features)]
    text = f"{platform.machine()}, {cores()} cores; runs {', '.join(fitting) or 'no known target'}"
    others = [t.name for t in native if t.name not in fitting]
    more = f"; not {', '.join(others)}" if others else ""
    return Finding("cpu", "ok" if fitting else "bad", text + more)


def _other_machines() -> Finding:
    from armlet import emulator
    from armlet.targets import FAMILIES, is_native

    foreign = [t for t in FAMILIES.values() if not is_native(t)]
    text = f"compiles for {', '.join(t.name for t in foreign)}"
    missing = dict.fromkeys(filter(None, (emulator.find(t).missing for t in foreign)))
    if missing:
        return Finding("others", "note", f"{text}; cannot run that here: {'; '.join(missing)}")
    return Finding("others", "ok", f"{text}; runs that by qemu")


def _cache() -> Finding:
    folder = settings.CACHE.value
    way_out = "set ARMLET_CACHE to a folder that can be written; without one, nothing is kept"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        text = f"{folder} cannot be written: {error.strerror or error}"
        return Finding("cache", "note", text, way_out)
    files = [Path(at) / f for at, _, names in os.walk(folder) for f in names]
    total = sum(f.stat().st_size for f in files if f.exists())
    return Finding("cache", "ok", f"{folder}: {show.size(total)} in {len(files)} files")


def tiny() -> Any:
    """y = relu(x @ w)."""
    import numpy as np

    from armlet.compiler.ir import Builder, Module, TensorType, Var
    from armlet.compiler.ops.activation import Relu
    from armlet.compiler.ops.matmul import MatMul

    b = Builder(source="tiny")
    x = Var("x", TensorType((2, 8)))
    w = b.const(np.linspace(-1, 1, 32, dtype=np.float32).reshape(8, 4), "w")
    y = b.call(Relu(), b.call(MatMul(), x, w))
    return Module(b.function([x], [y]), ("y",))


def _end_to_end() -> Finding:
    """Compiles a tiny model and runs it: what is left to go wrong, goes wrong here."""
    from armlet import api

    made: Any = api.compile(tiny())
    with made:
        report = made.selftest()
    if not report.passed:
        return Finding("compile", "bad", "a tiny model's self-test fails")
    return Finding("compile", "ok", f"a tiny model compiles and runs for {made.manifest['target']}")


def _gpu() -> Finding:
    """Compiles a tiny model for any GPU and has this machine's run it."""
    from armlet import api

    made: Any = api.compile(tiny(), gpu="generic", require_npu=True)
    with made:
        made.profile(runs=1)
        (region,) = made.regions
    if region.live:
        name = region.steps[0][0].removeprefix("to ")
        return Finding("gpu", "ok", f"{name} runs a tiny model, with the CPU's answer")
    text = f"{region.reason}; models run on the CPU"
    return Finding(
        "gpu",
        "note",
        text,
        "install the GPU's driver, or name its library: ARMLET_OPENCL_LIBRARY=/path/libOpenCL.so",
    )


EXAMINATIONS: dict[str, Callable[[], Finding]] = {
    "python": _python,
    "tvm": _tvm,
    "toolchain": _toolchain,
    "onnxruntime": _onnxruntime,
    "litert": _litert,
    "cpu": _cpu,
    "others": _other_machines,
    "cache": _cache,
    "compile": _end_to_end,
}


# -- other targets --------------------------------------------------------------------------------


def _of_back_ends(names: Sequence[str]) -> dict[str, Callable[[], Finding]]:
    from functools import partial

    from armlet.targets.npu import back_end

    return {name: partial(_back_end, name, back_end(name)) for name in names}


def _back_end(name: str, found: BackEnd) -> Finding:
    """Whether regions can be compiled here; whether they run is the device's matter."""
    if reason := found.missing():
        what, _, way_out = reason.partition(": ")
        return Finding(name, "bad", what, way_out)
    return Finding(name, "ok", f"regions for {found} compile here (version {found.version})")


def _of_targets(text: str) -> dict[str, Callable[[], Finding]]:
    from functools import partial

    from armlet.targets import FAMILIES

    names = list(FAMILIES) if text == "all" else text.split(",")
    return {name: partial(_target, name) for name in names}


def _target(name: str) -> Finding:
    """Compiles, links and, where that can be done, runs a tiny model."""
    from armlet import api
    from armlet.targets import is_native, target

    chosen = target(name)
    made: Any = api.compile(tiny(), chosen)
    size = show.size(made.path.stat().st_size)
    if made.not_run:
        text = f"a tiny model compiles and links, {size}; not run: {made.not_run}"
        return Finding(name, "note", text, _installation(made.not_run))
    how = "runs" if is_native(chosen) else "runs in an emulator"
    return Finding(name, "ok", f"a tiny model compiles, links, {size}, and {how}")


def _installation(missing: str) -> str:
    """The command among what an emulator misses."""
    found = re.search(r"apt install [^;)]+", missing)
    return found[0] if found else ""
