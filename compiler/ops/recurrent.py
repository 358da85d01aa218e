"""Recurrences over a sequence, one direction each: LSTM, GRU and RNN as ONNX defines them.

The input's share of every step, x W + b, is a product of its own before; an operator adds
the state's share, h R, and applies the cell. All states come out as one tensor, so that the
sequence and the last states are parts of it. A new cell is a subclass with ``gates`` and
``cell``, which is written once for NumPy and for TIR.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from armlet.compiler.ir import TensorType

from .helpers import FLOATS, check, expect_dtype, expect_operands, expect_rank, same_dtype, shape_of
from .lazy import te, tirx
from .registry import OPERATORS, Fusion, Layout, Op, Sample, op

Function = Callable[[Any], Any]
Values = Sequence[Any]

#: the parameters that activations take, in the order of ``alphas`` and ``betas``
PARAMETERS = {
    "leaky_relu": ("alpha",), "elu": ("alpha",), "thresholded_relu": ("alpha",),
    "hard_sigmoid": ("alpha", "beta"),
}  # fmt: skip


def pack_recurrent(r: np.ndarray, block: int) -> np.ndarray:
    """[1, H, G, H] -> [ceil(H / block), H, G, block], as a kernel reads it; zeros beyond H."""
    _, depth, gates, hidden = r.shape
    padded = np.pad(r[0], ((0, 0), (0, 0), (0, -hidden % block)))
    split = padded.reshape(depth, gates, -1, block)
    return np.ascontiguousarray(split.transpose(2, 0, 1, 3))


class Recurrent(Op):
    """Operands share[T,B,G*H], h[B,H], what the cell takes, and r[ceil(H/n),H,G,n].

    The result is [T+1,B,H]: the states in order of time, the given one before them, or after
    them if the sequence is taken in ``reverse``. A cell with a second state has its last one
    after all those.
    """

    half = False  # its kernel is for float32

    reverse: bool = False
    #: operators, their parameters, and the limit of what they are applied to (0: none)
    activations: tuple[str, ...] = ()
    alphas: tuple[float, ...] = ()
    betas: tuple[float, ...] = ()
    clip: float = 0.0

    gates: ClassVar[int]
    #: operands beyond the state h: how many there may be
    extra: ClassVar[tuple[int, int]]
    #: whether there is a second state, the first operand beyond h
    has_cell: ClassVar[bool] = False

    def cell(
        self, x: Values, r: Values, h: Any, extra: Values, f: Sequence[Function]
    ) -> tuple[Any, ...]:
        """The next states from the gates' shares ``x`` and ``r``, and ``extra`` at the unit."""
        raise NotImplementedError

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, 3 + self.extra[0], 3 + self.extra[1])
        same_dtype(self, operands)
        share, h, *others, r = operands
        expect_dtype(self, share, FLOATS)
        expect_rank(self, share, 3)
        expect_rank(self, r, 4)
        expect_rank(self, h, 2)
        (steps, batch, rows), (panels, depth, gates, block) = share.static_shape, r.static_shape
        hidden = depth
        check(
            gates == self.gates and rows == gates * hidden and h.shape == (batch, hidden)
            and panels == -(-hidden // block),
            f"{self.name} cannot combine {share}, {r} and {h}",
        )  # fmt: skip
        if self.has_cell:
            check(others[0].shape == h.shape, f"{self.name} has states {h} and {others[0]}")
        for other in others[self.has_cell :]:
            fits = other.rank == 1 and int(other.shape[0]) % hidden == 0  # type: ignore[arg-type]
            check(fits, f"{self.name} of {hidden} units takes no {other}")
        return (share.with_shape((steps + 1 + self.has_cell, batch, hidden)),)

    def macs(self, operands: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        steps, batch, rows = operands[0].static_shape
        return steps * batch * rows * operands[1].static_shape[1]

    def record(self, index: int) -> Op:
        """The operator of one activation."""
        name = self.activations[index]
        values = zip(PARAMETERS.get(name, ()), (self.alphas[index], self.betas[index]))
        return OPERATORS[name](**dict(values))

    def functions(self, scalar: bool) -> list[Function]:
        """The activations, of expressions (``scalar``) or of arrays."""
        return [self._function(self.record(i), scalar) for i in range(len(self.activations))]

    def _function(self, record: Any, scalar: bool) -> Function:
        apply = record.scalar if scalar else record.evaluate
        if not self.clip:
            return apply  # type: ignore[no-any-return]
        if not scalar:
            return lambda x: apply(np.clip(x, -self.clip, self.clip))
        limit = lambda x, v: tirx.const(v, str(x.expr_ty()))  # noqa: E731
        return lambda x: apply(
            tirx.min(limit(x, self.clip), tirx.max(limit(x, -self.clip), x))
        )  # fmt: skip

    def order(self, steps: int) -> list[tuple[int, int, int]]:
        """(step, row of the state before it, row of the state after it) in turn."""
        if self.reverse:
            return [(t, t + 1, t) for t in reversed(range(steps))]
        return [(t, t, t + 1) for t in range(steps)]

    def parts(
        self, vectors: Sequence[Any], hidden: int, at: Callable[[Any, int], Any]
    ) -> list[Any]:
        """The operands of one axis as a list of one entry for each gate they have."""
        found = []
        for v, size in vectors:
            found += [at(v, i * hidden) for i in range(size // hidden)]
        return found

    def evaluate(self, share: np.ndarray, h: np.ndarray, *others: np.ndarray) -> Any:
        *extra, r = others
        steps, batch, _ = share.shape
        hidden, f = r.shape[1], self.functions(False)
        matrix = r.transpose(1, 2, 0, 3).reshape(hidden, self.gates, -1)[:, :, :hidden]
        y = np.empty((steps + 1 + self.has_cell, batch, hidden), share.dtype)
        y[steps if self.reverse else 0] = h
        cells, fixed = list(extra[: self.has_cell]), extra[self.has_cell :]
        vectors = self.parts([(v, v.size) for v in fixed], hidden, lambda v, i: v[i : i + hidden])
        for t, before, after in self.order(steps):
            x = np.split(share[t], self.gates, -1)

            def product(value: np.ndarray, k: int) -> np.ndarray:
                return np.asarray(value @ matrix[:, k], value.dtype)

            rows = self.products(x, y[before], product, f)
            y[after], *cells = self.cell(x, rows, y[before], [*cells, *vectors], f)
        for c in cells:
            y[steps + 1] = c
        return y

    def products(
        self, x: Sequence[Any], h: Any, product: Callable[[Any, int], Any], f: Sequence[Function]
    ) -> list[Any]:
        """h R for each gate."""
        return [product(h, k) for k in range(self.gates)]

    def compute(self, share: Any, h: Any, *others: Any) -> Any:
        *extra, r = others
        steps, batch, _ = shape_of(share)
        _, hidden, _, block = shape_of(r)
        shape, f = (batch, hidden), self.functions(True)
        states: dict[int, Any] = {steps if self.reverse else 0: h}
        cells, fixed = list(extra[: self.has_cell]), extra[self.has_cell :]

        def product(value: Any, k: int) -> Any:
            j = te.reduce_axis((0, hidden), "j")
            return te.compute(
                shape, lambda b, u: te.sum(value[b, j] * r[u // block, j, k, u % block], axis=j)
            )

        def step(x: list[Any], rows: list[Any], state: Any, held: list[Any], index: int) -> Any:
            def element(*i: Any) -> Any:
                vectors = [(v, shape_of(v)[0]) for v in fixed]
                more = self.parts(vectors, hidden, lambda v, first: v[first + i[1]])
                at = [c[i] for c in held]
                gates, products = [g[i] for g in x], [g[i] for g in rows]
                return self.cell(gates, products, state[i], [*at, *more], f)[index]

            return te.compute(shape, lambda b, u: element(b, u))

        def gate(t: int, k: int) -> Any:
            return te.compute(shape, lambda b, u: share[t, b, k * hidden + u])

        for t, before, after in self.order(steps):
            state, x = states[before], [gate(t, k) for k in range(self.gates)]
            rows = self.products(x, state, product, f)
            states[after] = step(x, rows, state, cells, 0)
            cells = [step(x, rows, state, cells, 1) for _ in cells]
        ordered = [*(states[t] for t in range(steps + 1)), *cells]

        def chosen(t: Any, b: Any, u: Any) -> Any:
            value = ordered[-1][b, u]
            for number in reversed(range(len(ordered) - 1)):
                value = tirx.if_then_else(t <= number, ordered[number][b, u], value)
            return value

        return te.compute((len(ordered), *shape), chosen, name=self.name)

    @classmethod
    def samples(cls) -> list[Sample]:
        return [cls._sample(*row) for row in ((3, 2, 5, False, 0.0), (1, 1, 4, True, 0.5))]

    @classmethod
    def _sample(cls, steps: int, batch: int, hidden: int, reverse: bool, clip: float) -> Sample:
        rng = np.random.default_rng(steps)
        draw: Any = lambda *shape: rng.standard_normal(shape, "f")  # noqa: E731
        names = ("sigmoid", *("tanh",) * (cls.has_cell + 1)) if cls.gates > 1 else ("tanh",)
        zeros = (0.0,) * len(names)
        made: Any = cls
        record = made(reverse, names, zeros, zeros, clip)
        r = pack_recurrent(draw(1, hidden, cls.gates, hidden), 4)
        sizes = [(batch, hidden)] * cls.has_cell + [(3 * hidden,)] * (cls.gates == 4)
        operands = (draw(steps, batch, cls.gates * hidden), draw(batch, hidden))
        return Sample(record, (*operands, *(draw(*s) for s in sizes), r))


@op("lstm", fusion=Fusion.OPAQUE, layout=Layout.PLAIN)
class Lstm(Recurrent):
    """ONNX LSTM of one direction; after h its cell state and, if there are any, peepholes [3H]."""

    gates = 4
    extra = (1, 2)
    has_cell = True

    def cell(
        self, x: Values, r: Values, h: Any, extra: Values, f: Sequence[Function]
    ) -> tuple[Any, ...]:
        c, *peeps = extra
        i, o, keep, new = (a + b for a, b in zip(x, r))
        if peeps:
            i, keep = i + peeps[0] * c, keep + peeps[2] * c
        c = f[0](keep) * c + f[0](i) * f[1](new)
        return f[0](o + peeps[1] * c if peeps else o) * f[2](c), c


@op("gru", fusion=Fusion.OPAQUE, layout=Layout.PLAIN)
class Gru(Recurrent):
    """ONNX GRU of one direction with linear_before_reset; after h, if there is one, R's bias [H]
    of the hidden gate.
    """

    gates = 3
    extra = (0, 1)

    def cell(
        self, x: Values, r: Values, h: Any, extra: Values, f: Sequence[Function]
    ) -> tuple[Any, ...]:
        linear = r[2] + extra[0] if extra else r[2]
        new = f[1](x[2] + f[0](x[1] + r[1]) * linear)
        return (new + f[0](x[0] + r[0]) * (h - new),)


@op("gru_reset_first", fusion=Fusion.OPAQUE, layout=Layout.PLAIN)
class GruResetFirst(Recurrent):
    """ONNX GRU of one direction without linear_before_reset: R's hidden gate is of reset * h."""

    gates = 3
    extra = (0, 0)

    def products(
        self, x: Sequence[Any], h: Any, product: Callable[[Any, int], Any], f: Sequence[Function]
    ) -> list[Any]:
        update, reset = product(h, 0), product(h, 1)
        if isinstance(h, np.ndarray):
            return [update, reset, product(self.kept(x, reset, h, f), 2)]
        kept = te.compute(shape_of(h), lambda *i: self.kept([g[i] for g in x], reset[i], h[i], f))
        return [update, reset, product(kept, 2)]

    def kept(self, x: Sequence[Any], reset: Any, h: Any, f: Sequence[Function]) -> Any:
        """What the hidden gate sees of the state."""
        return f[0](x[1] + reset) * h

    def cell(
        self, x: Values, r: Values, h: Any, extra: Values, f: Sequence[Function]
    ) -> tuple[Any, ...]:
        new = f[1](x[2] + r[2])
        return (new + f[0](x[0] + r[0]) * (h - new),)


@op("rnn", fusion=Fusion.OPAQUE, layout=Layout.PLAIN)
class Rnn(Recurrent):
    """ONNX RNN of one direction."""

    gates = 1
    extra = (0, 0)

    def cell(
        self, x: Values, r: Values, h: Any, extra: Values, f: Sequence[Function]
    ) -> tuple[Any, ...]:
        return (f[0](x[0] + r[0]),)
