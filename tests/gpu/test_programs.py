"""GPU programs run by a software OpenCL driver, against the operators' own evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.compiler.gpu.lower import compile_region
from armlet.compiler.gpu.program import check
from armlet.compiler.ir import Builder, Const, Function, TensorType, Value, Var
from armlet.compiler.ops import OPERATORS, interpreter, parse
from armlet.compiler.ops.nn import Conv2d
from armlet.targets.gpu import gpu

from ..runtime.opencl_host import run_program, use_pocl

#: images, and buffers with limits of the least device
IMAGES, BUFFERS = "adreno-660", "generic"
#: one of each kind of loop; ``test_every_operator`` does the others
FEW = ("add", "softmax", "transpose", "resize", "matmul")


@pytest.fixture(scope="module", autouse=True)
def driver() -> None:
    use_pocl()


def compare(function: Function, name: str, inputs: list[np.ndarray]) -> None:
    program = compile_region(function, gpu(name))
    check(program)
    feeds = {p.name: x for p, x in zip(function.params, inputs, strict=True)}
    want = interpreter.evaluate(function, feeds)
    for got, wanted in zip(run_program(program, inputs), want, strict=True):
        scale = max(1e-30, float(np.max(np.abs(wanted))))
        assert np.max(np.abs(got.reshape(wanted.shape) - wanted)) <= 2e-5 * scale


CONVOLUTIONS = [
    ((1, 5, 9, 11), (9, 5, 3, 3), {}),
    ((2, 8, 7, 7), (16, 8, 3, 3), {"pads": (1, 1, 1, 1)}),
    ((1, 3, 17, 16), (20, 3, 3, 3), {"pads": (0, 0, 1, 1), "strides": (2, 2)}),
    ((1, 16, 8, 10), (12, 16, 5, 3), {"pads": (2, 2, 2, 0), "dilations": (2, 1)}),
    ((1, 12, 8, 9), (12, 1, 3, 3), {"group": 12, "pads": (1, 1, 1, 1), "strides": (1, 2)}),
    ((1, 16, 6, 9), (16, 8, 3, 3), {"group": 2, "pads": (1, 0, 1, 2)}),
    ((1, 6, 5, 5), (4, 3, 1, 1), {"group": 2}),
]


@pytest.mark.parametrize("name", [IMAGES, pytest.param(BUFFERS, marks=pytest.mark.slow)])
def test_convolutions_and_what_follows_them(name):
    rng = np.random.default_rng(0)
    params = [Var(f"x{i}", TensorType(shape)) for i, (shape, _, _) in enumerate(CONVOLUTIONS)]
    b, results = Builder(p.name for p in params), []
    for i, (x, (_, kernel, attributes)) in enumerate(zip(params, CONVOLUTIONS, strict=True)):
        w = Const(f"w{i}", rng.standard_normal(kernel).astype("f") / kernel[1])
        bias = Const(f"b{i}", rng.standard_normal(kernel[:1]).astype("f"))
        y = b.call(Conv2d(**attributes), x, w, bias)
        gate = b.call(OPERATORS["sigmoid"](), y)
        results.append(b.call(OPERATORS["mul"](), y, gate))
    inputs = [rng.standard_normal(shape).astype("f") for shape, _, _ in CONVOLUTIONS]
    compare(b.function(params, results, "main"), name, inputs)


@pytest.mark.parametrize("name", [pytest.param(IMAGES, marks=pytest.mark.slow), BUFFERS])
def test_a_network_of_blocks(name):
    """Residuals, pools, joined channels, a broadcast of one channel, a head on plain data."""
    rng = np.random.default_rng(1)
    constants = {
        "w": rng.standard_normal((16, 3, 3, 3)).astype("f") / 5,
        "v": rng.standard_normal((16, 16, 1, 1)).astype("f") / 4,
        "o": rng.standard_normal((1, 16, 1, 1)).astype("f"),
        "m": rng.standard_normal((32, 5)).astype("f"),
    }
    function = parse(
        """
        const $w: f32[16,3,3,3] = <0>
        const $v: f32[16,16,1,1] = <0>
        const $o: f32[1,16,1,1] = <0>
        const $m: f32[32,5] = <0>
        def main(%x: f32[1,3,12,10]) -> f32[1,5] {
          %a = conv2d(%x, $w) {pads=[1,1,1,1]} : f32[1,16,12,10]
          %b = conv2d(%a, $v) : f32[1,16,12,10]
          %c = add(%a, %b) : f32[1,16,12,10]
          %d = max_pool2d(%c) {strides=[2,2], kernel=[2,2]} : f32[1,16,6,5]
          %e = conv2d(%d, $o) : f32[1,1,6,5]
          %f = mul(%d, %e) : f32[1,16,6,5]
          %g = concat(%d, %f) {axis=1} : f32[1,32,6,5]
          %h = reduce_mean(%g) {axes=[2,3]} : f32[1,32,1,1]
          %i = reshape(%h) {shape=[1,32]} : f32[1,32]
          %j = matmul(%i, $m) : f32[1,5]
          %k = softmax(%j) : f32[1,5]
          return %k
        }
        """,
        constants,
    )
    compare(function, name, [rng.standard_normal((1, 3, 12, 10)).astype("f")])


def operator_function(sample) -> tuple[Function, list[np.ndarray]] | None:
    """A function of the sample's one call; None where GPUs leave its dtypes to the CPU."""
    operands: list[Value] = [
        Var(f"x{i}", TensorType.of(a)) if a.dtype == np.float32 else Const(f"c{i}", a)
        for i, a in enumerate(sample.operands)
    ]
    params = [v for v in operands if isinstance(v, Var)]
    b = Builder(p.name for p in params)
    outputs = b.multi(sample.op, *operands)
    dtypes = {v.type.dtype for v in (*operands, *outputs)}
    if not params or {"float64", "float16"} & dtypes or outputs[0].type.dtype != "float32":
        return None
    inputs = [a for a in sample.operands if a.dtype == np.float32]
    return b.function(params, list(outputs), "main"), inputs


def finite(sample) -> bool:
    return all(np.all(np.isfinite(a)) for a in sample.operands if a.dtype.kind == "f")


@pytest.mark.parametrize("operator", FEW)
def test_an_operator_of_each_kind(operator):
    samples = [s for s in OPERATORS[operator].samples() if finite(s)]
    made = [m for s in samples[:2] if (m := operator_function(s))]
    for function, inputs in made:
        compare(function, BUFFERS, inputs)


@pytest.mark.slow
@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_every_operator(operator):
    for sample in OPERATORS[operator].samples():
        if finite(sample) and (made := operator_function(sample)):
            compare(made[0], BUFFERS, made[1])
