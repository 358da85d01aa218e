"""What ONNX Runtime answers: each of our operators as a model of one node.

A row of ``NODES`` is an ONNX operator of the same attributes, or a function that says which
node an operator is. Add a row for every operator that ONNX has.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from armlet.compiler.ops import Op

OPSET, IR_VERSION = 21, 10


class NotInOnnxRuntimeError(Exception):
    """ONNX Runtime has no kernel for these dtypes or attributes."""


@dataclass
class Node:
    """An ONNX node; ``extra`` are further inputs, by position (None: left out)."""

    type: str
    attributes: dict[str, Any] = field(default_factory=dict)
    extra: Sequence[np.ndarray | None] = ()


def node(type: str, **names: str) -> Callable[[Op], Node]:
    """The attributes as they are, but for those renamed."""
    return lambda op: Node(type, {names.get(k, k): v for k, v in op.attributes().items()})


def _int64(values: Any) -> np.ndarray:
    return np.asarray(values, np.int64)


def _clip(op: Any) -> Node:
    return Node("Clip", extra=(np.float64(op.min), np.float64(op.max)))


def _cast(op: Any) -> Node:
    return Node("Cast", {"to": helper.np_dtype_to_tensor_dtype(np.dtype(op.to))})


def _reduce(type: str) -> Callable[[Any], Node]:
    def described(op: Any) -> Node:
        if not op.axes:
            raise NotInOnnxRuntimeError("no axes are all axes there")
        return Node(type, {"keepdims": op.keepdims}, (_int64(op.axes),))

    return described


def _slice(op: Any) -> Node:
    ends = [s + n * t for s, n, t in zip(op.starts, op.sizes, op.steps)]
    ends = [e if e >= 0 else -(2**31) for e in ends]
    axes = range(len(op.starts))
    return Node("Slice", extra=tuple(map(_int64, (op.starts, ends, list(axes), op.steps))))


def _pad(op: Any) -> Node:
    value = np.array(op.value, np.float32)
    return Node("Pad", {"mode": op.mode}, (_int64([*op.before, *op.after]), value))


def _one_hot(op: Any) -> Node:
    return Node("OneHot", {"axis": op.axis}, (_int64(op.depth),))


def _resize(op: Any) -> Node:
    attributes = {
        "mode": op.mode,
        "coordinate_transformation_mode": op.coordinate_mode,
        "nearest_mode": op.nearest_mode,
        "cubic_coeff_a": op.cubic_coeff_a,
        "exclude_outside": op.exclude_outside,
    }
    return Node("Resize", attributes, (None, np.array([1, 1, *op.scale], np.float32)))


def _cumsum(op: Any) -> Node:
    attributes = {"exclusive": op.exclusive, "reverse": op.reverse}
    return Node("CumSum", attributes, (_int64(op.axis),))


NODES: dict[str, str | Callable[[Any], Node]] = {
    # one operand
    "abs": "Abs", "neg": "Neg", "sign": "Sign", "exp": "Exp", "log": "Log", "sqrt": "Sqrt",
    "reciprocal": "Reciprocal", "floor": "Floor", "ceil": "Ceil", "round": "Round", "sin": "Sin",
    "cos": "Cos", "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh",
    "cosh": "Cosh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "erf": "Erf",
    "logical_not": "Not", "is_nan": "IsNaN", "is_inf": "IsInf", "cast": _cast,
    "relu": "Relu", "leaky_relu": "LeakyRelu", "thresholded_relu": "ThresholdedRelu",
    "clip": _clip, "tanh": "Tanh", "sigmoid": "Sigmoid", "hard_sigmoid": "HardSigmoid",
    "hard_swish": "HardSwish", "gelu": "Gelu", "softplus": "Softplus", "softsign": "Softsign",
    "mish": "Mish", "elu": "Elu", "selu": "Selu", "celu": "Celu",
    # several operands
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "mod": "Mod", "pow": "Pow",
    "maximum": "Max", "minimum": "Min", "equal": "Equal", "less": "Less",
    "less_or_equal": "LessOrEqual", "greater": "Greater", "greater_or_equal": "GreaterOrEqual",
    "logical_and": "And", "logical_or": "Or", "logical_xor": "Xor", "prelu": "PRelu",
    "where": "Where",
    # along axes
    "reduce_sum": _reduce("ReduceSum"), "reduce_mean": _reduce("ReduceMean"),
    "reduce_max": _reduce("ReduceMax"), "reduce_min": _reduce("ReduceMin"),
    "reduce_prod": _reduce("ReduceProd"), "reduce_l1": _reduce("ReduceL1"),
    "reduce_l2": _reduce("ReduceL2"), "reduce_sum_square": _reduce("ReduceSumSquare"),
    "reduce_log_sum_exp": _reduce("ReduceLogSumExp"), "argmax": "ArgMax", "argmin": "ArgMin",
    "softmax": "Softmax", "log_softmax": "LogSoftmax", "layer_norm": "LayerNormalization",
    "instance_norm": "InstanceNormalization", "lrn": "LRN", "cumsum": _cumsum,
    # products and windows
    "conv2d": "Conv", "conv_transpose2d": "ConvTranspose", "batch_norm": "BatchNormalization",
    "matmul": "MatMul", "max_pool2d": node("MaxPool", kernel="kernel_shape"),
    "average_pool2d": node("AveragePool", kernel="kernel_shape"), "resize": _resize,
    # shapes and places
    "reshape": lambda op: Node("Reshape", extra=(_int64(op.shape),)),
    "transpose": "Transpose", "concat": "Concat", "concat_view": "Concat", "slice": _slice,
    "slice_view": _slice, "pad": _pad,
    "expand": lambda op: Node("Expand", extra=(_int64(op.shape),)),
    "tile": lambda op: Node("Tile", extra=(_int64(op.repeats),)),
    "depth_to_space": "DepthToSpace", "space_to_depth": "SpaceToDepth", "gather": "Gather",
    "gather_elements": "GatherElements", "gather_nd": "GatherND", "one_hot": _one_hot,
    "copy": lambda op: Node("Identity"),
    "trilu": lambda op: Node("Trilu", {"upper": op.upper}, (_int64(op.k),)),
}  # fmt: skip

#: operators of four axes that take a fifth of lanes: ONNX sees the lanes as channels
LANES = {"max_pool2d", "average_pool2d", "resize", "depth_to_space", "space_to_depth"}

#: attributes that choose how exactly, and not what is computed
OURS = {"wide_sums", "zero_point"}

#: operators of which ONNX Runtime takes no notice of NaN, where NumPy does
IGNORE_NAN = {"argmax", "argmin", "reduce_max", "reduce_min"}


def _as_number(extra: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """An extra input of float64 in the operand's dtype; one that it cannot hold at its limit."""
    if extra.dtype != np.float64:
        return extra
    if dtype.kind in "iu":
        extra = np.clip(extra, np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.asarray(extra, dtype)


def _run(described: Node, operands: Sequence[np.ndarray]) -> np.ndarray:
    values = {f"x{i}": a for i, a in enumerate(operands)}
    names = list(values)
    for i, extra in enumerate(described.extra):
        names.insert(1 + i, "" if extra is None else f"e{i}")
        if extra is not None:
            values[f"e{i}"] = _as_number(extra, operands[0].dtype)
    ours = described.attributes.items()
    given = {k: v for k, v in ours if v != () and k not in OURS}
    attributes = {k: int(v) if isinstance(v, bool) else v for k, v in given.items()}
    made = helper.make_node(described.type, names, ["y"], **attributes)
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in values.items()
    ]
    output = helper.make_value_info("y", onnx.TypeProto())
    graph = helper.make_graph([made], "oracle", inputs, [output])
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return session.run(None, values)[0]
    except Exception as error:
        raise NotInOnnxRuntimeError(str(error)) from error


