"""A kernel while a template writes it: parameters, the group's tensors as C, the finished step.

A *step* is one launch. A template makes one or several for a group, with *scratch* tensors
between them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from armlet.compiler.ir import Value
from armlet.compiler.ir.group import Group
from armlet.compiler.ops.lazy import tirx
from armlet.targets.gpu import Gpu

from ..emit import Array, ceil_div
from ..tensor_graph import TensorGraph
from .expression import HALF_PRELUDE, PRELUDE, NotAVector
from .source import Source
from .storage import Storage

#: a variable that stands for the lane of a texel: four at once
LANE = "lane"


@dataclass(frozen=True, eq=False)
class Scratch:
    """A tensor that only the steps of one group know."""

    storage: Storage


@dataclass(frozen=True)
class Step:
    """One launch: a kernel and what it is launched with."""

    #: ``__kernel void NAME(…) {…}``, without the prelude
    text: str
    name: str
    arguments: tuple[Value | Scratch, ...]
    #: how each argument lies in memory
    storages: tuple[Storage, ...]
    global_size: tuple[int, ...]
    local_size: tuple[int, ...]
    layer: str
    #: that it is expected to take
    seconds: float = 0.0

    @property
    def source(self) -> str:
        """A whole translation unit."""
        return prelude("half" in self.text) + self.text


def prelude(half: bool) -> str:
    return (HALF_PRELUDE if half else "") + PRELUDE


class KernelWriter:
    """One kernel of a group. ``storage`` says how each value that steps pass lies in memory."""

    def __init__(
        self, group: Group, gpu: Gpu, storage: Mapping[Value | Scratch, Storage], output: Any = None
    ) -> None:
        self.group, self.gpu = group, gpu
        self.code = Source()
        self.graph = TensorGraph(group, self.code)
        self._output = group.output if output is None else output
        self._storage = storage
        self._named: dict[str, tuple[Value | Scratch, Storage]] = {}
        self.lane = tirx.Var(LANE, "int32")
        self.code.vectors.add(LANE)
        for value in (*group.inputs, group.output):
            self._named[self.graph.arrays[value].buffer.name] = (value, storage[value])
            if storage[value].texels and value is not group.output:
                self.graph.known[value] = self.texel_reader(self.name_of(value), storage[value])
        if self._output is not group.output:
            self._named["out"] = (self._output, storage[self._output])

    def name_of(self, value: Value) -> str:
        return str(self.graph.arrays[value].buffer.name)

    def storage_of(self, value: Value) -> Storage:
        return self._storage[value]

    @property
    def out(self) -> Storage:
        return self._named["out"][1]

    def texel_reader(self, name: str, storage: Storage) -> Any:
        """``read(n, block, h, w, lane)``: a whole texel where the lane is every lane."""

        def read(*indices: Any) -> Any:
            place, lane = [self.code.simple(p) for p in storage.place(*indices[:4])], indices[4]
            if isinstance(lane, tirx.Var) and lane.same_as(self.lane):
                return storage.load(name, *place)
            return storage.lane(name, lane, *place)

        return read

    def scratch_reader(self, scratch: Scratch) -> Any:
        """``read(*indices)`` of a plain tensor of this group's."""
        name = self.parameter(scratch, scratch.storage)
        array = Array(scratch.storage.shape, scratch.storage.dtype, name)
        return lambda *indices: tirx.BufferLoad(array.buffer, [self.code.simple(array.at(indices))])

    def parameter(self, value: Value | Scratch, storage: Storage) -> str:
        """The name of one more parameter."""
        for name, (known, _) in self._named.items():
            if known is value and name != "out":
                return name
        name = f"s{len(self._named)}"
        self._named[name] = (value, storage)
        return name

    # -- what is written ----------------------------------------------------------------------

    def guard(self, text: str, size: int, extent: int) -> None:
        """Ends the work items beyond ``size`` where there are ``extent``."""
        if extent != size:
            self.code.line(f"if ({text} >= {size}) return;")

    def store_texel(self, n: Any, block: Any, h: Any, w: Any) -> None:
        """Stores the output's texel, as a vector if it has that form, else lane by lane."""
        place = [self.code.text(self.code.simple(p)) for p in self.out.place(n, block, h, w)]
        try:
            with self.code.attempt():
                value = self.graph.read(self.group.output, (n, block, h, w, self.lane))
                text = self.code.print(value).widened()
        except NotAVector:
            lanes = []
            for lane in range(4):
                value = self.graph.read(self.group.output, (n, block, h, w, lane))
                lanes.append(self.code.text(self.code.bind(value)))
                self.code.named.clear()
            text = f"({self.type_of(self.out.dtype)})({', '.join(lanes)})"
        self.code.named.clear()
        self.code.line(self.out.store("out", text, *place))

    @staticmethod
    def type_of(dtype: str) -> str:
        return {"float32": "float4", "float16": "half4"}[dtype]

    def finish(self, global_size: Sequence[int], local_size: Sequence[int]) -> Step:
        """The step; parameters that nothing reads are left out."""
        body = "\n".join(self.code.lines)
        used = [n for n in self._named if n == "out" or re.search(rf"\b{n}\b", body)]
        parameters = ", ".join(self._named[n][1].parameter(n, n == "out") for n in used)
        digest = hashlib.sha256(f"{parameters}\n{body}".encode()).hexdigest()[:16]
        name = f"k_{digest}"
        return Step(
            f"__kernel void {name}({parameters})\n{{\n{body}\n}}\n",
            name,
            tuple(self._named[n][0] for n in used),
            tuple(self._named[n][1] for n in used),
            rounded(global_size, local_size),
            tuple(local_size),
            self.group.source,
        )


def rounded(sizes: Sequence[int], local: Sequence[int]) -> tuple[int, ...]:
    """Sizes of a launch in whole work-groups."""
    return tuple(ceil_div(s, step) * step for s, step in zip(sizes, local, strict=True))


def work_group(sizes: Sequence[int], threads: int) -> tuple[int, ...]:
    """A work-group of about so many threads that wastes few: wide along the first axis."""
    local, left = [], threads
    for axis, size in enumerate(sizes):
        most = min(left, 16) if axis == 0 and len(sizes) > 1 else left
        choices = [1 << k for k in range(most.bit_length())]
        best = min(choices, key=lambda c: (ceil_div(size, c) * c / c**0.25, -c))
        local.append(best)
        left = max(1, left // best)
    return tuple(local)


def stages_of(graph: TensorGraph) -> list[tuple[Any, Any]]:
    """(call, tensor) of every stage within the group's calls, producers first."""
    found: list[tuple[Any, Any]] = []
    for call in graph.group.calls:
        operands, outputs = graph.stage(call)
        found += [(call, t) for t in _ordered(outputs, operands)]
    return found


def _ordered(outputs: Sequence[Any], operands: Container[Any]) -> list[Any]:
    """The tensors that outputs are made of, up to the operands, producers first."""
    ordered: dict[Any, Any] = {}
    stack = [(t, False) for t in reversed(outputs)]
    while stack:
        tensor, done = stack.pop()
        if done:
            ordered.setdefault(tensor.op, tensor)
        elif tensor.op not in ordered and tensor.op not in operands:
            stack.append((tensor, True))
            stack += [(t, False) for t in tensor.op.input_tensors]
    return list(ordered.values())
