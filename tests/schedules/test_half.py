"""Kernels in float16 on an emulated Arm core, of sizes that fill no vector, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from armlet import api, emulator
from armlet.compare import difference
from armlet.compiler.ir import Function, Module, TensorType
from armlet.compiler.ir.builder import Builder
from armlet.compiler.ops.interpreter import evaluate
from armlet.compiler.ops.registry import OPERATORS
from armlet.targets import target

A76 = target("linux-arm64-cortex-a76")
WHY_NOT = emulator.find(A76).missing
SAME = [1, 1, 1, 1]
WIDE = {"pads": SAME, "wide_sums": True}
#: template, operator, shape of x, shapes of constants, attributes
CASES = [
    ("conv2d_direct", "conv2d", (1, 13, 7, 9), [(20, 13, 3, 3), (20,)], {"pads": SAME}),
    ("conv2d_direct", "conv2d", (1, 24, 7, 5), [(17, 24, 1, 1), (17,)], {}),
    ("conv2d_direct", "conv2d", (1, 3, 11, 10), [(16, 3, 3, 3)], {"strides": [2, 2], "pads": SAME}),
    ("conv2d_direct", "conv2d", (2, 16, 5, 6), [(12, 4, 3, 3)], {"group": 4, "pads": SAME}),
    ("conv2d_direct", "conv2d", (1, 37, 7, 5), [(17, 37, 3, 3), (17,)], WIDE),
    ("conv2d_direct", "conv2d", (1, 200, 7, 5), [(24, 200, 1, 1)], WIDE),
    ("conv2d_depthwise", "conv2d", (1, 19, 9, 7), [(19, 1, 3, 3)], {"group": 19, "pads": SAME}),
    ("conv2d_depthwise", "conv2d", (1, 8, 9, 8), [(8, 1, 5, 5)], {"group": 8, "strides": [2, 2]}),
    ("conv2d_dot", "conv2d", (1, 16, 5, 7), [(1, 16, 3, 3), (1,)], {"pads": SAME}),
    ("conv2d_winograd", "conv2d", (1, 64, 14, 15), [(40, 64, 3, 3), (40,)], {"pads": SAME}),
    ("conv2d_plain", "conv_transpose2d", (1, 9, 4, 5), [(9, 12, 2, 2)], {"strides": [2, 2]}),
    ("matmul", "matmul", (5, 33), [(33, 21)], {}),
    ("matmul", "matmul", (5, 300), [(300, 21)], {"wide_sums": True}),
    ("pool", "max_pool2d", (1, 19, 9, 8), [], {"kernel": [3, 3], "strides": [2, 2], "pads": SAME}),
    ("pool", "average_pool2d", (1, 16, 6, 7), [], {"kernel": [2, 3], "pads": SAME}),
    ("reduction", "reduce_mean", (1, 21, 7, 7), [], {"axes": [2, 3]}),
    ("reduction", "softmax", (3, 37), [], {}),
    ("reduction", "layer_norm", (3, 37), [(37,), (37,)], {}),
    ("injective", "sigmoid", (3, 5, 11), [], {}),
    ("injective", "add", (3, 5, 11), [(5, 1)], {}),
    ("injective", "greater", (3, 5, 11), [(5, 1)], {}),
    ("injective", "transpose", (2, 9, 17), [], {"perm": [0, 2, 1]}),
    ("conv2d_direct", "conv2d", (1, 2048, 3, 3), [(16, 2048, 1, 1)], {}),
    ("conv2d_direct", "conv2d", (1, 2048, 3, 3), [(16, 2048, 1, 1)], {"wide_sums": True}),
]


def _attribute(value):
    return tuple(value) if isinstance(value, list) else value


def model() -> Function:
    """Every case from an input of its own to a result of its own; and a chain."""
    rng, b, params, results = np.random.default_rng(0), Builder(), [], []

    def call(x, operator, constants, attributes):
        made = {k: _attribute(v) for k, v in attributes.items()}
        shapes = [(s, np.sqrt(np.prod(s[1:]) if len(s) == 4 else 1)) for s in constants]
        operands = [b.const((rng.standard_normal(s) / n).astype("f")) for s, n in shapes]
        return b.call(OPERATORS[operator](**made), x, *operands, source=operator)

    for _, operator, shape, constants, attributes in CASES:
        params.append(b.param("x", TensorType(shape)))
        results.append(call(params[-1], operator, constants, attributes))
    params.append(b.param("x", TensorType((1, 20, 15, 13))))
    y = call(params[-1], "conv2d", [(72, 20, 1, 1), (72,)], {})
    y = call(call(y, "relu", [], {}), "conv2d", [(72, 1, 3, 3)], {"group": 72, "pads": SAME})
    results.append(call(y, "conv2d", [(28, 72, 1, 1)], {}))
    return b.function(params, results)


@pytest.fixture(scope="module")
def compiled():
    function = model()
    names = tuple(f"y{i}" for i in range(len(function.results)))
    return function, api.compile(Module(function, names), A76, precision="fp16")


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_kernels_in_float16_are_right(compiled):
    function, made = compiled
    rng = np.random.default_rng(1)
    feeds = {p.name: rng.standard_normal(p.type.static_shape).astype("f") for p in function.params}
    right, found = evaluate(function, feeds), made.run(feeds)
    limits = {"conv2d_winograd": 3e-2, 2048: 2e-2}
    errors = []
    cases = [*CASES, ("conv2d_chain", "conv2d", (1, 20))]
    for (template, _, shape, *_), a, b in zip(cases, right, found.values(), strict=True):
        errors.append(difference("", a, b))
        limit = limits.get(template, limits.get(shape[1] if len(shape) > 1 else 0, 5e-3))
        assert errors[-1].within(limit), (template, shape, errors[-1])
    # the same sum of 2048 products, in float16 and from block to block in float32
    assert errors[-2].relative < 0.6 * errors[-3].relative


def test_they_are_made_by_the_usual_templates(compiled):
    _, made = compiled
    tasks = [made.manifest["kernels"][row[0]]["template"] for row in made.manifest["task_rows"]]
    assert set(tasks) == {template for template, *_ in CASES} | {"conv2d_chain"}
