"""Reductions over axes."""

from __future__ import annotations

import tflite

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported, dimensions

from .registry import handles

#: TFLite reductions -> ours
REDUCTIONS = {
    "SUM": "reduce_sum", "MEAN": "reduce_mean", "REDUCE_MAX": "reduce_max",
    "REDUCE_MIN": "reduce_min", "REDUCE_PROD": "reduce_prod", "REDUCE_ANY": "reduce_max",
    "REDUCE_ALL": "reduce_min",
}  # fmt: skip


def _register_reduction(operator: str, name: str) -> None:
    @handles(operator, options=tflite.ReducerOptions)
    def reduction(b: Emitter, x: Value, axes: Const, *, keep_dims: bool = False) -> Value:
        rank = x.type.rank
        # an axis may be named twice
        chosen = tuple(sorted({b.axis(a, rank, "axes") for a in dimensions(axes)}))
        if not chosen:
            return x
        if x.type.dtype == "bool":
            bits = b.call(name, b.cast(x, "uint8"), axes=chosen, keepdims=keep_dims)
            return b.cast(bits, "bool")
        return b.call(name, x, axes=chosen, keepdims=keep_dims)


for _operator, _name in REDUCTIONS.items():
    _register_reduction(_operator, _name)


def index_dtype(output_type: int) -> str:
    """The dtype of indices and sizes that an option names."""
    found = {tflite.TensorType.INT32: "int32", tflite.TensorType.INT64: "int64"}.get(output_type)
    if found is None:
        raise Unsupported(f"indices of type {output_type} are not known")
    return found


def _register_position(operator: str, name: str, options: type) -> None:
    @handles(operator, options=options)
    def position(b: Emitter, x: Value, axis: Const, *, output_type: int = 2) -> Value:
        (chosen,) = dimensions(axis)
        y = b.call(
            name, x, axis=b.axis(chosen, x.type.rank), keepdims=False, select_last_index=False
        )
        return b.cast(y, index_dtype(output_type))


_register_position("ARG_MAX", "argmax", tflite.ArgMaxOptions)
_register_position("ARG_MIN", "argmin", tflite.ArgMinOptions)


@handles("CUMSUM", options=tflite.CumsumOptions)
def cumsum(
    b: Emitter, x: Value, axis: Const, *, exclusive: bool = False, reverse: bool = False
) -> Value:
    (chosen,) = dimensions(axis)
    place = b.axis(chosen, x.type.rank)
    return b.call("cumsum", x, axis=place, exclusive=exclusive, reverse=reverse)


@handles("TOPK_V2", options=tflite.TopKV2Options)
def top_k(b: Emitter, x: Value, k: Const) -> tuple[Value, Value]:
    if dimensions(k) != [1]:
        raise Unsupported(
            "sorting is not supported, only the largest element",
            way_out="leave it to the application, after the model",
        )
    axis = b.axis(-1, x.type.rank)
    place = b.call("argmax", x, axis=axis, keepdims=True, select_last_index=False)
    return b.call("reduce_max", x, axes=(axis,), keepdims=True), b.cast(place, "int32")


@handles("BUCKETIZE", options=tflite.BucketizeOptions)
def bucketize(b: Emitter, x: Value, *, boundaries: tuple[float, ...]) -> Value:
    """How many of the boundaries, which ascend, are not above x."""
    lone = b.reshape(x, (*x.type.shape, 1))
    reached = b.call("greater_or_equal", lone, b.const(boundaries, x.type.dtype))
    axes = (x.type.rank,)
    return b.call("reduce_sum", b.cast(reached, "int32"), axes=axes, keepdims=False)
