"""Broadcasting, and the base of every operator that looks at one element at a time.

A record gives ``scalar``, the expression of one output element; ``Elementwise`` makes the
tensor expression of it for any mixture of shapes that broadcast. ``@elementwise(name)``
declares such a record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from typing_extensions import dataclass_transform

from armlet.compiler.ir import Dimension, Shape, TensorType

from .helpers import (
    FLOATS,
    NUMERIC,
    check,
    convert,
    dtype_of,
    edges,
    expect_dtype,
    expect_operands,
    random,
    same_dtype,
    shape_of,
)
from .lazy import te
from .registry import Fusion, Layout, Op, Sample, op

T = TypeVar("T", bound=Op)


def broadcast_shapes(*shapes: Sequence[Dimension]) -> Shape:
    """The shape that ``shapes`` broadcast to by NumPy's rule; ``TypeError`` if they do not.

    A symbolic dimension beside a static one other than 1 must turn out equal to it, so the
    static one is the result.
    """
    rank = max(map(len, shapes), default=0)
    result: list[Dimension] = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            have = result[axis]
            if size == 1 or size == have:
                continue
            fits = have == 1 or isinstance(size, int) != isinstance(have, int)
            shown = " and ".join(f"[{','.join(map(str, s))}]" for s in shapes)
            check(fits, f"shapes {shown} do not broadcast")
            if have == 1 or isinstance(size, int):
                result[axis] = size
    return tuple(result)


def broadcast_index(shape: Sequence[int], index: Sequence[Any]) -> tuple[Any, ...]:
    """Where an operand of ``shape`` is read for the output element ``index``."""
    kept = index[len(index) - len(shape) :]
    return tuple(0 if n == 1 else i for n, i in zip(shape, kept, strict=True))


def broadcast_map(scalar: Callable[..., Any], *tensors: Any, name: str = "map") -> Any:
    """``scalar`` over corresponding elements of tensors that broadcast."""
    shapes = [shape_of(t) for t in tensors]

    def element(*index: Any) -> Any:
        return scalar(*(t[broadcast_index(s, index)] for t, s in zip(tensors, shapes)))

    return te.compute(broadcast_shapes(*shapes), element, name=name)


class Elementwise(Op):
    """One output element depends on one element of each operand."""

    operands: ClassVar[int] = 1
    #: dtypes that the operands may have; they share one
    dtypes: ClassVar[Sequence[str]] = NUMERIC
    #: dtypes that samples try
    sampled: ClassVar[Sequence[str]] = ("float32", "int32", "bool")
    #: dtype of the result where it is not that of the operands
    result: ClassVar[str | None] = None
    #: compute float16 in float32, as the scalar expression is not exact in float16
    widen: ClassVar[bool] = False

    def scalar(self, *elements: Any) -> Any:
        """The output element, of elements that share one dtype."""
        raise NotImplementedError

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, self.operands)
        for operand in operands:
            expect_dtype(self, operand, self.dtypes)
        dtype = same_dtype(self, operands)
        shape = broadcast_shapes(*(t.shape for t in operands))
        return (TensorType(shape, self.result or dtype),)

    def compute(self, *tensors: Any) -> Any:
        return broadcast_map(self.element, *tensors, name=self.name)

    def element(self, *elements: Any) -> Any:
        """``scalar`` with float16 widened where the record asks for it."""
        if not (self.widen and dtype_of(elements[0]) == "float16"):
            return self.scalar(*elements)
        return convert(self.scalar(*(convert(e, "float32") for e in elements)), "float16")


@dataclass_transform(frozen_default=True)
def elementwise(name: str) -> Callable[[type[T]], type[T]]:
    """Declares an elementwise operator: it fuses with anything and works on any layout."""
    return op(name, Fusion.ELEMENTWISE, Layout.ANY)


def _tolerance(single: float, dtype: str) -> float:
    """The tolerance of ``dtype``, from that of float32."""
    return max(single, 2e-3) if dtype == "float16" else single


class Unary(Elementwise):
    """y = f(x); samples come from the class variables."""

    #: attributes of the records that samples try
    settings: ClassVar[Sequence[dict[str, Any]]] = ({},)
    tolerance: ClassVar[float] = 1e-6

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        dtypes = [d for d in cls.sampled if d in cls.dtypes]
        for attributes in cls.settings:
            record = cls(**attributes)
            for dtype in dtypes:
                yield Sample(record, (edges(dtype),), _tolerance(cls.tolerance, dtype))
            for shape in ((), (1,), (3, 17), (2, 1, 5, 3), (1, 2, 3, 1, 16)):
                yield Sample(record, (random(shape, dtypes[0]),), cls.tolerance)


class FloatUnary(Unary):
    """A unary operator on floats only, computed in float32 where they are float16."""

    dtypes = FLOATS
    sampled = ("float32", "float16", "float64")
    widen = True


class Binary(Elementwise):
    """z = f(x, y) with broadcasting; operands of one dtype."""

    operands = 2
    settings: ClassVar[Sequence[dict[str, Any]]] = ({},)
    tolerance: ClassVar[float] = 1e-6

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        dtypes = [d for d in cls.sampled if d in cls.dtypes]
        for attributes in cls.settings:
            record = cls(**attributes)
            for dtype in dtypes:
                special = cls.edges(dtype)
                operands = (special[:, None], special)
                yield Sample(record, operands, _tolerance(cls.tolerance, dtype))
            for x, y in BROADCASTS:
                arrays = (random(x, dtypes[0], 1), random(y, dtypes[0], 2))
                yield Sample(record, arrays, cls.tolerance)

    @classmethod
    def edges(cls, dtype: str) -> np.ndarray:
        """Special values on which the operator is defined, tried against each other."""
        return edges(dtype)


#: pairs of shapes that broadcast in every way that models use
BROADCASTS = (
    ((), ()), ((1,), ()), ((17,), (17,)), ((2, 3, 5), (5,)), ((3, 1), (1, 7)), ((), (2, 3)),
    ((2, 3, 4, 5), (3, 1, 1)), ((1, 1, 1, 16), (2, 3, 4, 1)), ((2, 2, 3, 3, 16), (1, 2, 1, 1, 16)),
)  # fmt: skip
