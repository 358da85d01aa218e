"""What sample data say of float16: which layers leave its range.

The function is evaluated in float32. A call stays in float32 where a number that it reads or makes
comes near the largest float16, or where partial sums of a convolution or matrix product may: of K
products they are at most the root of K times the root of the sum of their squares (Cauchy and
Schwarz).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from armlet.compiler.ir import Call, Function, Value, Var
from armlet.compiler.ops.interpreter import evaluate
from armlet.compiler.ops.matmul import MatMul
from armlet.compiler.ops.nn import Conv2d, ConvTranspose2d
from armlet.compiler.passes.narrow_to_half import LARGEST, can_narrow

#: how many times larger other data may be than the samples
MARGIN = 4.0


@dataclass(frozen=True)
class Half:
    """What a compilation in float16 goes by: ``samples`` by the parameters' names."""

    samples: Mapping[str, np.ndarray] = field(repr=False)
    #: whether a layer out of range is an error, and not computed in float32
    strict: bool = False


@dataclass(frozen=True)
class OutOfRange:
    """A call that float16 is too small for; ``reaches`` is what its numbers or sums may."""

    call: Call
    reaches: float

    def __str__(self) -> str:
        layer = f"layer {self.call.source!r} ({self.call.op.name})"
        return f"{layer} reaches {self.reaches:.3g} on the sample inputs"


def out_of_range(function: Function, samples: Mapping[str, np.ndarray]) -> list[OutOfRange]:
    """The calls that could be in float16 but for their values, in order."""
    values: dict[Value, np.ndarray] = {p: samples[p.name] for p in function.params}
    values.update((c, c.data) for c in function.constants)
    found: dict[Call, OutOfRange] = {}

    def observe(var: Var, data: np.ndarray) -> None:
        values[var] = data
        call = function.producers[var]
        if data.dtype != np.float32 or not can_narrow(call):
            return
        operands = [values[v] for v in call.operands if v.type.dtype == "float32"]
        reaches = max(*map(_largest, (data, *operands)), _sums(call, operands))
        if reaches * MARGIN > LARGEST:
            found[call] = OutOfRange(call, reaches)

    evaluate(function, samples, observe)
    return list(found.values())


def _largest(data: np.ndarray) -> float:
    """NaN and infinities of the model's own are in any range."""
    return float(np.abs(data, where=np.isfinite(data), out=np.zeros_like(data)).max(initial=0.0))


def _sums(call: Call, operands: list[np.ndarray]) -> float:
    """A bound of the partial sums of a call that adds up products."""
    if not isinstance(call.op, (Conv2d, ConvTranspose2d, MatMul)):
        return 0.0
    x, w = operands[:2]
    count = w.shape[-2] if isinstance(call.op, MatMul) and w.ndim > 1 else w.size // w.shape[0]
    with np.errstate(over="ignore", invalid="ignore"):
        squares = call.op.evaluate(x * x, w * w)
        return math.sqrt(count) * _largest(np.sqrt(squares))
