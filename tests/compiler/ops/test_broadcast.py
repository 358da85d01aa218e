"""Broadcasting: NumPy's rule for shapes, kernels of any pair of shapes, bools, symbols."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tvm import te
from tvm.s_tir import Schedule

from armlet.compiler.ir import Dim, TensorType
from armlet.compiler.ops import OPERATORS, Fusion, Sample
from armlet.compiler.ops.broadcast import broadcast_shapes
from armlet.compiler.ops.helpers import random

from .harness import assert_close, build, compile_samples, evaluate

N, M = Dim("N"), Dim("M")


@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=5, min_side=0))
def test_static_shapes_broadcast_as_in_numpy(drawn):
    assert broadcast_shapes(*drawn.input_shapes) == drawn.result_shape


@given(st.lists(st.lists(st.integers(0, 3), max_size=4).map(tuple), min_size=2, max_size=3))
def test_shapes_are_refused_when_numpy_refuses_them(shapes):
    try:
        want = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(TypeError, match="do not broadcast"):
            broadcast_shapes(*shapes)
    else:
        assert broadcast_shapes(*shapes) == want


@pytest.mark.parametrize(
    ("shapes", "want"),
    [
        (((N, 3), (3,)), (N, 3)),
        (((N, 1), (1, M)), (N, M)),
        (((N, 3), (N, 1)), (N, 3)),
        (((N,), (7,)), (7,)),
        (((1, N), (4, 1)), (4, N)),
        (((), (N, M)), (N, M)),
    ],
)
def test_symbolic_shapes_broadcast(shapes, want):
    assert broadcast_shapes(*shapes) == want
    assert broadcast_shapes(*shapes[::-1]) == want


def test_different_symbols_do_not_broadcast():
    with pytest.raises(TypeError, match=r"shapes \[N\] and \[M\] do not broadcast"):
        broadcast_shapes((N,), (M,))


@settings(max_examples=15, deadline=None)
@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=5, max_side=5))
def test_kernels_of_any_shapes_agree_with_numpy(drawn):
    condition, x, y = drawn.input_shapes
    samples = [
        Sample(OPERATORS["sub"](), (random(x), random(y, seed=1))),
        Sample(OPERATORS["less"](), (random(x), random(y, seed=1))),
        Sample(OPERATORS["where"](), (random(condition, "bool"), random(x), random(y, seed=1))),
    ]
    for sample, kernel in zip(samples, compile_samples(samples)):
        (got,), (want,) = kernel(*sample.operands), evaluate(sample)
        assert_close(got, want, sample)


@pytest.mark.parametrize(
    "name", sorted(n for n, r in OPERATORS.items() if r.fusion is Fusion.ELEMENTWISE)
)
def test_symbolic_dimensions_pass_through(name):
    sample = next(iter(OPERATORS[name].samples()))
    operands = [TensorType.of(a) for a in sample.operands]
    for at in range(len(operands) - sample.op.tables):
        operands[at] = TensorType((N, 5, M), operands[at].dtype)
    (result,) = sample.op.infer(operands)
    assert result.shape == (N, 5, M)


@pytest.mark.parametrize(
    ("name", "operands", "sentence"),
    [
        ("relu", ["bool"], "relu is not defined for bool: bool[2]"),
        ("exp", ["int32"], "exp is not defined for int32: i32[2]"),
        ("add", ["float32"], "add takes 2 operands, not 1"),
        ("add", ["float32", "int64"], "add takes operands of one dtype, not f32[2], i64[2]"),
        ("where", ["float32"] * 3, "where is not defined for float32: f32[2]"),
    ],
)
def test_misfits_are_told_in_a_sentence(name, operands, sentence):
    with pytest.raises(TypeError) as caught:
        OPERATORS[name]().infer([TensorType((2,), d) for d in operands])
    assert str(caught.value) == sentence


def test_vectorised_bools_are_a_byte_each():
    size, lanes = 64, 16
    x, y, b = (
        te.placeholder((size,), d, name=n) for n, d in zip("xyb", ("float32", "float32", "bool"))
    )
    less = OPERATORS["less"]()
    out = te.compute(
        (size,),
        lambda i: OPERATORS["logical_xor"]().scalar(less.scalar(x[i], y[i]), b[i]),
        name="out",
    )
    schedule = Schedule(te.create_prim_func([x, y, b, out]))
    _, inner = schedule.split(schedule.get_loops("out")[0], [None, lanes])
    schedule.vectorize(inner)
    library = tvm.runtime.Executable(build({"k": schedule.mod["main"]})).jit()
    arrays = random((size,)), random((size,), seed=1), random((size,), "bool")
    result = tvm.runtime.tensor(np.zeros(size, bool))
    library["k"](*map(tvm.runtime.tensor, arrays), result)
    np.testing.assert_array_equal(result.numpy(), (arrays[0] < arrays[1]) ^ arrays[2])
