"""Small ONNX models, run through the front end and the interpreter beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from armlet.compiler.ir import Module, verify
from armlet.compiler.ops.interpreter import evaluate
from armlet.frontends.onnx import load

onnxruntime.set_default_logger_severity(4)

F32 = onnx.TensorProto.FLOAT
I64 = onnx.TensorProto.INT64


def info(name: str, shape: Sequence[Any] | None, data_type: int = F32) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, data_type, shape)


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """Names are separated by blanks; ``_`` is an input that is not given."""
    given = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(operator, given, outputs.split(), **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: str = "y",
    constants: Mapping[str, Any] | None = None,
    opset: int = 17,
    ir_version: int = 8,
    domains: Mapping[str, int] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model; the types of its outputs are left to inference."""
    initial = [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs.split()]
    graph = helper.make_graph(list(nodes), "test", list(inputs), results, initial)
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(d, v) for d, v in (domains or {}).items()]
    return helper.make_model(
        graph, opset_imports=imports, ir_version=ir_version, functions=list(functions)
    )


def one_node(
    operator: str,
    feeds: Mapping[str, np.ndarray],
    opset: int = 17,
    constants: Mapping[str, Any] | None = None,
    inputs: str | None = None,
    outputs: str = "y",
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node, whose inputs are the feeds, then the constants."""
    names = inputs or " ".join([*feeds, *(constants or {})])
    infos = [info(k, v.shape, helper.np_dtype_to_tensor_dtype(v.dtype)) for k, v in feeds.items()]
    return model([node(operator, names, outputs, **attributes)], infos, outputs, constants, opset)


def run(module: Module, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    verify(module.main)
    return evaluate(module.main, feeds)


def check_like_onnxruntime(
    proto: onnx.ModelProto, feeds: Mapping[str, np.ndarray], tolerance: float = 1e-5
) -> Module:
    """Both answers agree, to ``tolerance`` of the output's range; returns our module."""
    module = load(proto, {k: v.shape for k, v in feeds.items()})
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    wanted = session.run(list(module.outputs), dict(feeds))
    for got, want in zip(run(module, feeds), wanted, strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        scale = max(1e-6, float(np.abs(want.astype("float64")).max(initial=0)))
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale)
    return module


def operators(module: Module) -> list[str]:
    return [call.op.name for call in module.main]


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype("float32")
