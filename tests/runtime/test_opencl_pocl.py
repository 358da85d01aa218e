"""The OpenCL back end on PoCL: what a real driver makes of programs, images and limits of time."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.gpu.program import Buffer, Kernel, Launch, Program

from .opencl_host import run_program, use_pocl
from .test_opencl import ELEMENTS, program

IMAGES = """
__constant sampler_t nearest = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP | CLK_FILTER_NEAREST;

__kernel void to_image(__global const float4 *x, __write_only image2d_t y) {
    int2 at = (int2)(get_global_id(0), get_global_id(1));
    write_imagef(y, at, x[at.y * 8 + at.x]);
}

__kernel void add(__read_only image2d_t x, __read_only image2d_array_t w, __global float4 *y) {
    int2 at = (int2)(get_group_id(0) * 2 + get_local_id(0), get_global_id(1));
    float4 first = read_imagef(w, nearest, (int4)(at, 0, 0));
    float4 second = read_imagef(w, nearest, (int4)(at, 1, 0));
    y[at.y * 8 + at.x] = read_imagef(x, nearest, at) + first - second;
}
"""


@pytest.fixture(autouse=True)
def pocl(monkeypatch):
    monkeypatch.setenv("ARMLET_OPENCL_LIBRARY", "")
    use_pocl()


def test_buffers(tmp_path):
    x = np.random.default_rng(0).standard_normal(ELEMENTS, np.float32)
    for limit in (0, 1):
        for _ in range(2):  # compiled, then from the cache
            (y,) = run_program(program(needs=()), [x], tmp_path, limit)
            np.testing.assert_array_equal(y, 2 * x + np.arange(ELEMENTS, dtype="f"))
    assert len(list(tmp_path.iterdir())) == 2


def test_images():
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((4, 8, 4), np.float32), rng.standard_normal((2, 4, 8, 4), np.float32)
    images = Program(
        sources=(IMAGES,),
        kernels=(Kernel(0, "to_image"), Kernel(0, "add")),
        buffers=(
            Buffer(512), Buffer(512, image=(8, 4)),
            Buffer(1024, image=(8, 4, 2), data=w.tobytes()), Buffer(512),
        ),
        launches=(
            Launch(0, (0, 1), (8, 4)),
            Launch(1, (1, 2, 3), (8, 4), (2, 1), expected_ns=1e7),
        ),
        inputs=(0,), outputs=(3,), needs=("images",),
    )  # fmt: skip
    for limit in (0, 2):
        (y,) = run_program(images, [x], max_kernel_ms=limit)
        np.testing.assert_allclose(y.reshape(x.shape), x + w[0] - w[1], rtol=1e-6, atol=1e-6)


def test_what_the_driver_lacks_is_said():
    with pytest.raises(RuntimeError, match="lacks fp16"):
        run_program(program(), [np.zeros(ELEMENTS)])
