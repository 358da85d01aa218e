"""Recognise attention as exporters spell it, and use the one operator.

    %q = transpose(%a) {perm=[0,2,1,3]}          %1 = attention(%a, %b, %c, %mask) {scale=s}
    %k = transpose(%b) {perm=[0,2,3,1]}          %y = transpose(%1) {perm=[0,2,1,3]}
    %v = transpose(%c) {perm=[0,2,1,3]}
    %s = matmul(%q, %k)                     ->
    %p = softmax(add(mul(%s, s), %mask))
    %y = matmul(%p, %v)

The operator takes heads where the projections leave them, so the transposes around it
vanish; heads that lie one after the other are taken for batches of one head. The scale may
stand before the product, at either operand; scale and mask may be missing. Not when the
scores or the weights have another reader, and not when the mask is of another shape than
the scores' or, with heads as batches, differs among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from armlet.compiler.ir import Builder, Call, Const, Function, Value, transform
from armlet.compiler.ops import Op
from armlet.compiler.ops.attention import Attention
from armlet.compiler.ops.broadcast import broadcast_shapes
from armlet.compiler.ops.shape import Reshape, Transpose

#: [B,H,S,D] from [B,S,H,D], and back
HEADS = (0, 2, 1, 3)
#: [B,S,H,D] from [B,H,D,S]
KEYS = (0, 3, 1, 2)


@dataclass
class _Found:
    """q[…,S,D], k[…,D,T] and v[…,T,E] of softmax(scale * q k + mask) v."""

    q: Value
    k: Value
    v: Value
    mask: Value | None
    scale: float


class _Search:
    """Follows operands to their producers."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def producer(self, value: Value, op: str) -> Call | None:
        call = self.function.producers.get(value)  # type: ignore[arg-type]
        return call if call is not None and call.op.name == op else None

    def only(self, value: Value, op: str) -> Call | None:
        """The producer of a value that nobody else reads."""
        return self.producer(value, op) if self.function.has_single_reader(value) else None

    def unscaled(self, value: Value, only: bool = False) -> tuple[Value, float]:
        """(x, s) where ``value`` is s * x."""
        call = self.only(value, "mul") if only else self.producer(value, "mul")
        for x, s in (call.operands, call.operands[::-1]) if call else ():
            if isinstance(s, Const) and s.data.size == 1 and x.type == value.type:
                return x, float(s.data.reshape(()))
        return value, 1.0

    def find(self, root: Call) -> _Found | None:
        if root.op.name != "matmul" or root.output.type.dtype != "float32":
            return None
        weights, v = root.operands
        softmax = self.only(weights, "softmax")
        rank = weights.type.rank
        if softmax is None or rank not in (3, 4) or v.type.rank != rank:
            return None
        op: Any = softmax.op
        if op.axis % rank != rank - 1:
            return None
        return self._scores(softmax.operands[0], v)

    def _scores(self, scores: Value, v: Value) -> _Found | None:
        mask = None
        added = self.only(scores, "add")
        for left, right in (added.operands, added.operands[::-1]) if added else ():
            if self.only(left, "mul") or self.only(left, "matmul"):
                if left.type != scores.type:
                    return None
                scores, mask = left, right
                break
        scores, scale = self.unscaled(scores, only=True)
        product = self.only(scores, "matmul")
        if product is None or not all(x.type.rank == v.type.rank for x in product.operands):
            return None
        (q, a), (k, b) = map(self.unscaled, product.operands)
        return _Found(q, k, v, mask, scale * a * b)

    def moved(self, value: Value, perm: tuple[int, ...], b: Builder) -> Value:
        """``value`` transposed; a transpose before it is undone if that is all it takes."""
        before = self.producer(value, "transpose")
        if before is not None:
            first: Any = before.op
            if all(first.perm[p] == i for i, p in enumerate(perm)):
                return before.operands[0]
        return b.call(Transpose(perm), value)

    def interleaved(self, found: _Found) -> bool:
        """Whether heads lie within rows: all three are transposed from there."""
        pairs = ((found.q, HEADS), (found.k, (0, 2, 3, 1)), (found.v, HEADS))
        return all(self._transposed(value, perm) for value, perm in pairs)

    def _transposed(self, value: Value, perm: tuple[int, ...]) -> bool:
        call: Any = self.producer(value, "transpose")
        return call is not None and call.op.perm == perm


def _static(found: _Found) -> bool:
    values = (found.q, found.k, found.v, *([found.mask] if found.mask else []))
    return all(v.type.is_static and v.type.dtype == "float32" for v in values)


def _same_batches(found: _Found) -> bool:
    batches = {x.type.static_shape[:-2] for x in (found.q, found.k, found.v)}
    return len(batches) == 1


def _attended(call: Call, found: _Found, search: _Search, b: Builder) -> Value | None:
    scores = (*found.q.type.static_shape[:-1], found.k.type.static_shape[-1])
    if found.mask and broadcast_shapes(found.mask.type.shape, scores) != scores:
        return None
    masks = [found.mask] if found.mask else []
    op: Op = Attention(found.scale)
    if search.interleaved(found):
        q, v = (search.moved(x, HEADS, b) for x in (found.q, found.v))
        made = b.call(op, q, search.moved(found.k, KEYS, b), v, *masks)
        return b.call(Transpose(HEADS), made)
    if found.mask and any(n != 1 for n in found.mask.type.static_shape[:-2]):
        return None
    # every head of every batch is a batch
    rank = found.k.type.rank
    k = search.moved(found.k, (*range(rank - 2), rank - 1, rank - 2), b)
    operands = []
    for x in (found.q, k, found.v):
        *batch, rows, width = x.type.static_shape
        count = 1
        for n in batch:
            count *= n
        operands.append(b.call(Reshape((count, rows, 1, width)), x))
    if found.mask:
        masks = [b.call(Reshape(found.mask.type.static_shape[-2:]), found.mask)]
    return b.call(Reshape(call.output.type.shape), b.call(op, *operands, *masks))


def run(function: Function) -> Function:
    search = _Search(function)

    def visit(call: Call, b: Builder) -> list[Value] | None:
        found = search.find(call)
        if found is None or not _static(found) or not _same_batches(found):
            return None
        value = _attended(call, found, search, b)
        return None if value is None else [value]

    return transform(function, visit)
