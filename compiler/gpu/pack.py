"""A program as bytes, and back: what an artifact holds of a region for a GPU.

Little-endian records of fixed size, one kind after another (``runtime/src/opencl_program.h`` has
them as structs), then names, then the sources as one raw DEFLATE stream, then the constants, each
on a multiple of 64 bytes. ``source_hash`` stands for all that a driver compiles.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from .program import DTYPES, FEATURES, Buffer, Kernel, Launch, Program, Shape, check

MAGIC = b"ARCL"
VERSION = 1
ALIGNMENT = 64

#: magic, version, bytes, source hash, arena bytes, peak bytes, needs, options, then the counts
_HEADER = struct.Struct("<4sIQQQQ14I")
_COUNTS = (
    "sources", "kernels", "buffers", "launches", "shapes", "arguments", "inputs", "outputs",
    "string_bytes", "source_bytes", "packed_bytes",
)  # fmt: skip
_KERNEL = struct.Struct("<2I")
_BUFFER = struct.Struct("<2Q6I")
_LAUNCH = struct.Struct("<Q6I")
_SHAPE = struct.Struct("<8I")
_WORD = struct.Struct("<I")

_ARENA, _OWN, _CONSTANT = range(3)


def hash64(data: bytes) -> int:
    """FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def pack(program: Program) -> bytes:
    """``ValueError`` if the program makes no sense. The same program gives the same bytes."""
    check(program)
    writer = _Writer(program)
    records = writer.records()
    strings = bytes(writer.strings) + bytes(-len(writer.strings) % 4)
    text = "".join(f"{source}\0" for source in program.sources).encode()
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(text) + deflate.flush()
    start = _HEADER.size + len(records) + len(strings) + len(packed)
    constants = _place_constants(program.buffers, start)
    total = max([start, *(at + len(data) for at, data in constants)])
    counts = {
        **{name: len(getattr(program, name, ())) for name in _COUNTS},
        "shapes": sum(len(launch.shapes) for launch in program.launches),
        "arguments": sum(len(launch.arguments) for launch in program.launches),
        "string_bytes": len(strings), "source_bytes": len(text), "packed_bytes": len(packed),
    }  # fmt: skip
    needs = sum(1 << FEATURES.index(feature) for feature in set(program.needs))
    identity = hash64(program.options.encode() + b"\0" + packed)
    header = _HEADER.pack(
        MAGIC, VERSION, total, identity, program.arena_bytes, program.peak_bytes,
        needs, writer.options, *(counts[name] for name in _COUNTS), 0,
    )  # fmt: skip
    blob = bytearray(total)
    blob[:start] = header + records + strings + packed
    for at, data in constants:
        blob[at : at + len(data)] = data
    return bytes(blob)


