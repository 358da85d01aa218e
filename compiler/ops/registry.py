"""The operator registry: what a record is and how one is declared.

An operator is one class in its family's file:

    @op("leaky_relu", fusion=Fusion.ELEMENTWISE, layout=Layout.ANY)
    class LeakyRelu(Unary):
        '''y = x if x > 0 else alpha * x, elementwise.'''
        alpha: float = 0.01

        def scalar(self, x): return tirx.Select(x > 0, x, x * self.alpha)
        def evaluate(self, x): return np.where(x > 0, x, x * self.alpha)
        samples = unary_samples(...)

The decorator makes it a frozen dataclass (its fields are the attributes) and registers it.
``tests/compiler/ops/test_registry.py`` walks the registry: every record is compared
with an independent answer on the samples that it brings.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from typing_extensions import dataclass_transform

from armlet.compiler.ir import Operator, TensorType


class Fusion(enum.Enum):
    """How an operator may share a kernel with its neighbours (``passes/fuse.py``)."""

    #: output element i depends on element i of each operand (after broadcasting)
    ELEMENTWISE = "elementwise"
    #: an output element reads a known element of each operand: transpose, slice, gather, …
    INJECTIVE = "injective"
    #: many input elements to one; elementwise calls may follow in the same kernel
    REDUCE = "reduce"
    #: convolution, matmul, pooling: elementwise calls may follow in the same kernel
    ANCHOR = "anchor"
    #: several stages; a kernel of its own, which elementwise calls may follow
    OPAQUE = "opaque"
    #: the same bytes under another shape: no kernel at all
    VIEW = "view"


class Layout(enum.Enum):
    """How an operator behaves on channel-blocked data (``[N, C/c, H, W, c]``)."""

    #: works on any layout, as it looks at one element at a time
    ANY = "any"
    #: works on [N, C, H, W] and on [N, C/c, H, W, c] alike: touches the axes 2 and 3 only
    SPATIAL = "spatial"
    #: has a blocked form of its own (``select`` knows it)
    ANCHOR = "anchor"
    #: needs plain row-major data
    PLAIN = "plain"


@dataclass(frozen=True)
class Sample:
    """Operands on which an operator's implementations must agree."""

    op: Op
    operands: tuple[np.ndarray, ...]
    #: relative to the largest magnitude of the answer
    tolerance: float = 1e-5


class Op(Operator):
    """An operator's record: everything that armlet knows of it, in one class."""

    fusion: ClassVar[Fusion]
    layout: ClassVar[Layout]
    #: whether ``--precision fp16`` may have its operands and results in float16; sums over many
    #: elements are in float32 all the same
    half: ClassVar[bool] = True
    #: whether passes look for it, so that of constants it is folded only after them
    late: ClassVar[bool] = False
    #: how many of the last operands are tables, which any element of the result may read anywhere
    tables: ClassVar[int] = 0
    #: () -> iterable of Sample
    samples: ClassVar[Callable[[], Iterable[Sample]]]

    #: compute(self, *tensors): the output(s) as tensor expressions over ``te.Tensor`` operands
    #: of static shape. The stage that does the main work is named "anchor" and a stage that
    #: pads its input "pad": schedule templates look for these names.
    compute: ClassVar[Callable[..., Any]]

    #: evaluate(self, *arrays): the output(s) by NumPy, in the result's dtype: the meaning of
    #: the operator. Callers silence NumPy's floating-point warnings.
    evaluate: ClassVar[Callable[..., Any]]

    def blocked(self, block: int) -> Op | None:
        """The operator that does the same on operands blocked into [N, C/block, H, W, block].

        None where there is none. An operator whose attributes decide overrides this;
        ``select`` knows what becomes of a ``Layout.ANCHOR``.
        """
        return self if self.layout in (Layout.ANY, Layout.SPATIAL) else None

    def macs(self, operands: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Multiply-accumulates of one call; 0 where they do not count."""
        return 0


OPERATORS: dict[str, type[Op]] = {}

T = TypeVar("T", bound=Op)


@dataclass_transform(frozen_default=True)
def op(name: str, fusion: Fusion, layout: Layout) -> Callable[[type[T]], type[T]]:
    """Class decorator: makes the record a frozen dataclass and registers it under ``name``."""

    def register(record: type[T]) -> type[T]:
        if name in OPERATORS:
            raise ValueError(f"operator {name} is declared twice")
        for base in reversed(record.__mro__):
            # attributes may be declared by an abstract base
            if issubclass(base, Op) and "__dataclass_params__" not in vars(base):
                dataclass(frozen=True)(base)
        record.name, record.fusion, record.layout = name, fusion, layout
        OPERATORS[name] = record
        return record

    return register
