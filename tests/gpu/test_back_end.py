"""What the GPU's back end takes, and what it says a region costs."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.gpu.back_end import OpenCl
from armlet.compiler.gpu.pack import unpack
from armlet.compiler.ir import Builder, Const, Function, TensorType, Var
from armlet.compiler.ops import OPERATORS
from armlet.compiler.ops.nn import Conv2d
from armlet.errors import TargetError
from armlet.targets.npu import Rejected, Supported


def convolution(channels: int, size: int) -> Function:
    x, b = Var("x", TensorType((1, channels, size, size))), Builder(["x"])
    w = Const("w", np.full((channels, channels, 3, 3), 0.1, np.float32))
    return b.function([x], [b.call(Conv2d(pads=(1, 1, 1, 1)), x, w)], "main")


def test_it_takes_what_is_float32():
    (call,) = convolution(4, 5)
    assert OpenCl("mali-g57").query(call) == Supported()
    x, b = Var("x", TensorType((3,), "int64")), Builder(["x"])
    (other,) = b.function([x], [b.call(OPERATORS["neg"](), x)], "main")
    found = OpenCl("mali-g57").query(other)
    assert isinstance(found, Rejected) and "int64" in found.reason


def test_float16_is_half_the_work_of_a_large_layer():
    region = convolution(256, 28)
    whole, half = (OpenCl("adreno-660", half).estimate(region) for half in (False, True))
    assert half.work < 0.6 * whole.work
    assert half.transfer == whole.transfer


def test_a_gpu_without_float16_computes_in_float32():
    assert OpenCl("generic", True).half is False
    assert OpenCl("generic", True).compile(convolution(4, 5)) == OpenCl().compile(convolution(4, 5))


def test_a_small_layer_is_all_launches():
    cost = OpenCl("adreno-660").estimate(convolution(4, 5))
    assert cost.launch > 10 * cost.work


def test_a_program_says_what_it_needs():
    program = unpack(OpenCl("adreno-660", True).compile(convolution(8, 6)))
    assert set(program.needs) == {"fp16", "images"}
    assert unpack(OpenCl("mali-g57").compile(convolution(8, 6))).needs == ()


def test_launches_are_expected_to_take_what_the_region_is_priced_at():
    back_end, region = OpenCl("adreno-660"), convolution(64, 28)
    launches = unpack(back_end.compile(region)).launches
    assert all(launch.expected_ns > 0 for launch in launches)
    told = sum(launch.expected_ns for launch in launches)
    assert told == pytest.approx(back_end.estimate(region).work * 1e9, abs=len(launches))


def test_unknown_gpus_are_refused():
    with pytest.raises(TargetError, match="unknown GPU"):
        OpenCl("adreno-9000")
