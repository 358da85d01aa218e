"""Steps to a program: buffers and images with their lifetimes, constants, launches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from armlet.compiler.ir import Const, Function, Value
from armlet.compiler.plan import arena
from armlet.compiler.plan.storage import Buffer as Lifetime
from armlet.compiler.plan.storage import Span
from armlet.schedules.opencl.kernel import Scratch, Step, prelude
from armlet.schedules.opencl.storage import Storage

from .program import DTYPES, Buffer, Kernel, Launch, Program

_Tensor = Value | Scratch
#: bytes that parts of a buffer begin at: what every device takes (CL_DEVICE_MEM_BASE_ADDR_ALIGN)
ALIGNMENT = 256


@dataclass
class _Use:
    """A tensor's memory: how it lies, and the launches between which it matters."""

    storage: Storage
    first: int
    last: int


def assemble(
    function: Function,
    groups: Sequence[Sequence[Step]],
    roots: dict[Value, Value],
) -> Program:
    """The program of all groups' steps. A view lies where its root does."""
    steps = [step for group in groups for step in group]

    def root(tensor: _Tensor) -> _Tensor:
        return roots.get(tensor, tensor)  # type: ignore[arg-type,return-value]

    uses: dict[_Tensor, _Use] = {}
    for number, step in enumerate(steps):
        for argument, storage in zip(step.arguments, step.storages, strict=True):
            use = uses.setdefault(root(argument), _Use(storage, number, number))
            use.last = number
    interface = [*function.params, *function.results]
    for value in interface:
        uses.setdefault(root(value), _Use(Storage.plain(value.type), 0, 0))
    buffers, index = _buffers(uses, {root(v) for v in interface})
    kernels = list(dict.fromkeys(step.name for step in steps))
    texts = {step.name: step.text for step in steps}
    half = any("half" in text for text in texts.values())
    return Program(
        sources=(prelude(half) + "".join(texts[k] for k in kernels),),
        kernels=tuple(Kernel(0, name) for name in kernels),
        buffers=tuple(buffers),
        launches=tuple(
            Launch(
                kernels.index(s.name), tuple(index[root(a)] for a in s.arguments),
                s.global_size, s.local_size, s.layer, s.seconds * 1e9,
            )
            for s in steps
        ),
        inputs=tuple(index[root(p)] for p in function.params),
        outputs=tuple(index[root(r)] for r in function.results),
        needs=("fp16",) * half + ("images",) * any(b.image for b in buffers),
    )  # fmt: skip


def _buffers(
    uses: dict[_Tensor, _Use], own: Iterable[_Tensor]
) -> tuple[list[Buffer], dict[_Tensor, int]]:
    """The program's buffers, and which each tensor is in."""
    buffers: list[Buffer] = []
    index: dict[_Tensor, int] = {}

    def add(tensor: _Tensor, buffer: Buffer) -> None:
        index[tensor] = len(buffers)
        buffers.append(buffer)

    own = set(own)
    inside = {t: u for t, u in uses.items() if t not in own and not isinstance(t, Const)}
    for tensor, use in uses.items():
        if isinstance(tensor, Const):
            data = np.ascontiguousarray(tensor.data, use.storage.dtype).tobytes()
            add(tensor, Buffer(len(data), _dtype(use.storage), data=data))
        elif tensor in own:
            add(tensor, Buffer(use.storage.bytes, _dtype(use.storage)))
    for tensor, offset in _offsets({t: u for t, u in inside.items() if not u.storage.image}):
        add(tensor, Buffer(uses[tensor].storage.bytes, _dtype(uses[tensor].storage), None, offset))
    for tensors, image in _images({t: u for t, u in inside.items() if u.storage.image}):
        index.update(dict.fromkeys(tensors, len(buffers)))
        buffers.append(image)
    return buffers, index


def _dtype(storage: Storage) -> str:
    """Memory of a dtype that no format has is bytes."""
    return storage.dtype if storage.dtype in DTYPES else "uint8"


def _offsets(uses: dict[_Tensor, _Use]) -> Iterable[tuple[_Tensor, int]]:
    """Places in the arena."""
    lifetimes = {
        tensor: Lifetime(
            (Span(0, -(-use.storage.bytes // ALIGNMENT) * ALIGNMENT, use.first, use.last),)
        )
        for tensor, use in uses.items()
    }
    _, offsets = arena.assign(list(lifetimes.values()))
    return [(tensor, offsets[lifetime]) for tensor, lifetime in lifetimes.items()]


def _images(uses: dict[_Tensor, _Use]) -> list[tuple[list[_Tensor], Buffer]]:
    """Images of one width and dtype serve tensors whose lifetimes do not meet, in turn.

    Not those of other widths: beyond its right edge an image must read as zero.
    """
    pools: list[tuple[list[_Tensor], int]] = []
    for tensor, use in sorted(uses.items(), key=lambda item: item[1].first):
        for number, (tensors, free) in enumerate(pools):
            if free < use.first and _alike(uses[tensors[0]].storage, use.storage):
                pools[number] = ([*tensors, tensor], use.last)
                break
        else:
            pools.append(([tensor], use.last))
    found = []
    for tensors, _ in pools:
        sizes = [uses[t].storage.image_size or (0, 0) for t in tensors]
        storage = uses[tensors[0]].storage
        width, height = sizes[0][0], max(h for _, h in sizes)
        texel = 4 * np.dtype(storage.dtype).itemsize
        found.append((tensors, Buffer(width * height * texel, storage.dtype, (width, height))))
    return found


def _alike(a: Storage, b: Storage) -> bool:
    return (a.image_size or (0,))[0] == (b.image_size or (1,))[0] and a.dtype == b.dtype
