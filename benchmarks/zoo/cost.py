"""What an ONNX model computes and stores: multiply-accumulates of its direct form, parameters."""

from __future__ import annotations

import math

import onnx


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(d.dim_value for d in value.type.tensor_type.shape.dim)


def macs(model: onnx.ModelProto) -> int:
    """Of convolutions and matrix products, whatever algorithm a runtime uses instead."""
    if not model.graph.value_info:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    graph = model.graph
    shapes = {v.name: _shape(v) for v in (*graph.input, *graph.value_info, *graph.output)}
    shapes.update({c.name: tuple(c.dims) for c in graph.initializer})
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            weights = shapes[node.input[1]]
            total += math.prod(shapes[node.output[0]]) * math.prod(weights[1:])
        elif node.op_type == "ConvTranspose":
            weights = shapes[node.input[1]]
            total += math.prod(shapes[node.input[0]]) * math.prod(weights[1:])
        elif node.op_type in ("Gemm", "MatMul"):
            left = shapes[node.input[0]]
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            total += math.prod(shapes[node.output[0]]) * left[0 if transposed else -1]
    return total


def parameters(model: onnx.ModelProto) -> int:
    """Elements of all constants in floating point."""
    return sum(
        math.prod(c.dims)
        for c in model.graph.initializer
        if c.data_type == onnx.TensorProto.FLOAT and c.dims
    )
