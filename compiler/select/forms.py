"""The forms of a call: every way to compute it that is worth its price being asked.

Operators with an entry in ``_MAKERS`` bring forms of their own (``conv2d.py`` has those of
convolutions); every other one works on row-major data, and many on blocked data too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from armlet.compiler.ir import Call, Const, Value
from armlet.compiler.ops import Fusion, Op
from armlet.compiler.ops.arrange import ArrangeBlocked
from armlet.compiler.ops.blocked import ConcatBlocked, blocked_form
from armlet.compiler.ops.gather import Gather
from armlet.compiler.ops.matmul import MatMul, MatMulPacked, pack_matrix
from armlet.compiler.ops.recurrent import pack_recurrent
from armlet.compiler.ops.shape import Concat
from armlet.targets import Target

from .conv2d import conv2d
from .form import Constant, Form, four_axes, is_scalar
from .integer import integer_conv2d
from .layouts import ROW_MAJOR, block_of, channels_of


def forms(call: Call, target: Target) -> Sequence[Form]:
    """At least one; those on blocked data first."""
    maker = _MAKERS.get(call.op.name)
    made = maker(call, target.computing(call.outputs[0].type.dtype)) if maker else []
    # a cast meets its operand's lanes or its result's
    dtypes = dict.fromkeys(v.type.dtype for v in (*call.outputs, *call.operands))
    seen = dict.fromkeys(map(target.computing, dtypes))
    return made or [*(f for t in seen for f in _blocked(call, t)), row_major(call)]


def row_major(call: Call) -> Form:
    assert isinstance(call.op, Op)
    return Form(call.op, (ROW_MAJOR,) * len(call.operands), ROW_MAJOR)


def _blocked(call: Call, target: Target) -> list[Form]:
    """The operator on blocked data, if it can do that and its operands' lanes meet the result's."""
    if len(call.outputs) != 1 or call.output.type.rank != 4:
        return []
    out = call.output.type
    assert isinstance(call.op, Op)
    tables = call.op.tables
    laid = call.operands[: len(call.operands) - tables]
    if not all(_meets(v, call, target) for v in laid):
        return []
    block = block_of(channels_of(out), target.lanes)
    layouts = (*(_layout(v, target) for v in laid), *[ROW_MAJOR] * tables)
    if isinstance(call.op, Concat) and call.op.axis % 4 == 1:
        channels = tuple(channels_of(v.type) for v in call.operands)
        if any(c % block for c in channels) or set(layouts) != {block}:
            return [Form(ConcatBlocked(channels, block), layouts, block)]
    op = blocked_form(call.op, block, [v.type for v in call.operands])
    return [] if op is None else [Form(op, layouts, block)]


def _layout(value: Value, target: Target) -> int:
    if is_scalar(value):
        return ROW_MAJOR
    return block_of(four_axes(value.type)[1], target.lanes)


def _meets(value: Value, call: Call, target: Target) -> bool:
    """Whether an operand has a blocked form whose lanes are the result's."""
    if is_scalar(value):
        return True
    if value.type.rank > 4 or (value.type.rank != 4 and not isinstance(value, Const)):
        return False
    op, channels, out = call.op, four_axes(value.type)[1], channels_of(call.output.type)
    assert isinstance(op, Op)
    if op.fusion is Fusion.ELEMENTWISE:
        return channels in (1, out)
    if isinstance(op, Concat):
        return True
    return block_of(channels, target.lanes) == block_of(out, target.lanes)


def _convolution(call: Call, target: Target) -> list[Form]:
    dtype = call.operands[0].type.dtype
    return conv2d(call, target) if dtype.startswith("f") else integer_conv2d(call, target)


def _matmul(call: Call, target: Target) -> list[Form]:
    """A product by a constant matrix reads it in panels of columns."""
    op, (x, w) = call.op, call.operands
    assert isinstance(op, MatMul)
    if not isinstance(w, Const) or w.data.ndim != 2 or x.type.rank < 2:
        return []
    if not x.type.dtype.startswith("f"):
        return []
    depth, columns = w.data.shape
    panels = w.type.with_shape((-(-columns // target.lanes), depth, target.lanes))
    packed = Constant(f"{w.name}@packed", panels, lambda: pack_matrix(w.data, target.lanes))
    return [Form(MatMulPacked(columns, op.wide_sums), (ROW_MAJOR,), ROW_MAJOR, (packed,))]


def _gather(call: Call, target: Target) -> list[Form]:
    """Channels that are known are arranged on blocked data."""
    x, indices = call.operands
    op, lanes = call.op, target.lanes
    assert isinstance(op, Gather)
    known = isinstance(indices, Const) and indices.data.ndim == 1 and np.all(indices.data >= 0)
    if x.type.rank != 4 or op.axis % 4 != 1 or not known:
        return []
    assert isinstance(indices, Const)
    channels, block = channels_of(x.type), block_of(indices.data.size, lanes)
    arrange = ArrangeBlocked((channels,), tuple(map(int, indices.data)), block)
    return [Form(arrange, (block_of(channels, lanes),), block), row_major(call)]


def _recurrent(call: Call, target: Target) -> list[Form]:
    """A recurrence reads its constant weights in panels of units."""
    *rest, r = call.operands
    if not isinstance(r, Const) or r.data.shape[0] != 1:
        return []
    _, depth, gates, hidden = r.data.shape
    block = min(target.lanes, 1 << (hidden - 1).bit_length())
    panels = r.type.with_shape((-(-hidden // block), depth, gates, block))
    packed = Constant(f"{r.name}@packed", panels, lambda: pack_recurrent(r.data, block))
    assert isinstance(call.op, Op)
    return [Form(call.op, (ROW_MAJOR,) * len(rest), ROW_MAJOR, (packed,))]


_MAKERS: dict[str, Callable[[Call, Target], list[Form]]] = {
    "conv2d": _convolution, "gather": _gather, "matmul": _matmul,
    **dict.fromkeys(("lstm", "gru", "gru_reset_first", "rnn"), _recurrent),
}  # fmt: skip
