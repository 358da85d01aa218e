"""A back end for a toy NPU that convolves, adds and clamps float32 tensors: a template to copy.

``toy_device.c`` is the chip: a library in software, which takes as long as the chip would by its
table of costs. ``armlet_npu_toy.c`` is the shim, which is all that artifacts hold of this folder.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from armlet.compiler.ir import Call, Const, Function, Value
from armlet.targets.npu import BackEnd, Estimate, Rejected, Supported, boundary_bytes

HERE = Path(__file__).parent
#: the chip's instructions, as toy_device.h numbers them
CONV, ADD, RELU = range(3)
OPCODES = {"conv2d": CONV, "add": ADD, "relu": RELU}

#: seconds of a step's start, of a byte that is brought or fetched, and of work (toy_device.h)
LAUNCH, BYTE, MAC, ELEMENT = 200e-6, 0.1e-9, 1e-12, 10e-12


class Toy(BackEnd):
    name = "toy"
    chips = ("t1",)
    api = "armlet_npu_toy"
    shim = (HERE / "armlet_npu_toy.c",)
    version = "1"

    def query(self, call: Call) -> Supported | Rejected:
        values = (*call.operands, *call.outputs)
        if call.op.name not in OPCODES:
            return Rejected(f"it has no instruction for {call.op.name}")
        if any(v.type.dtype != "float32" for v in values):
            return Rejected("it computes in float32 only")
        if call.op.name == "conv2d":
            return _convolution(call)
        if any(isinstance(v, Const) or v.type != call.output.type for v in call.operands):
            return Rejected("its operands must be variables of one shape")
        return Supported()

    def estimate(self, region: Function) -> Estimate:
        work = 0.0
        for call in region:
            work += ELEMENT * call.output.type.elements
            if call.op.name == "conv2d":
                work += MAC * call.output.type.elements * _depth(call)
        return Estimate(transfer=BYTE * boundary_bytes(region), launch=LAUNCH, work=work)

    def compile(self, region: Function) -> bytes:
        """Header, sizes of tensors, instructions (all int32), then the weights (float32)."""
        tensors = {v: i for i, v in enumerate((*region.params, *_made(region)))}
        weights: list[np.ndarray] = []

        def place(const: Value) -> int:
            assert isinstance(const, Const)
            at = sum(w.size for w in weights)
            weights.append(const.data.ravel())
            return at

        code: list[int] = []
        for call in region:
            first, *more = call.operands
            other = tensors.get(more[0], -1) if more else -1
            fields = [OPCODES[call.op.name], tensors[call.output], tensors[first], other]
            fields += _window(call, place) if call.op.name == "conv2d" else [0] * 15
            code += fields
        results = [tensors[r] for r in region.results]
        sizes = [v.type.elements for v in tensors]
        counts = [len(sizes), len(region.bindings), len(region.params), len(results)]
        words = np.array([*counts, sum(w.size for w in weights), *sizes, *results, *code], "<i4")
        return b"TOY1" + words.tobytes() + b"".join(w.astype("<f4").tobytes() for w in weights)


def _made(region: Function) -> list[Value]:
    return [v for call in region for v in call.outputs]


def _depth(call: Call) -> int:
    return math.prod(call.operands[1].type.static_shape[1:])


def _convolution(call: Call) -> Supported | Rejected:
    if call.op.group != 1 or tuple(call.op.dilations) != (1, 1):
        return Rejected("it convolves without groups and dilation only")
    if not all(isinstance(v, Const) for v in call.operands[1:]):
        return Rejected("it needs constant weights")
    return Supported()


def _window(call: Call, place) -> list[int]:
    x, w, *bias = call.operands
    (n, c, height, width), (o, _, *kernel) = x.type.static_shape, w.type.static_shape
    geometry = [n, c, height, width, o, *call.output.type.static_shape[2:], *kernel]
    data = [place(w), place(bias[0]) if bias else -1]
    return [*data, *geometry, *call.op.strides, *call.op.pads[:2]]


BACK_END = Toy
