"""What the operator families share: checks for ``infer``, tensor-expression helpers, samples.

def infer(self, operands):
    expect_operands(self, operands, 2)
    axis = normalize_axis(self, self.axis, operands[0].rank)

samples = cases(({"axis": 1}, (2, 3), (2, 5)), ({"axis": -1}, (7,), (1,)))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from armlet.compiler.ir import TensorType

from .lazy import te, tirx
from .registry import Op, Sample

FLOATS = ("float16", "float32", "float64")
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = SIGNED + UNSIGNED
NUMERIC = FLOATS + INTEGERS
ALL = (*NUMERIC, "bool")


# -- checks: each raises TypeError with a plain sentence ------------------------------------------


def check(condition: object, message: str) -> None:
    if not condition:
        raise TypeError(message)


def expect_operands(op: Op, operands: Sequence[TensorType], least: int, most: int = 0) -> None:
    """``least`` operands, or between ``least`` and ``most``."""
    most = max(least, most)
    wanted = f"{least}" if least == most else f"{least} to {most}"
    check(
        least <= len(operands) <= most,
        f"{op.name} takes {wanted} operand{'s' * (most > 1)}, not {len(operands)}",
    )


def expect_rank(op: Op, type: TensorType, *ranks: int) -> None:
    wanted = " or ".join(map(str, ranks))
    check(type.rank in ranks, f"{op.name} takes a tensor of {wanted} dimensions, not {type}")


def expect_dtype(op: Op, type: TensorType, allowed: Sequence[str]) -> None:
    check(type.dtype in allowed, f"{op.name} is not defined for {type.dtype}: {type}")


def same_dtype(op: Op, operands: Sequence[TensorType]) -> str:
    """The dtype that all operands have."""
    dtypes = {t.dtype for t in operands}
    shown = ", ".join(map(str, operands))
    check(len(dtypes) == 1, f"{op.name} takes operands of one dtype, not {shown}")
    return operands[0].dtype


def normalize_axis(op: Op, axis: int, rank: int) -> int:
    """``axis`` counted from the front."""
    check(-rank <= axis < rank, f"{op.name} has axis {axis}, but its operand has {rank} axes")
    return axis % rank


def normalize_axes(op: Op, axes: Iterable[int], rank: int) -> tuple[int, ...]:
    """``axes`` counted from the front and sorted; each may be given once."""
    found = sorted(normalize_axis(op, a, rank) for a in axes)
    check(len(set(found)) == len(found), f"{op.name} names an axis twice: {tuple(axes)}")
    return tuple(found)


# -- tensor expressions ---------------------------------------------------------------------------


def shape_of(tensor: Any) -> tuple[int, ...]:
    """The static shape of a ``te.Tensor``."""
    return tuple(int(n) for n in tensor.shape)


def dtype_of(expr: Any) -> str:
    """The dtype of a ``te.Tensor`` or of a scalar expression."""
    return str(expr.dtype if hasattr(expr, "dtype") else expr.expr_ty())


def constant(value: float | int | bool, dtype: str) -> Any:
    """An immediate of ``dtype``; infinities and NaN included."""
    if dtype == "bool":
        return tirx.const(bool(value), "bool")
    return tirx.const(float(value) if dtype in FLOATS else int(value), dtype)


def convert(expr: Any, dtype: str) -> Any:
    """``expr`` as ``dtype``, by C's rules; to bool: is it other than zero."""
    if dtype_of(expr) == dtype:
        return expr
    if dtype == "bool":
        other = tirx.NE(tirx.convert(expr), constant(0, dtype_of(expr)))
        # TIR's comparisons are false of NaN, this one too
        return tirx.Or(other, tirx.isnan(expr)) if dtype_of(expr) in FLOATS else other
    return expr.astype(dtype)


def te_map(scalar: Callable[..., Any], *tensors: Any, name: str = "map") -> Any:
    """``scalar`` over corresponding elements of tensors of one shape."""
    return te.compute(shape_of(tensors[0]), lambda *i: scalar(*(t[i] for t in tensors)), name=name)


# -- samples --------------------------------------------------------------------------------------

#: special values of floats, of which every elementwise operator must keep NumPy's meaning
EDGES = (
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -2.5, math.inf, -math.inf, math.nan, 1e-45, -1e-40,
    1.2e-38, 1e-20, 1e20, -1e20, 3.4e38, -3.4e38, 88.0, -88.0, 89.0, -104.0, 1e-4, 8388609.0,
)  # fmt: skip


def random(shape: Sequence[int], dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """Normal floats, integers in [-9, 9] ([0, 18] unsigned), or coin tosses."""
    rng = np.random.default_rng([seed, *shape])
    if dtype in FLOATS:
        return np.asarray(rng.standard_normal(shape), dtype)
    if dtype == "bool":
        return np.asarray(rng.integers(0, 2, shape), dtype)
    return np.asarray(rng.integers(-9, 10, shape) + 9 * (dtype in UNSIGNED), dtype)


def edges(dtype: str) -> np.ndarray:
    """The special values of a dtype."""
    if dtype in FLOATS:
        with np.errstate(over="ignore"):
            return np.array(EDGES).astype(dtype)
    if dtype == "bool":
        return np.array([False, True])
    limits = np.iinfo(dtype)
    return np.array([0, 1, 2, 3, 7, limits.min, limits.max, limits.max - 1], dtype)


def cases(*rows: Sequence[Any], dtype: str = "float32", tolerance: float = 1e-5) -> Any:
    """``samples`` of a record: each row is its attributes, then its operands.

    An operand is an array, or a shape to fill with ``random`` numbers of ``dtype``.
    """

    def samples(cls: type[Op]) -> Iterator[Sample]:
        for attributes, *operands in rows:
            arrays = tuple(
                o if isinstance(o, np.ndarray) else random(o, dtype, seed)
                for seed, o in enumerate(operands)
            )
            yield Sample(cls(**attributes), arrays, tolerance)

    return classmethod(samples)


def joined(*samples: Any) -> Any:
    """Several ``cases`` as one, such as for several dtypes."""

    def every(cls: type[Op]) -> Iterator[Sample]:
        for part in samples:
            yield from part.__func__(cls)

    return classmethod(every)
