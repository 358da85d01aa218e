"""Matrix products: MatMul, Gemm, Einsum."""

from __future__ import annotations

import math

from armlet.compiler.ir import Value
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from .registry import handles


@handles("MatMul")
def matmul(b: Emitter, x: Value, y: Value) -> Value:
    """An operand of one axis is a row (left) or a column (right)."""
    if x.type.rank == 0 or y.type.rank == 0:
        raise Unsupported(f"a scalar cannot be multiplied: {x.type}, {y.type}")
    row, column = x.type.rank == 1, y.type.rank == 1
    left = b.reshape(x, (1, *x.type.shape)) if row else x
    right = b.reshape(y, (*y.type.shape, 1)) if column else y
    product = b.call("matmul", left, right)
    shape = list(product.type.shape)
    if column:
        del shape[-1]
    if row:
        del shape[-1 if column else -2]
    return b.reshape(product, shape)


@handles("Gemm")
def gemm(
    b: Emitter,
    x: Value,
    y: Value,
    c: Value | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Value:
    if x.type.rank != 2 or y.type.rank != 2:
        raise Unsupported(f"operands {x.type} and {y.type} are not both matrices")
    left = b.transpose(x, (1, 0)) if transA else x
    right = _scaled(b, b.transpose(y, (1, 0)) if transB else y, alpha)
    product = b.call("matmul", left, right)
    return product if c is None or beta == 0 else b.call("add", product, _scaled(b, c, beta))


def _scaled(b: Emitter, x: Value, factor: float) -> Value:
    return x if factor == 1 else b.call("mul", x, b.full(x, factor))


@handles("Einsum", since=12)
def einsum(b: Emitter, first: Value, *rest: Value, equation: str) -> Value:
    """Pairwise, from left to right, each pair by one batched matrix product."""
    operands = [first, *rest]
    terms, output = _parse(equation.replace(" ", ""), operands)
    value, labels = operands[0], terms[0]
    for index, (operand, term) in enumerate(zip(operands[1:], terms[1:]), 2):
        later = set(output).union(*terms[index:])
        value, labels = _contract(b, value, labels, operand, term, later)
    value, labels = _summed(b, value, labels, set(output))
    return b.transpose(value, [labels.index(label) for label in output])


def _parse(equation: str, operands: list[Value]) -> tuple[list[str], str]:
    """One letter for each axis of each operand and of the result; ``...`` is spelt out."""
    inputs, arrow, output = equation.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(operands):
        raise Unsupported(f"{len(terms)} terms, {len(operands)} operands", attribute="equation")
    spare = [c for c in map(chr, range(0x3B1, 0x3C9)) if c not in equation]
    extra = [v.type.rank - len(t.replace("...", "")) for t, v in zip(terms, operands)]
    most = max((n for n, t in zip(extra, terms) if "..." in t), default=0)
    common = "".join(spare[:most])
    spelt = [t.replace("...", common[most - max(n, 0) :]) for t, n in zip(terms, extra)]
    if not arrow:
        letters = "".join(spelt)
        once = sorted(c for c in set(letters) - set(common) if letters.count(c) == 1)
        output = common + "".join(once)
    output = output.replace("...", common)
    for term, value in zip(spelt, operands):
        if len(term) != value.type.rank:
            raise Unsupported(f"{term!r} is not the axes of {value.type}", attribute="equation")
        if len(set(term)) != len(term):
            raise Unsupported("a diagonal is not supported", attribute="equation")
    if len(set(output)) != len(output) or not set(output) <= set("".join(spelt)):
        raise Unsupported(f"the result {output!r} is not understood", attribute="equation")
    return spelt, output


def _summed(b: Emitter, x: Value, labels: str, kept: set[str]) -> tuple[Value, str]:
    """Sums over the axes whose letters are not kept."""
    axes = tuple(i for i, label in enumerate(labels) if label not in kept)
    if not axes:
        return x, labels
    summed = b.call("reduce_sum", x, axes=axes, keepdims=False)
    return summed, "".join(c for c in labels if c in kept)


def _contract(
    b: Emitter, x: Value, left: str, y: Value, right: str, later: set[str]
) -> tuple[Value, str]:
    """The product of two operands, summed over the letters they share that nothing reads later."""
    x, left = _summed(b, x, left, later | set(right))
    y, right = _summed(b, y, right, later | set(left))
    batch = [c for c in left if c in right and c in later]
    inner = [c for c in left if c in right and c not in later]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]
    x = _stretched(b, x, left, y, right)
    y = _stretched(b, y, right, x, left)
    size = dict(zip(left, b.static(x))) | dict(zip(right, b.static(y)))

    def matrix(v: Value, labels: str, *groups: list[str]) -> Value:
        ordered = b.transpose(v, [labels.index(c) for group in groups for c in group])
        shape = [size[c] for c in groups[0]] + [math.prod(size[c] for c in g) for g in groups[1:]]
        return b.reshape(ordered, shape)

    a = matrix(x, left, batch, rows, inner)
    product = b.call("matmul", a, matrix(y, right, batch, inner, columns))
    labels = [*batch, *rows, *columns]
    return b.reshape(product, [size[c] for c in labels]), "".join(labels)


def _stretched(b: Emitter, x: Value, labels: str, y: Value, others: str) -> Value:
    """``x`` with axes of size 1 broadcast to those of ``y`` under the same letter."""
    theirs = dict(zip(others, b.static(y)))
    held = b.static(x)
    wanted = tuple(theirs.get(c, n) if n == 1 else n for c, n in zip(labels, held))
    return x if wanted == held else b.call("expand", x, shape=wanted)
