"""What a model file says of its inputs."""

from __future__ import annotations

import onnx

from armlet.frontends.inputs import Declared
from armlet.frontends.operands import MAX_RANK, Unsupported

from .tensors import held_dtype


def parameter_dtype(info: onnx.ValueInfoProto) -> str:
    """The dtype of an input; inputs that are no tensors are refused."""
    if not info.type.HasField("tensor_type"):
        kind = info.type.WhichOneof("value") or "unknown"
        raise Unsupported(f"inputs of kind {kind.removesuffix('_type')} are not supported")
    if not info.type.tensor_type.HasField("shape"):
        raise Unsupported("the model does not say how many axes this input has")
    rank = len(info.type.tensor_type.shape.dim)
    if rank > MAX_RANK:
        raise Unsupported(f"it has {rank} axes; at most {MAX_RANK} are possible")
    return held_dtype(info.type.tensor_type.elem_type)


def declared_shape(info: onnx.ValueInfoProto) -> list[Declared] | None:
    """The dimensions of an input; None if it is no tensor."""
    if not info.type.HasField("tensor_type"):
        return None
    return [_declared_dimension(d) for d in info.type.tensor_type.shape.dim]


def _declared_dimension(dim: onnx.TensorShapeProto.Dimension) -> Declared:
    if dim.HasField("dim_value") and dim.dim_value not in (0, -1):
        return int(dim.dim_value)
    return dim.dim_param if dim.dim_param not in ("", "?", "-1") else None