def _place_constants(buffers: Iterable[Buffer], start: int) -> list[tuple[int, bytes]]:
    placed: list[tuple[int, bytes]] = []
    for buffer in buffers:
        if buffer.data is not None:
            start = -(-start // ALIGNMENT) * ALIGNMENT
            placed.append((start, buffer.data))
            start += len(buffer.data)
    return placed


class _Writer:
    """Records of a program. Constants lie in the order of their buffers, so their places follow."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.strings = bytearray()
        self.string_at: dict[str, int] = {}
        self.options = self.text(program.options)

    def text(self, text: str) -> int:
        if text not in self.string_at:
            self.string_at[text] = len(self.strings)
            self.strings += text.replace("\0", "").encode() + b"\0"
        return self.string_at[text]

    def records(self) -> bytes:
        p = self.program
        words = (*(a for launch in p.launches for a in launch.arguments), *p.inputs, *p.outputs)
        return b"".join(
            [
                *map(self.buffer, p.buffers),
                *self.launches(),
                *(self.shape(shape) for launch in p.launches for shape in launch.shapes),
                *(_KERNEL.pack(kernel.source, self.text(kernel.name)) for kernel in p.kernels),
                *map(_WORD.pack, words),
            ]
        )

    def buffer(self, buffer: Buffer) -> bytes:
        kind = _CONSTANT if buffer.data is not None else _OWN if buffer.offset is None else _ARENA
        width, height, *layers = buffer.image or (0, 0)
        offset = buffer.offset or 0
        dtype = DTYPES.index(buffer.dtype)
        return _BUFFER.pack(
            buffer.bytes, offset, width, height, layers[0] if layers else 0, kind, dtype, 0
        )

    def launches(self) -> Iterator[bytes]:
        first_argument = first_shape = 0
        for launch in self.program.launches:
            arguments, shapes = len(launch.arguments), len(launch.shapes)
            yield _LAUNCH.pack(
                round(launch.expected_ns), first_argument, arguments, first_shape, shapes,
                self.text(launch.layer), 0,
            )  # fmt: skip
            first_argument += arguments
            first_shape += shapes

    def shape(self, shape: Shape) -> bytes:
        dims = len(shape.global_size)
        rest = (1,) * (3 - dims)
        local = (0, 0, 0) if shape.local_size is None else (*shape.local_size, *rest)
        return _SHAPE.pack(shape.kernel, dims, *shape.global_size, *rest, *local)


class _Reader:
    def __init__(self, blob: bytes, at: int) -> None:
        self.blob, self.at = blob, at

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.blob):
            raise ValueError("the program is cut short")
        self.at += size
        return self.blob[self.at - size : self.at]

    def rows(self, record: struct.Struct, count: int) -> list[tuple[int, ...]]:
        return list(record.iter_unpack(self.take(record.size * count)))

    def words(self, count: int) -> tuple[int, ...]:
        return tuple(word for (word,) in self.rows(_WORD, count))


def unpack(blob: bytes) -> Program:
    """``ValueError`` if these are no bytes of ``pack``."""
    if len(blob) < _HEADER.size:
        raise ValueError("the program is cut short")
    magic, version, total, identity, _, _, needs, options, *counts, _ = _HEADER.unpack_from(blob)
    if (magic, version, total) != (MAGIC, VERSION, len(blob)):
        raise ValueError("this is no GPU program of this version")
    n = dict(zip(_COUNTS, counts))
    reader = _Reader(blob, _HEADER.size)
    rows = [
        reader.rows(record, n[name])
        for record, name in (
            (_BUFFER, "buffers"), (_LAUNCH, "launches"), (_SHAPE, "shapes"), (_KERNEL, "kernels"),
        )
    ]  # fmt: skip
    arguments, inputs, outputs = map(reader.words, (n["arguments"], n["inputs"], n["outputs"]))
    strings = reader.take(n["string_bytes"])

    def text(at: int) -> str:
        return strings[at : strings.index(b"\0", at)].decode()

    packed = reader.take(n["packed_bytes"])
    if hash64(text(options).encode() + b"\0" + packed) != identity:
        raise ValueError("the sources are damaged")
    sources = zlib.decompress(packed, -15)
    buffers, launches, shapes, kernels = rows
    program = Program(
        sources=tuple(sources.decode().split("\0")[:-1]),
        kernels=tuple(Kernel(source, text(name)) for source, name in kernels),
        buffers=tuple(_buffers(reader, buffers)),
        launches=tuple(_launch(row, arguments, shapes, text) for row in launches),
        inputs=inputs,
        outputs=outputs,
        needs=tuple(f for i, f in enumerate(FEATURES) if needs >> i & 1),
        options=text(options),
    )
    check(program)
    return program


def _buffers(reader: _Reader, rows: Iterable[tuple[int, ...]]) -> Iterator[Buffer]:
    for size, offset, width, height, layers, kind, dtype, _ in rows:
        image = (width, height, layers) if layers else (width, height) if width else None
        data = None
        if kind == _CONSTANT:
            reader.take(-reader.at % ALIGNMENT)
            data = reader.take(size)
        yield Buffer(size, DTYPES[dtype], image, offset if kind == _ARENA else None, data)


def _launch(
    row: tuple[int, ...],
    arguments: Sequence[int],
    shapes: Sequence[tuple[int, ...]],
    text: Callable[[int], str],
) -> Launch:
    expected, first_argument, argument_count, first_shape, shape_count, layer, _ = row
    own, *variants = map(_shape, shapes[first_shape : first_shape + shape_count])
    return Launch(
        kernel=own.kernel,
        arguments=tuple(arguments[first_argument : first_argument + argument_count]),
        global_size=own.global_size,
        local_size=own.local_size,
        layer=text(layer),
        expected_ns=float(expected),
        variants=tuple(variants),
    )


def _shape(row: tuple[int, ...]) -> Shape:
    kernel, dims, *sizes = row
    local = tuple(sizes[3 : 3 + dims]) if sizes[3] else None
    return Shape(kernel, tuple(sizes[:dims]), local)
