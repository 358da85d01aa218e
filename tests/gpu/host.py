"""Runs a GPU program through any OpenCL driver, by pyopencl: what the device runtime does in C."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from armlet.compiler.gpu.program import Buffer, Program

#: arena bytes that nothing wrote are this, so that reading them shows
UNWRITTEN = np.float32(np.nan)


class Host:
    """One device of a driver whose platform's name contains ``platform``."""

    def __init__(self, platform: str = "Portable") -> None:
        self.cl = pytest.importorskip("pyopencl", exc_type=ImportError)
        try:
            platforms = [p for p in self.cl.get_platforms() if platform in p.name]
        except self.cl.LogicError:
            platforms = []
        if not platforms:
            pytest.skip(f"no OpenCL driver called {platform}")
        self.context = self.cl.Context([platforms[0].get_devices()[0]])
        self.queue = self.cl.CommandQueue(self.context)

    def run(self, program: Program, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs, flat, of plain float32 inputs."""
        cl = self.cl
        options = program.options.split()
        built = [cl.Program(self.context, s).build(options) for s in program.sources]
        kernels = [cl.Kernel(built[k.source], k.name) for k in program.kernels]
        arena = cl.Buffer(self.context, cl.mem_flags.READ_WRITE, max(4, program.arena_bytes))
        unwritten = np.full(max(4, program.arena_bytes) // 4, UNWRITTEN)
        cl.enqueue_copy(self.queue, arena, unwritten)
        memory = [self._memory(b, arena) for b in program.buffers]
        for index, value in zip(program.inputs, inputs, strict=True):
            cl.enqueue_copy(self.queue, memory[index], np.ascontiguousarray(value, np.float32))
        for launch in program.launches:
            kernel = kernels[launch.kernel]
            kernel.set_args(*(memory[a] for a in launch.arguments))
            cl.enqueue_nd_range_kernel(self.queue, kernel, launch.global_size, launch.local_size)
        results = [np.empty(program.buffers[i].bytes // 4, np.float32) for i in program.outputs]
        for index, result in zip(program.outputs, results, strict=True):
            cl.enqueue_copy(self.queue, result, memory[index])
        return results

    def _memory(self, buffer: Buffer, arena: object) -> object:
        cl, flags = self.cl, self.cl.mem_flags
        if buffer.image:
            types = {"float32": cl.channel_type.FLOAT, "float16": cl.channel_type.HALF_FLOAT}
            form = cl.ImageFormat(cl.channel_order.RGBA, types[buffer.dtype])
            return cl.create_image(self.context, flags.READ_WRITE, form, shape=buffer.image)
        if buffer.data is not None:
            data = np.frombuffer(buffer.data, np.uint8)
            return cl.Buffer(self.context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=data)
        if buffer.offset is not None:
            return arena.get_sub_region(buffer.offset, buffer.bytes)  # type: ignore[attr-defined]
        return cl.Buffer(self.context, flags.READ_WRITE, buffer.bytes)
