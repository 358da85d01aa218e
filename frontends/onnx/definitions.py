"""ONNX's own definitions of operators by others, for operators that have no handler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import defs, helper

from armlet.frontends.operands import Symbolic, Unsupported

from .node import Node
from .refused import REASONS
from .tensors import DTYPES

_DATA_TYPES = {dtype: data_type for data_type, dtype in DTYPES.items()}


def _schema(operator: str, version: int) -> Any:
    """An ``OpSchema``, whose stubs lack what is needed here; None if there is none."""
    try:
        return defs.get_schema(operator, version, "")
    except defs.SchemaError:
        return None


def has_body(key: tuple[str, str], opsets: Mapping[str, int]) -> bool:
    """Does ONNX define the operator ``(domain, name)`` by others? Not where that cannot help."""
    domain, operator = key
    if domain or operator in REASONS:
        return False
    schema = _schema(operator, opsets.get("", 1))
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)


def body_of(proto: onnx.NodeProto, node: Node) -> onnx.FunctionProto:
    """The definition, which may depend on the node's attributes and the types of its inputs."""
    schema = _schema(node.operator, node.version)
    types = [_type_proto(operand) for operand in node.operands]
    arguments = proto.SerializeToString(), [t.SerializeToString() for t in types]
    for version in reversed(schema.context_dependent_function_opset_versions):
        if version <= node.version:
            data = schema.get_context_dependent_function_with_opset_version(version, *arguments)
            break
    else:
        data = schema.get_function_with_opset_version(node.version)
    body = onnx.FunctionProto()
    body.ParseFromString(data)
    if not body.node:
        raise Unsupported("ONNX's definition does not cover this use of the operator")
    defaults = (a.default_value for a in schema.attributes.values())
    body.attribute_proto.extend(d for d in defaults if d.type != d.UNDEFINED)
    return body


def _type_proto(operand: object) -> onnx.TypeProto:
    if operand is None:
        return onnx.TypeProto()
    if isinstance(operand, Symbolic):
        return helper.make_tensor_type_proto(onnx.TensorProto.INT64, operand.data.shape)
    type = operand.type  # type: ignore[attr-defined]
    shape = [d if isinstance(d, int) else str(d) for d in type.shape]
    return helper.make_tensor_type_proto(_DATA_TYPES[type.dtype], shape)
