"""A program for a GPU as bytes and back."""

import dataclasses

import pytest

from armlet.compiler.gpu.pack import pack, unpack
from armlet.compiler.gpu.program import Buffer, Kernel, Launch, Program, Shape, check

PROGRAM = Program(
    sources=("__kernel void twice(__global float *x) {}\n", "__kernel void one(void) {}\n"),
    kernels=(Kernel(0, "twice"), Kernel(1, "one")),
    buffers=(
        Buffer(64, offset=0),
        Buffer(64, offset=128),
        Buffer(256, dtype="float16", image=(4, 8)),
        Buffer(1024, dtype="float32", image=(4, 4, 4)),
        Buffer(5, dtype="int8", data=b"abcde"),
        Buffer(16, dtype="float16", image=(1, 2), data=bytes(range(16))),
    ),
    launches=(
        Launch(0, (0, 4), (64,), (16,), "conv1", 1500.0, (Shape(1, (64,), (8,)), Shape(0, (64,)))),
        Launch(1, (2, 3, 1), (2, 4, 8), (1, 2, 4), "conv2"),
    ),
    inputs=(0,),
    outputs=(1,),
    needs=("fp16", "images"),
)


def test_what_is_packed_is_unpacked():
    assert unpack(pack(PROGRAM)) == PROGRAM
    assert pack(PROGRAM) == pack(PROGRAM)
    empty = Program((), (), (), (), (), ())
    assert unpack(pack(empty)) == empty


def test_the_memory_of_all_buffers_is_known():
    assert (PROGRAM.arena_bytes, PROGRAM.peak_bytes) == (192, 192 + 256 + 1024 + 5 + 16)


def test_damage_is_found():
    blob = pack(PROGRAM)
    for end in range(0, len(blob), 7):
        with pytest.raises(ValueError):
            unpack(blob[:end])
    packed = blob.rindex(b"one\0") + 12
    with pytest.raises(ValueError, match="damaged"):
        unpack(blob[:packed] + bytes([blob[packed] ^ 1]) + blob[packed + 1 :])


LAUNCH = PROGRAM.launches[0]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"needs": ("raytracing",)}, "not all known"),
        ({"kernels": (Kernel(2, "twice"), Kernel(1, "one"))}, "source of kernel 'twice'"),
        ({"inputs": (2,)}, "no plain float32"),
        ({"outputs": (9,)}, "9 of 6"),
        ({"launches": (dataclasses.replace(LAUNCH, arguments=(6,)),)}, "an argument of"),
        ({"launches": (dataclasses.replace(LAUNCH, local_size=(3,)),)}, "do not divide"),
        ({"launches": (dataclasses.replace(LAUNCH, global_size=()),)}, "0 dimensions"),
        ({"launches": (dataclasses.replace(LAUNCH, arguments=(0,) * 65),)}, "too many"),
        ({"buffers": (Buffer(0),) * 6}, "has 0 bytes"),
        ({"buffers": (Buffer(64, image=(4, 4)),) * 6}, "has 64 bytes"),
        ({"buffers": (Buffer(256, image=(4, 4), offset=0),) * 6}, "place in the arena"),
        ({"buffers": (Buffer(4, data=b"abc"),) * 6}, "another size"),
    ],
)
def test_a_program_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        check(dataclasses.replace(PROGRAM, **change))
