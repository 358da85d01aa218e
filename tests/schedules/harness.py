"""Runs kernels of groups: builds them, links them into one library, calls them in parts."""

from __future__ import annotations

import ctypes
import itertools
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from armlet.compiler.ir import Builder, Const, TensorType, Value, Var
from armlet.compiler.ir.group import Group
from armlet.compiler.lower.build import Choice, lowered, module, object_code
from armlet.compiler.lower.compile import lower
from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.ops.registry import OPERATORS, Fusion, Op
from armlet.schedules.cpu import template_for
from armlet.schedules.template import Config
from armlet.targets import target
from tests.thorough import thinned


class Net:
    """Builds a group call by call: ``net.relu(net.x(1, 3, 5))``."""

    def __init__(self) -> None:
        self.builder = Builder(source="test")
        self.rng = np.random.default_rng(0)
        self.arrays: dict[Value, np.ndarray] = {}

    def x(self, *shape: int, dtype: str = "float32", data: np.ndarray | None = None) -> Var:
        """An input of random numbers, or of ``data``."""
        if data is None:
            data = self.rng.standard_normal(shape).astype(dtype)
        var = self.builder.param("x", TensorType.of(data))
        self.arrays[var] = data
        return var

    def c(self, data: np.ndarray | float) -> Const:
        """A constant; of one element it becomes part of the code."""
        return self.builder.const(np.asarray(data, np.float32), "c")

    def call(self, op: Op, *operands: Value) -> Var:
        return self.builder.call(op, *operands)

    def __getattr__(self, name: str):
        return lambda *operands, **attributes: self.call(OPERATORS[name](**attributes), *operands)

    def group(self) -> Group:
        """All calls; the last that does not look at elements one by one is the anchor."""
        anchors = [
            c
            for c in self.builder.bindings
            if c.op.fusion in (Fusion.ANCHOR, Fusion.REDUCE, Fusion.OPAQUE)
        ]
        anchor = anchors.pop() if anchors else None
        return Group.of(self.builder.bindings, anchor, producers=anchors)

    def expected(self) -> np.ndarray:
        """The output by NumPy."""
        made: dict[Value, np.ndarray] = dict(self.arrays)
        for call in self.builder.bindings:
            operands = [v.data if isinstance(v, Const) else made[v] for v in call.operands]
            with np.errstate(all="ignore"):
                made[call.output] = np.asarray(call.op.evaluate(*operands))
        return made[self.builder.bindings[-1].output]

    def inputs(self) -> list[np.ndarray]:
        """What the kernel takes by pointer."""
        return [v.data if isinstance(v, Const) else self.arrays[v] for v in self.group().inputs]


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
        """The output, computed in as many calls as ``cuts`` of the extent say.

        It starts as garbage, and so does scratch: what a kernel forgets to write shows.
        """
        function = getattr(self._library, kernel.symbol)
        buffers = [aligned(np.asarray(a)) for a in inputs]
        result = aligned(np.empty(out.static_shape, out.dtype))
        result.reshape(-1).view("uint8")[...] = 0xFF
        guard = aligned(np.full(kernel.scratch + 64, 0xFF, "uint8"))
        pointers = [ctypes.c_void_p(b.ctypes.data) for b in (*buffers, result)]
        bounds = [0, *sorted(min(c, kernel.extent) for c in cuts), kernel.extent]
        for begin, end in itertools.pairwise(bounds):
            function(*pointers, begin, end, ctypes.c_void_p(guard.ctypes.data))
        assert (guard[kernel.scratch :] == 0xFF).all(), "written beyond the scratch arena"
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


@dataclass(frozen=True)
class Case:
    label: str
    net: Net
    #: lanes of the output's last block that hold channels; the others may hold anything
    channels: int = 0
    tolerance: float = 1e-5


def check(cases: Sequence[Case], template: str, name: str = "host") -> None:
    """The cases, whole and cut into uneven parts, against NumPy; and by ``template``."""
    cases = thinned(cases)
    groups = [c.net.group() for c in cases]
    kernels, library = compiled(groups, name)
    wrong = []
    for case, group, kernel in zip(cases, groups, kernels):
        assert template_for(group, target(name)).name == kernel.template == template, case.label
        want = case.net.expected()
        for cuts in ((), (1,), (kernel.extent // 3, kernel.extent - 1)):
            got = library.run(kernel, case.net.inputs(), group.output.type, cuts)
            if not close(_real(got, case), _real(want, case), case.tolerance):
                wrong.append(f"{case.label} cut at {cuts}")
    assert not wrong, "\n".join(wrong)


def check_configs(case: Case, configs: Sequence[Config], name: str = "host") -> None:
    """One case by its default template under the configs, against NumPy."""
    configs = thinned(configs)
    group, machine, want = case.net.group(), target(name), case.net.expected()
    template = template_for(group, machine)
    kernels = []
    for number, config in enumerate(configs):
        symbol = f"kernel{number}"
        func = lowered(group, machine, symbol, Choice(template, config))
        code = object_code(module(func, symbol, machine))
        kernels.append(
            Kernel(symbol, symbol, code, func.extent, func.scratch, template.name, 1, config, False)
        )
    library = Library(kernels)
    for kernel, config in zip(kernels, configs):
        got = library.run(kernel, case.net.inputs(), group.output.type, (kernel.extent // 2,))
        assert close(_real(got, case), _real(want, case), case.tolerance), config


def _real(blocked: np.ndarray, case: Case) -> np.ndarray:
    """The lanes of [N, Cb, H, W, c] that hold channels."""
    if not case.channels:
        return blocked
    n, _, h, w, _ = blocked.shape
    return blocked.transpose(0, 1, 4, 2, 3).reshape(n, -1, h, w)[:, : case.channels]


# -- assembly -------------------------------------------------------------------------------------


def assembly(group: Group, name: str = "linux-x86_64-v4") -> list[str]:
    text = module(lowered(group, target(name)), "kernel", target(name)).inspect_source("asm")
    noise = (".loc", ".cfi", "#", ".p2align", ".file")
    return [
        line
        for line in text.splitlines()
        if not line.strip().startswith(noise) and not line.startswith(".Ltmp")
    ]


def hot_loops(lines: Sequence[str], mark: str = "vfmadd") -> list[list[str]]:
    """The innermost loops that contain ``mark``, as lines of assembly."""
    at = {line.split(":")[0]: i for i, line in enumerate(lines) if line.startswith(".LBB")}
    found = []
    for end, line in enumerate(lines):
        jump = re.match(r"\s+(?:j|b\.|c?bn?z|tbn?z)\w*\s+(?:.*, )?(\.LBB\S+)", line)
        if not jump or at.get(jump.group(1), end) >= end:
            continue
        start = at[jump.group(1)]
        found.append((start, end))
    inner = [
        (s, e)
        for s, e in found
        if not any((s, e) != (s2, e2) and s <= s2 and e2 <= e for s2, e2 in found)
    ]
    loops = [list(lines[s : e + 1]) for s, e in inner]
    return [loop for loop in loops if any(mark in line for line in loop)]


def spills(lines: Iterable[str]) -> list[str]:
    """Vector registers that go to the stack or come from it."""
    stack = r"[xyz]mm\d+.*\(%rsp|\(%rsp.*[xyz]mm|\s[sdq]\d+,.*\[sp"
    return [line for line in lines if re.search(stack, line)]
