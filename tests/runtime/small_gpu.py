"""A back end for a GPU that knows two operators, for tests of what lies behind it."""

from __future__ import annotations

from armlet.compiler.gpu.pack import pack
from armlet.compiler.gpu.program import Buffer, Kernel, Launch, Program
from armlet.compiler.gpu.shim import API, SHIM
from armlet.compiler.ir import Builder, Call, Function, Module, TensorType, Value, Var
from armlet.compiler.ops.activation import Relu
from armlet.compiler.ops.binary import Add
from armlet.targets.npu import BackEnd, Estimate, Rejected, Supported

SOURCE = """
__kernel void relu(__global const float *x, __global float *y) {
    int i = get_global_id(0);
    y[i] = fmax(x[i], 0.0f);
}
__kernel void add(__global const float *a, __global const float *b, __global float *y) {
    int i = get_global_id(0);
    y[i] = a[i] + b[i];
}
"""


class SmallGpu(BackEnd):
    """Takes relu and add of equal shapes, whatever it costs."""

    name = "small-gpu"
    api = API
    shim = SHIM
    version = "1"

    def query(self, call: Call) -> Supported | Rejected:
        equal = all(v.type == call.output.type for v in call.operands)
        known = call.op.name in ("relu", "add") and call.output.type.dtype == "float32"
        return Supported() if known and equal else Rejected("it knows relu and add")

    def estimate(self, region: Function) -> Estimate:
        return Estimate(0.0, 0.0, 0.0)

    def compile(self, region: Function) -> bytes:
        places: dict[Value, int] = {}
        for value in (*region.params, *(call.output for call in region)):
            places[value] = len(places)
        buffers = tuple(Buffer(value.type.bytes) for value in places)
        launches = tuple(
            Launch(
                ("relu", "add").index(call.op.name),
                (*(places[v] for v in call.operands), places[call.output]),
                (call.output.type.elements,),
                layer=call.source,
            )
            for call in region
        )
        kernels = (Kernel(0, "relu"), Kernel(0, "add"))
        inputs, outputs = (
            tuple(places[v] for v in values) for values in (region.params, region.results)
        )
        return pack(Program((SOURCE,), kernels, buffers, launches, inputs, outputs))


def model() -> Module:
    """y = relu(x + relu(x))."""
    b = Builder(source="first")
    x = Var("x", TensorType((2, 3, 64, 64)))
    first = b.call(Relu(), x)
    b.source = "second"
    return Module(b.function([x], [b.call(Relu(), b.call(Add(), x, first))]), ("y",))
