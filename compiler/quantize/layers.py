"""Which layers integers can compute, and which tensors must be integers for that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from armlet.compiler.ir import Call, Const, Function, Var
from armlet.compiler.ops.matmul import MatMul
from armlet.compiler.ops.nn import Conv2d
from armlet.compiler.passes.integer_arithmetic import MOVES

#: calls whose results are elements of their operands, and so have the same range
SAME_RANGE = (*MOVES, "concat")


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution, or a product by a constant matrix, of floats."""

    call: Call

    @property
    def name(self) -> str:
        """Its result's name, by which a recipe knows it."""
        return self.call.output.name

    @property
    def source(self) -> str:
        """What the model calls it."""
        return self.call.source or self.name

    @property
    def x(self) -> Var:
        value = self.call.operands[0]
        assert isinstance(value, Var)
        return value

    @property
    def weight(self) -> Const:
        value = self.call.operands[1]
        assert isinstance(value, Const)
        return value

    @property
    def bias(self) -> Const | None:
        value = self.call.operands[2] if len(self.call.operands) > 2 else None
        return value if isinstance(value, Const) else None

    @property
    def axis(self) -> int:
        """Of the output channels in the weights."""
        return 0 if isinstance(self.call.op, Conv2d) else 1


def layers_of(function: Function) -> list[Layer]:
    """In order."""
    return [Layer(call) for call in function if _is_layer(call)]


def _is_layer(call: Call) -> bool:
    if not isinstance(call.op, (Conv2d, MatMul)):
        return False
    x, w, *bias = call.operands
    constant = isinstance(w, Const) and all(isinstance(v, Const) for v in bias)
    plain = isinstance(call.op, Conv2d) or (w.type.rank == 2 and x.type.rank >= 2)
    return constant and plain and isinstance(x, Var) and x.type.dtype == w.type.dtype == "float32"


def tensors_for(function: Function, layers: Iterable[Layer]) -> dict[Var, Var]:
    """Each tensor that is to be integers -> the one whose range it shares, itself at first.

    Those that layers read; and what they are made of by calls that only move elements, so that
    these move bytes.
    """
    same: dict[Var, Var] = {layer.x: layer.x for layer in layers}

    def root(v: Var) -> Var:
        while same[v] is not v:
            v = same[v]
        return v

    for call in reversed(function.bindings):
        if call.op.name not in SAME_RANGE or call.outputs[0] not in same:
            continue
        moved = [v for v in call.operands if isinstance(v, Var) and v.type.dtype == "float32"]
        if len(moved) < len(call.operands):
            continue
        for v in moved:
            same.setdefault(v, v)
            same[root(v)] = root(call.output)
    return {v: root(v) for v in same}
