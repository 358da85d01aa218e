"""What sample data say of float16: layers that leave its range, sums that it is too coarse for.

The function is evaluated in float32. A call stays in float32 where a number that it reads or makes
comes near the largest float16, or where partial sums of a convolution or matrix product may: of K
products they are at most the root of K times the root of the sum of their squares (Cauchy and
Schwarz). Of the others, those add up in float32 whose error would be too large: each addition
rounds a partial sum, which has grown to the root of the sum of the squares so far, so K of them
make an error of u root(K / 6) times that of all (Higham & Mary, SISC 2019).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from armlet.compiler.ir import Call, Const, Function, Value, Var
from armlet.compiler.ops.interpreter import evaluate
from armlet.compiler.ops.matmul import MatMul
from armlet.compiler.ops.nn import Conv2d, ConvTranspose2d
from armlet.compiler.ops.toom_cook import ROUNDOFF
from armlet.compiler.passes.narrow_to_half import HALF, LARGEST, can_narrow

#: how many times larger other data may be than the samples
MARGIN = 4.0
#: of a layer's sums, its root mean square relative to the largest output
LARGEST_ERROR = 1e-2


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


@dataclass(frozen=True)
class Findings:
    """Calls in order; ``wide`` are those whose sums are to be in float32."""

    out: tuple[OutOfRange, ...]
    wide: tuple[Call, ...]


def findings(function: Function, samples: Mapping[str, np.ndarray]) -> Findings:
    """Of the calls that could be in float16 but for their values."""
    values: dict[Value, np.ndarray] = {p: samples[p.name] for p in function.params}
    values.update((c, c.data) for c in function.constants)
    out: dict[Call, OutOfRange] = {}
    wide: dict[Call, None] = {}

    def observe(var: Var, data: np.ndarray) -> None:
        values[var] = data
        call = function.producers[var]
        if data.dtype != np.float32 or not can_narrow(call):
            return
        operands = [values[v] for v in call.operands if v.type.dtype == "float32"]
        largest, count = _largest(data), _products(call)
        norm = _norm(call, operands) if count else 0.0
        reaches = max(*map(_largest, (data, *operands)), math.sqrt(count) * norm)
        if reaches * MARGIN > LARGEST:
            out[call] = OutOfRange(call, reaches)
        elif ROUNDOFF[HALF] * math.sqrt(count / 6) * norm > LARGEST_ERROR * largest:
            if _may_be_wide(call):
                wide[call] = None

    evaluate(function, samples, observe)
    return Findings(tuple(out.values()), tuple(wide))


def _largest(data: np.ndarray) -> float:
    """NaN and infinities of the model's own are in any range."""
    return float(np.abs(data, where=np.isfinite(data), out=np.zeros_like(data)).max(initial=0.0))


def _products(call: Call) -> int:
    """How many products a call adds up."""
    if not isinstance(call.op, (Conv2d, ConvTranspose2d, MatMul)):
        return 0
    left, right = (v.type.static_shape for v in call.operands[:2])
    return left[-1] if isinstance(call.op, MatMul) else math.prod(right[1:])


def _norm(call: Call, operands: list[np.ndarray]) -> float:
    """The largest root of the sum of a result's squared products."""
    x, w = operands[:2]
    with np.errstate(over="ignore", invalid="ignore"):
        return _largest(np.sqrt(call.op.evaluate(x * x, w * w)))  # type: ignore[attr-defined]


def _may_be_wide(call: Call) -> bool:
    return hasattr(call.op, "wide_sums") and isinstance(call.operands[1], Const)
