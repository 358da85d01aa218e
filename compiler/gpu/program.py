"""A region as a GPU runs it: kernels in OpenCL C, buffers, and launches in their order.

The runtime checks a program again as it loads it (``runtime/src/opencl_program.c``). All launches
go into one queue that keeps their order, so a launch sees what those before it wrote.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: dtypes of buffers; images have the first two
DTYPES = ("float32", "float16", "int8", "uint8", "int32")

#: what a device may be asked to have
FEATURES = ("fp16", "images", "subgroups", "dot8")

#: the most that a program may have of each, and the most bytes
LIMITS = {
    "sources": 1 << 12, "kernels": 1 << 16, "buffers": 1 << 16, "shapes": 1 << 18,
    "launches": 1 << 16, "arguments": 1 << 20, "inputs": 1 << 10, "outputs": 1 << 10,
}  # fmt: skip
MOST_ARGUMENTS = 64
MOST_BYTES = 1 << 40
MOST_TEXT = 64 << 20
MOST_EXTENT = 1 << 30
MOST_SIDE = 1 << 16


@dataclass(frozen=True)
class Kernel:
    """A function of one of the program's sources."""

    source: int
    name: str


@dataclass(frozen=True)
class Buffer:
    """What a kernel gets as an argument: ``bytes`` of memory, or an image of RGBA texels.

    ``image`` is (width, height), or (width, height, layers) for an ``image2d_array_t``. A buffer
    that is no constant lies at ``offset`` of the program's arena, or in an allocation of its own
    where that is None, as every image does. A constant has ``data``. Values that do not live at
    the same time may share a buffer: whoever plans the program says so.
    """

    bytes: int
    dtype: str = "float32"
    image: tuple[int, ...] | None = None
    offset: int | None = None
    data: builtins.bytes | None = None


@dataclass(frozen=True)
class Shape:
    """A way to launch: work items in all and in a group (None: the driver chooses), of a kernel."""

    kernel: int
    global_size: tuple[int, ...]
    local_size: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Launch:
    """A kernel's call. ``variants`` are tried in turn where the device cannot run a group so large.

    ``arguments`` are buffers, in the order of the kernel's parameters, which those of the variants
    share. ``expected_ns`` is how long it may take: a guess, by which long launches are split.
    """

    kernel: int
    arguments: tuple[int, ...]
    global_size: tuple[int, ...]
    local_size: tuple[int, ...] | None = None
    layer: str = ""
    expected_ns: float = 0.0
    variants: tuple[Shape, ...] = ()

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return (Shape(self.kernel, self.global_size, self.local_size), *self.variants)


@dataclass(frozen=True)
class Program:
    """``inputs`` and ``outputs`` are plain float32 buffers, in the region's order and NCHW.

    ``needs`` are of ``FEATURES``; ``options`` are those of clBuildProgram; ``peak_bytes`` is the
    memory of all buffers.
    """

    sources: tuple[str, ...]
    kernels: tuple[Kernel, ...]
    buffers: tuple[Buffer, ...]
    launches: tuple[Launch, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    needs: tuple[str, ...] = ()
    options: str = "-cl-std=CL1.2 -cl-mad-enable"

    @property
    def arena_bytes(self) -> int:
        return max((b.offset + b.bytes for b in self.buffers if b.offset is not None), default=0)

    @property
    def peak_bytes(self) -> int:
        return self.arena_bytes + sum(b.bytes for b in self.buffers if b.offset is None)


def check(program: Program) -> None:
    """``ValueError`` says what of a program makes no sense."""
    for name, most in LIMITS.items():
        _expect(_count(program, name) <= most, f"there are more than {most} {name}")
    _expect(set(program.needs) <= set(FEATURES), f"the needs {program.needs} are not all known")
    _expect(sum(len(s.encode()) for s in program.sources) <= MOST_TEXT, "the sources are too long")
    for kernel in program.kernels:
        _index(kernel.source, program.sources, f"the source of kernel {kernel.name!r}")
    for place, buffer in enumerate(program.buffers):
        _check_buffer(buffer, f"buffer {place}")
    for launch in program.launches:
        _check_launch(program, launch)
    for place in (*program.inputs, *program.outputs):
        _index(place, program.buffers, "an input or output")
        buffer = program.buffers[place]
        plain = buffer.image is None and buffer.data is None and buffer.dtype == "float32"
        _expect(plain, f"buffer {place} is no plain float32 buffer, but an input or output")


def _count(program: Program, name: str) -> int:
    if name == "shapes":
        return sum(len(launch.shapes) for launch in program.launches)
    if name == "arguments":
        return sum(len(launch.arguments) for launch in program.launches)
    return len(getattr(program, name))


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _index(index: int, of: Sequence[object], what: str) -> None:
    _expect(0 <= index < len(of), f"{what} is {index} of {len(of)}")


def _check_buffer(buffer: Buffer, name: str) -> None:
    _expect(0 < buffer.bytes <= MOST_BYTES, f"{name} has {buffer.bytes} bytes")
    _expect(buffer.dtype in DTYPES, f"{name} is of {buffer.dtype}")
    if buffer.data is not None:
        _expect(len(buffer.data) == buffer.bytes, f"{name} has data of another size")
    if buffer.image is not None:
        _expect(buffer.dtype in DTYPES[:2], f"image {name} is of {buffer.dtype}")
        _expect(len(buffer.image) in (2, 3), f"image {name} has {len(buffer.image)} extents")
        _expect(_within(buffer.image, MOST_SIDE), f"image {name} has extents {buffer.image}")
        texels, texel = _product(buffer.image), 4 * (4 if buffer.dtype == "float32" else 2)
        _expect(buffer.bytes == texels * texel, f"image {name} has {buffer.bytes} bytes")
    if buffer.offset is not None:
        alone = buffer.image is None and buffer.data is None
        _expect(alone, f"{name} has a place in the arena, but is an image or a constant")
        _expect(0 <= buffer.offset <= MOST_BYTES, f"{name} is at {buffer.offset} of the arena")


def _check_launch(program: Program, launch: Launch) -> None:
    name = f"the launch for {launch.layer!r}"
    _expect(len(launch.arguments) <= MOST_ARGUMENTS, f"{name} has too many arguments")
    for argument in launch.arguments:
        _index(argument, program.buffers, f"an argument of {name}")
    for shape in launch.shapes:
        _index(shape.kernel, program.kernels, f"a kernel of {name}")
        dims = len(shape.global_size)
        _expect(1 <= dims <= 3, f"{name} has {dims} dimensions")
        _expect(_within(shape.global_size, MOST_EXTENT), f"{name} is of {shape.global_size}")
        if (local := shape.local_size) is not None:
            _expect(len(local) == dims and _within(local, MOST_EXTENT), f"{name}: groups {local}")
            whole = all(g % n == 0 for g, n in zip(shape.global_size, local))
            _expect(whole, f"{name}: groups {local} do not divide {shape.global_size}")


def _within(extents: Iterable[int], most: int) -> bool:
    return all(0 < extent <= most for extent in extents)


def _product(extents: Iterable[int]) -> int:
    product = 1
    for extent in extents:
        product *= extent
    return product