def to_lanes(x: np.ndarray, lanes: int) -> np.ndarray:
    """[N, Cb * c, H, W] -> [N, Cb, H, W, c]."""
    n, channels, h, w = x.shape
    return np.moveaxis(x.reshape(n, channels // lanes, lanes, h, w), 2, 4)


def from_lanes(x: np.ndarray) -> np.ndarray:
    n, blocks, h, w, lanes = x.shape
    return np.moveaxis(x, 4, 2).reshape(n, blocks * lanes, h, w)


def _in_float32(op: Any, operands: Sequence[np.ndarray]) -> np.ndarray:
    """Sums of products of small integers, which are exact."""
    x, *others = (v.astype(np.float32) for v in operands)
    attributes = {k: v for k, v in op.attributes().items() if k not in OURS}
    described = Node("Conv" if op.name == "conv2d" else "MatMul", attributes)
    return _run(described, [x - op.zero_point, *others]).astype(np.int32)


def answer(op: Op, operands: Sequence[np.ndarray]) -> np.ndarray:
    """ONNX Runtime's result; ``NotInOnnxRuntimeError`` where it refuses."""
    if op.name in IGNORE_NAN and np.isnan(operands[0]).any():
        raise NotInOnnxRuntimeError("it takes no notice of NaN")
    if op.name in ("conv2d", "matmul") and operands[0].dtype.itemsize == 1:
        return _in_float32(op, operands)
    row = NODES[op.name]
    described = node(row)(op) if isinstance(row, str) else row(op)
    if op.name in LANES and operands[0].ndim == 5:
        (x,) = operands
        return to_lanes(_run(described, [np.ascontiguousarray(from_lanes(x))]), x.shape[4])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _run(described, operands)
