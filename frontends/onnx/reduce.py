"""Reductions over axes."""

from __future__ import annotations

from armlet.compiler.ir import Const, Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported, dimensions

from .registry import handles

#: ONNX reductions -> ours
REDUCTIONS = {
    "ReduceSum": "reduce_sum", "ReduceMean": "reduce_mean", "ReduceMax": "reduce_max",
    "ReduceMin": "reduce_min", "ReduceProd": "reduce_prod", "ReduceL1": "reduce_l1",
    "ReduceL2": "reduce_l2", "ReduceSumSquare": "reduce_sum_square",
    "ReduceLogSumExp": "reduce_log_sum_exp", "ReduceLogSum": "reduce_sum",
}  # fmt: skip


def _register_reduction(onnx_name: str, name: str) -> None:
    @handles(onnx_name)
    def reduction(
        b: Emitter,
        data: Value,
        axes: Const | None = None,
        *,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Value:
        result = _reduced(b, name, data, axes, bool(keepdims), bool(noop_with_empty_axes))
        return b.call("log", result) if onnx_name == "ReduceLogSum" else result


def _reduced(
    b: Emitter, name: str, data: Value, axes: Const | None, keepdims: bool, noop: bool
) -> Value:
    if data.type.dtype == "bool":
        bits = _reduced(b, name, b.cast(data, "uint8"), axes, keepdims, noop)
        return b.cast(bits, "bool")
    rank = data.type.rank
    chosen = b.axes(dimensions(axes), rank) if axes is not None else ()
    if not chosen and noop:
        # each element is a sum of one: what remains is what is done to elements
        lone = b.reshape(data, (*data.type.shape, 1))
        return b.call(name, lone, axes=(rank,), keepdims=False)
    return b.call(name, data, axes=chosen or tuple(range(rank)), keepdims=keepdims)


for _onnx_name, _name in REDUCTIONS.items():
    _register_reduction(_onnx_name, _name)


@handles("ArgMax")
def argmax(
    b: Emitter, data: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
) -> Value:
    return _arg(b, "argmax", data, axis, keepdims, select_last_index)


@handles("ArgMin")
def argmin(
    b: Emitter, data: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
) -> Value:
    return _arg(b, "argmin", data, axis, keepdims, select_last_index)


def _arg(b: Emitter, name: str, data: Value, axis: int, keepdims: int, last: int) -> Value:
    return b.call(
        name,
        data,
        axis=b.axis(axis, data.type.rank),
        keepdims=bool(keepdims),
        select_last_index=bool(last),
    )


@handles("CumSum", since=11)
def cumsum(b: Emitter, x: Value, axis: Const, *, exclusive: int = 0, reverse: int = 0) -> Value:
    if axis.data.size != 1:
        raise Unsupported("its axis is not one number")
    return b.call(
        "cumsum",
        x,
        axis=b.axis(int(axis.data.item()), x.type.rank),
        exclusive=bool(exclusive),
        reverse=bool(reverse),
    )


@handles("Hardmax")
def hardmax(b: Emitter, x: Value, *, axis: int = -1) -> Value:
    """1 at the first largest element along an axis, else 0."""
    axis = b.axis(axis, x.type.rank)
    best = b.call("argmax", x, axis=axis, keepdims=True, select_last_index=False)
    length = b.static(x)[axis]
    shape = [length if a == axis else 1 for a in range(x.type.rank)]
    places = b.call("reshape", b.const(range(length), best.type.dtype), shape=tuple(shape))
    return b.cast(b.call("equal", best, places), x.type.dtype)
