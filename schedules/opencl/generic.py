"""Any group at all: a work item for each element, or for each texel of a blocked result.

A stage that reduces is a launch of its own where it would be computed again and again: where
another stage reduces over it, or where it has fewer elements than the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from armlet.compiler.ir.group import Group
from armlet.compiler.ops.helpers import shape_of
from armlet.compiler.ops.lazy import tirx
from armlet.targets.gpu import Gpu

from ..emit import unravel
from ..template import Config
from ..tensor_graph import intrinsics, stored
from .kernel import KernelWriter, Scratch, Step, stages_of, work_group
from .reduce import is_reduction, reads_of, reduced
from .storage import Storage
from .template import GpuTemplate, Storages

#: work items of a group
THREADS = 64
#: how often an expensive stage may be computed again
REPEATS = 4
#: what a body has that is expensive
_EXPENSIVE = frozenset(
    {"tirx.exp", "tirx.log", "tirx.pow", "tirx.tanh", "tirx.sigmoid", "tirx.erf", "tirx.sqrt"}
)


class Generic(GpuTemplate):
    name = "generic"

    def applies(self, group: Group, gpu: Gpu, storage: Storages) -> bool:
        return True

    def build(self, group: Group, gpu: Gpu, storage: Storages, config: Config) -> list[Step]:
        made: dict[int, Scratch] = {}
        steps: list[Step] = []
        known = dict(storage)
        for index in stored_stages(group, gpu, storage):
            steps.append(_stage(group, gpu, known, index, made))
        return [*steps, _result(group, gpu, known, made)]


def stored_stages(group: Group, gpu: Gpu, storage: Storages) -> list[int]:
    """The stages, by their place in ``stages_of``, whose results are stored between launches."""
    stages = stages_of(KernelWriter(group, gpu, storage).graph)
    tensors = {t.op: (i, t) for i, (_, t) in enumerate(stages)}
    size = group.output.type.elements
    found = set()
    for index, (_, tensor) in enumerate(stages):
        elements = math.prod(shape_of(tensor))
        if is_reduction(tensor) and elements < size:
            found.add(index)
    for _, reader in stages:
        if not is_reduction(reader):
            continue
        reads = math.prod(shape_of(reader)) * reads_of(reader)
        for tensor in _inlined_below(reader, tensors, found):
            index, repeats = tensors[tensor.op][0], reads / math.prod(shape_of(tensor))
            if is_reduction(tensor) or (_is_expensive(tensor) and repeats > REPEATS):
                found.add(index)
    return sorted(found)


def _inlined_below(reader: Any, tensors: dict[Any, Any], found: set[int]) -> Iterator[Any]:
    waiting = [t for t in reader.op.input_tensors if t.op in tensors]
    while waiting:
        tensor = waiting.pop()
        yield tensor
        if tensors[tensor.op][0] not in found:
            waiting += [t for t in tensor.op.input_tensors if t.op in tensors]


def _is_expensive(tensor: Any) -> bool:
    return bool(intrinsics(tensor.op.body[tensor.value_index]) & _EXPENSIVE)


def prepared(
    group: Group, gpu: Gpu, storage: Storages, made: dict[int, Scratch], output: Any = None
) -> tuple[KernelWriter, list[tuple[Any, Any]]]:
    """A writer that reads what is ``made`` and writes loops for other reductions; the stages."""
    writer = KernelWriter(group, gpu, storage, output)
    writer.graph.simplifies = True
    stages = stages_of(writer.graph)
    for index, (call, tensor) in enumerate(stages):
        if index in made:
            writer.graph.staged[tensor.op] = writer.scratch_reader(made[index])
        elif is_reduction(tensor):
            writer.graph.staged[tensor.op] = _reducer(writer, tensor, call)
    return writer, stages


def _reducer(writer: KernelWriter, tensor: Any, call: Any) -> Any:
    return lambda *indices: reduced(writer, tensor, indices, call)


def _stage(group: Group, gpu: Gpu, known: Any, index: int, made: dict[int, Scratch]) -> Step:
    """The launch that stores a stage."""
    probe = stages_of(KernelWriter(group, gpu, known).graph)[index][1]
    scratch = Scratch(Storage(shape_of(probe), stored(str(probe.dtype))))
    known[scratch] = scratch.storage
    writer, stages = prepared(group, gpu, known, made, scratch)
    call, tensor = stages[index]

    def value(indices: list[Any]) -> Any:
        if is_reduction(tensor):
            return reduced(writer, tensor, indices, call)
        return writer.graph.inline(tensor, indices, call)

    step = _flat(writer, shape_of(tensor), scratch.storage.dtype, value)
    made[index] = scratch
    return step


def _result(group: Group, gpu: Gpu, known: Storages, made: dict[int, Scratch]) -> Step:
    writer, _ = prepared(group, gpu, known, made)
    if writer.out.texels:
        return _texels(writer)
    out = group.output
    shape = out.type.static_shape
    return _flat(writer, shape, writer.out.dtype, lambda i: writer.graph.read(out, i))


def _flat(writer: KernelWriter, shape: tuple[int, ...], dtype: str, value: Any) -> Step:
    """A work item for each element of a plain result."""
    code, size = writer.code, math.prod(shape)
    local = work_group((size,), THREADS)
    place = code.index("get_global_id(0)", size + 1)
    writer.guard(code.text(place), size, -(-size // local[0]) * local[0])
    place = code.ranged(place.name, size)
    indices = [_index(code, i, n) for i, n in zip(unravel(place, shape), shape, strict=True)]
    code.line(f"out[{code.text(place)}] = {code.text(value(indices).astype(dtype))};")
    return writer.finish((size,), local)


def _index(code: Any, index: Any, extent: int) -> Any:
    if isinstance(index, (int, tirx.Var, tirx.IntImm)):
        return index
    return code.index(code.text(code.simple(index)), extent)


def _texels(writer: KernelWriter) -> Step:
    """A work item for each texel of a blocked result."""
    code, (n, blocks, height, width, _) = writer.code, writer.out.shape
    sizes = (width, height, n * blocks)
    local = work_group(sizes, THREADS)
    places = []
    for axis, (size, step) in enumerate(zip(sizes, local, strict=True)):
        place = code.index(f"get_global_id({axis})", size, "wht"[axis])
        writer.guard(code.text(place), size, -(-size // step) * step)
        places.append(place)
    w, h, rows = places
    image, block = unravel(rows, (n, blocks))
    writer.store_texel(_index(code, image, n), _index(code, block, blocks), h, w)
    return writer.finish(sizes, local)
