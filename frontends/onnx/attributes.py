"""Attributes of ONNX nodes as Python values."""

from __future__ import annotations

from typing import Any

import onnx

from armlet.frontends.operands import Unsupported

from .tensors import Tensors

_A = onnx.AttributeProto


def attribute_value(attribute: onnx.AttributeProto, tensors: Tensors) -> Any:
    """``int``, ``float``, ``str``, an array, a graph, or a tuple of the first three."""
    kind = attribute.type
    if kind == _A.FLOAT:
        return float(attribute.f)
    if kind == _A.INT:
        return int(attribute.i)
    if kind == _A.STRING:
        return _text(attribute.s)
    if kind == _A.FLOATS:
        return tuple(map(float, attribute.floats))
    if kind == _A.INTS:
        return tuple(map(int, attribute.ints))
    if kind == _A.STRINGS:
        return tuple(map(_text, attribute.strings))
    if kind == _A.GRAPH:
        return attribute.g
    if kind == _A.TENSOR:
        try:
            return tensors.array(attribute.t, attribute.name)
        except Unsupported as error:
            raise Unsupported(
                error.reason, attribute=attribute.name, way_out=error.way_out
            ) from None
    name = _A.AttributeType.Name(kind) if kind in _A.AttributeType.values() else str(kind)
    raise Unsupported(f"attributes of type {name} are not supported", attribute=attribute.name)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
