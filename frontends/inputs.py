"""The model's inputs: their types, from the file and the shapes that the user gives."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Union

from armlet.compiler.ir import Dim, Dimension, TensorType
from armlet.errors import ModelShapeError

from .emitter import MAX_ELEMENTS

#: a size, a name that may be shared, or None where the file says neither
Declared = Union[int, str, None]


class InputShapes:
    """Decides every input's shape.

    What the user gives by name comes first, and fixes equal dimension names of other inputs
    too; a free leading dimension becomes 1; the rest stay symbolic. ``declared`` has None in
    place of the dimensions of an input that is no tensor.
    """

    def __init__(
        self,
        declared: Mapping[str, Sequence[Declared] | None],
        shapes: Mapping[str, Sequence[int]],
        where: str,
    ) -> None:
        self.declared = dict(declared)
        self.given = {name: tuple(shape) for name, shape in shapes.items()}
        self.where = where
        self.notes: list[str] = []
        self._sizes: dict[str, int] = {}
        self._texts: dict[str, str] = {}
        for name, shape in self.given.items():
            self._check_given(name, shape)
        self._fix_leading()

    def type(self, name: str, dtype: str) -> TensorType:
        """The type of an input."""
        shape = tuple(self._dimension(name, a, d) for a, d in enumerate(self._declared(name)))
        count = math.prod(d for d in shape if not isinstance(d, Dim))
        if count > MAX_ELEMENTS:
            raise ModelShapeError(
                f"input {name!r} of shape {_shown(shape)} has more than 2^31 elements",
                where=self.where,
                way_out=f"--shape {name}=…",
            )
        return TensorType(shape, dtype)

    def way_out(self, names: Sequence[str]) -> str:
        """The options that fix free dimensions: ``--shape x=1x3x<H>x<W>``, with numbers."""
        options = []
        for name in self.declared:
            shape = [self._dimension(name, a, d) for a, d in enumerate(self._declared(name))]
            if any(str(d) in names for d in shape):
                sizes = (f"<{d}>" if isinstance(d, Dim) else str(d) for d in shape)
                options.append(f"--shape {name}={'x'.join(sizes)}")
        return f"{' '.join(options)}, with numbers for <…>" if options else "--shape NAME=…"

    def _declared(self, name: str) -> Sequence[Declared]:
        return self.declared[name] or ()

    def _check_given(self, name: str, shape: tuple[int, ...]) -> None:
        if name not in self.declared:
            known = ", ".join(map(repr, self.declared)) or "none"
            raise ModelShapeError(
                f"a shape is given for {name!r}, which is no input of the model",
                where=self.where,
                way_out=f"its inputs are {known}",
            )
        if self.declared[name] is None:
            return  # reported as unsupported
        declared = self._declared(name)
        problem = ""
        if any(isinstance(d, bool) or not isinstance(d, int) or d < 1 for d in shape):
            problem = "sizes are integers from 1"
        elif len(shape) != len(declared):
            problem = f"it has {len(declared)} axes"
        elif any(isinstance(d, int) and d != g for d, g in zip(declared, shape)):
            problem = "the model fixes some of its sizes"
        if problem:
            raise ModelShapeError(
                f"input {name!r} cannot have the shape {_shown(shape)}: {problem}",
                where=self.where,
                way_out=f"the model declares {_shown(['?' if d is None else d for d in declared])}",
            )
        for dimension, size in zip(declared, shape):
            if isinstance(dimension, str):
                self._sizes.setdefault(dimension, size)

    def _fix_leading(self) -> None:
        for name in self.declared:
            declared = self._declared(name)
            if name in self.given or not declared or isinstance(declared[0], int):
                continue
            first = declared[0]
            if first is not None and first in self._sizes:
                continue
            if first is not None:
                self._sizes[first] = 1
            self.notes.append(f"the free leading dimension of input {name!r} is taken as 1")

    def _dimension(self, name: str, axis: int, declared: Declared) -> Dimension:
        if name in self.given:
            return self.given[name][axis]
        if isinstance(declared, int):
            if declared < 0:
                raise ModelShapeError(
                    f"axis {axis} of input {name!r} has the size {declared}", where=self.where
                )
            return declared
        if declared is None:
            return 1 if axis == 0 else Dim(self._unique(f"{name}_{axis}"))
        if declared in self._sizes:
            return self._sizes[declared]
        return Dim(self._unique(declared))

    def _unique(self, name: str) -> str:
        """A name that the IR allows, one for each name of the model's."""
        if name not in self._texts:
            base = text = re.sub(r"[^A-Za-z0-9_.]", "_", name)
            if not re.match(r"[A-Za-z_]", base):
                base = text = f"d{base}"
            number = 0
            while text in self._texts.values():
                number += 1
                text = f"{base}_{number}"
            self._texts[name] = text
        return self._texts[name]


def _shown(shape: Sequence[object]) -> str:
    return "x".join(map(str, shape)) or "scalar"
