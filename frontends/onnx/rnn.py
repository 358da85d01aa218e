"""LSTM, GRU and RNN, unrolled: a product for all steps at once, then a few calls for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from armlet.compiler.ir import Const, Value

from .emitter import Emitter
from .node import Unsupported
from .registry import handles

#: a longer sequence is not unrolled
MAX_STEPS = 64

Function = Callable[[Value], Value]


@dataclass(frozen=True)
class Activations:
    """The functions of one direction, by ONNX's names and parameters."""

    b: Emitter
    names: tuple[str, ...]
    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    clip: float | None

    def functions(self, first: int, count: int) -> list[Function]:
        """``count`` functions from the ``first`` name on."""
        return [self._function(i) for i in range(first, first + count)]

    def _function(self, index: int) -> Function:
        name = self.names[index].lower()
        plain = {"sigmoid", "tanh", "relu", "softsign", "softplus"}
        scaled = {"leakyrelu": 0.01, "elu": 1.0, "thresholdedrelu": 1.0}
        if name in plain:
            return lambda x: self._call(name, x)
        if name in scaled:
            operator = {"leakyrelu": "leaky_relu", "thresholdedrelu": "thresholded_relu"}
            alpha = self._parameter(self.alphas, index, scaled[name])
            return lambda x: self._call(operator.get(name, name), x, alpha=alpha)
        if name == "hardsigmoid":
            alpha = self._parameter(self.alphas, index, 0.2)
            beta = self._parameter(self.betas, index, 0.5)
            return lambda x: self._call("hard_sigmoid", x, alpha=alpha, beta=beta)
        raise Unsupported(f"{self.names[index]!r} is not supported", attribute="activations")

    def _parameter(self, given: tuple[float, ...], index: int, default: float) -> float:
        """Parameters are listed for the functions that take some, in order."""
        takers = [
            i
            for i, n in enumerate(self.names)
            if n.lower() in ("leakyrelu", "elu", "thresholdedrelu", "hardsigmoid", "affine")
        ]
        place = takers.index(index)
        return given[place] if place < len(given) else default

    def _call(self, operator: str, x: Value, **attributes: float) -> Value:
        if self.clip is not None:
            x = self.b.call("clip", x, min=-self.clip, max=self.clip)
        return self.b.call(operator, x, **attributes)


@dataclass(frozen=True)
class Direction:
    """One direction's weights: transposed, [input, G·H] and [H, G·H]; biases in one row."""

    b: Emitter
    hidden: int
    w: Value
    r: Value
    wb: Value | None
    rb: Value | None

    def gate(self, x: Value, index: int, count: int = 1) -> Value:
        """``count`` gates of a row of them, from ``index`` on."""
        axis = x.type.rank - 1
        return self.b.slice(x, axis, index * self.hidden, count * self.hidden)

    def projected(self, x: Value, state: Value | None) -> Value:
        """``x`` + state · R, where ``x`` has the step's share of the input already."""
        if state is None:
            return x
        return self.b.call("add", x, self.b.call("matmul", state, self.r))


class Recurrence:
    """What the three operators share: unpacking the operands, walking the steps, packing Y."""

    def __init__(
        self,
        b: Emitter,
        gates: int,
        x: Value,
        w: Value,
        r: Value,
        bias: Value | None,
        sequence_lens: Const | None,
        direction: str,
        hidden_size: int | None,
        layout: int,
    ) -> None:
        if direction not in ("forward", "reverse", "bidirectional"):
            raise Unsupported(f"{direction!r} is unknown", attribute="direction")
        self.b, self.gates, self.layout = b, gates, layout
        self.x = b.transpose(x, (1, 0, 2)) if layout else x
        self.steps, self.batch, self.inputs = b.static(self.x, "its number of steps depends on")
        self.backward = {"forward": [False], "reverse": [True]}.get(direction, [False, True])
        directions, rows, self.hidden = b.static(r)
        if directions != len(self.backward) or rows != gates * self.hidden:
            raise Unsupported(f"weights {r.type} do not fit the direction {direction!r}")
        if hidden_size not in (None, self.hidden):
            raise Unsupported(f"{hidden_size} for weights {r.type}", attribute="hidden_size")
        if self.steps == 0:
            raise Unsupported("the sequence is empty")
        if self.steps > MAX_STEPS:
            raise Unsupported(
                f"{self.steps} steps; sequences of at most {MAX_STEPS} are unrolled",
                way_out="split the sequence, and carry the state from part to part",
            )
        if sequence_lens is not None and (sequence_lens.data != self.steps).any():
            raise Unsupported("sequences of different lengths are not supported")
        self.w, self.r, self.bias = w, r, bias

    def direction(self, index: int) -> Direction:
        b, size = self.b, self.gates * self.hidden
        matrix = lambda v: b.transpose(self.part(v, index), (1, 0))  # noqa: E731
        wb = rb = None
        if self.bias is not None:
            row = self.part(self.bias, index)
            wb, rb = b.slice(row, 0, 0, size), b.slice(row, 0, size, size)
        return Direction(b, self.hidden, matrix(self.w), matrix(self.r), wb, rb)

    def part(self, v: Value, index: int) -> Value:
        """Entry ``index`` of the first axis."""
        return self.b.reshape(self.b.slice(v, 0, index, 1), v.type.shape[1:])

    def initial(self, state: Value | None, index: int) -> Value | None:
        """The first state [batch, H] of a direction; None where it is zero."""
        if state is None or (isinstance(state, Const) and not state.data.any()):
            return None
        return self.part(self.b.transpose(state, (1, 0, 2)) if self.layout else state, index)

    def shares(self, d: Direction, bias: Value | None) -> list[Value]:
        """x · W + bias of every step, [batch, G·H], by one product."""
        b = self.b
        rows = b.reshape(self.x, (self.steps * self.batch, self.inputs))
        product = b.call("matmul", rows, d.w)
        if bias is not None:
            product = b.call("add", product, bias)
        return [b.slice(product, 0, t * self.batch, self.batch) for t in range(self.steps)]

    def order(self, index: int) -> list[int]:
        """The steps in the order in which a direction takes them."""
        steps = list(range(self.steps))
        return steps[::-1] if self.backward[index] else steps

    def sequence(self, states: list[list[Value]]) -> Value:
        """Y, [steps, directions, batch, H], of each direction's states in order of time."""
        b, last = self.b, (self.batch, self.hidden)
        columns = [
            b.concat([b.reshape(h, (1, 1, *last)) for h in column], axis=0) for column in states
        ]
        y = b.concat(columns, axis=1)
        return b.transpose(y, (2, 0, 1, 3)) if self.layout else y

    def final(self, states: list[Value]) -> Value:
        """Y_h or Y_c, [directions, batch, H]."""
        b = self.b
        y = b.concat([b.reshape(h, (1, self.batch, self.hidden)) for h in states], axis=0)
        return b.transpose(y, (1, 0, 2)) if self.layout else y


def _activations(
    b: Emitter,
    given: tuple[str, ...] | None,
    default: tuple[str, ...],
    directions: int,
    alphas: tuple[float, ...],
    betas: tuple[float, ...],
    clip: float | None,
) -> Activations:
    names = given or default * directions
    if len(names) != len(default) * directions:
        raise Unsupported(f"{list(names)} for {directions} directions", attribute="activations")
    return Activations(b, names, alphas, betas, clip)


def _sum(b: Emitter, x: Value | None, y: Value | None) -> Value | None:
    return x if y is None else y if x is None else b.call("add", x, y)


@handles("LSTM")
def lstm(
    b: Emitter,
    x: Value,
    w: Value,
    r: Value,
    bias: Value | None = None,
    sequence_lens: Const | None = None,
    initial_h: Value | None = None,
    initial_c: Value | None = None,
    peepholes: Value | None = None,
    *,
    activation_alpha: tuple[float, ...] = (),
    activation_beta: tuple[float, ...] = (),
    activations: tuple[str, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> tuple[Value, Value, Value]:
    if input_forget:
        raise Unsupported("1 is not supported", attribute="input_forget")
    net = Recurrence(b, 4, x, w, r, bias, sequence_lens, direction, hidden_size, layout)
    named = _activations(
        b,
        activations,
        ("Sigmoid", "Tanh", "Tanh"),
        len(net.backward),
        activation_alpha,
        activation_beta,
        clip,
    )
    columns, last_h, last_c = [], [], []
    for index in range(len(net.backward)):
        d = net.direction(index)
        shares = net.shares(d, _sum(b, d.wb, d.rb))
        h, c = net.initial(initial_h, index), net.initial(initial_c, index)
        peeps = None if peepholes is None else net.part(peepholes, index)
        functions = named.functions(3 * index, 3)
        column: dict[int, Value] = {}
        for t in net.order(index):
            h, c = _lstm_step(b, d, shares[t], h, c, peeps, functions)
            column[t] = h
        assert h is not None and c is not None
        columns.append([column[t] for t in range(net.steps)])
        last_h.append(h)
        last_c.append(c)
    return net.sequence(columns), net.final(last_h), net.final(last_c)


def _lstm_step(
    b: Emitter,
    d: Direction,
    share: Value,
    h: Value | None,
    c: Value | None,
    peeps: Value | None,
    functions: list[Function],
) -> tuple[Value, Value]:
    """One step; the gates are in ONNX's order: input, output, forget, cell."""
    f, g, last = functions
    rows = d.projected(share, h)
    i, o, keep, new = (d.gate(rows, k) for k in range(4))

    def peeped(gate: Value, cell: Value | None, k: int) -> Value:
        if peeps is None or cell is None:
            return gate
        return b.call("add", gate, b.call("mul", cell, d.gate(peeps, k)))

    cell = b.call("mul", f(peeped(i, c, 0)), g(new))
    if c is not None:
        cell = b.call("add", b.call("mul", f(peeped(keep, c, 2)), c), cell)
    return b.call("mul", f(peeped(o, cell, 1)), last(cell)), cell


@handles("GRU")
def gru(
    b: Emitter,
    x: Value,
    w: Value,
    r: Value,
    bias: Value | None = None,
    sequence_lens: Const | None = None,
    initial_h: Value | None = None,
    *,
    activation_alpha: tuple[float, ...] = (),
    activation_beta: tuple[float, ...] = (),
    activations: tuple[str, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Value, Value]:
    net = Recurrence(b, 3, x, w, r, bias, sequence_lens, direction, hidden_size, layout)
    named = _activations(
        b,
        activations,
        ("Sigmoid", "Tanh"),
        len(net.backward),
        activation_alpha,
        activation_beta,
        clip,
    )
    columns, final = [], []
    for index in range(len(net.backward)):
        d = net.direction(index)
        shares = net.shares(d, _gru_bias(b, d, bool(linear_before_reset)))
        h = net.initial(initial_h, index)
        functions = named.functions(2 * index, 2)
        column: dict[int, Value] = {}
        for t in net.order(index):
            h = column[t] = _gru_step(b, d, shares[t], h, functions, bool(linear_before_reset))
        assert h is not None
        columns.append([column[t] for t in range(net.steps)])
        final.append(h)
    return net.sequence(columns), net.final(final)


def _gru_bias(b: Emitter, d: Direction, linear_before_reset: bool) -> Value | None:
    """What can be added before the steps: all but R's bias of the hidden gate, if reset first."""
    if d.rb is None or not linear_before_reset:
        return _sum(b, d.wb, d.rb)
    zero = b.const(np.zeros(d.hidden, d.rb.type.dtype))
    return _sum(b, d.wb, b.concat([d.gate(d.rb, 0, 2), zero], axis=0))


def _gru_step(
    b: Emitter,
    d: Direction,
    share: Value,
    h: Value | None,
    functions: list[Function],
    linear_before_reset: bool,
) -> Value:
    """One step; the gates are in ONNX's order: update, reset, hidden."""
    f, g = functions
    bias = d.gate(d.rb, 2) if d.rb is not None and linear_before_reset else None
    if h is None:
        update, new = f(d.gate(share, 0)), d.gate(share, 2)
        if bias is not None:
            new = b.call("add", new, b.call("mul", f(d.gate(share, 1)), bias))
        return b.call("mul", b.call("sub", b.full(share, 1), update), g(new))
    if linear_before_reset:
        product = b.call("matmul", h, d.r)
        gates = b.call("add", d.gate(share, 0, 2), d.gate(product, 0, 2))
        linear = d.gate(product, 2)
        linear = linear if bias is None else b.call("add", linear, bias)
        rest = b.call("mul", f(d.gate(gates, 1)), linear)
    else:
        gates = b.call("add", d.gate(share, 0, 2), b.call("matmul", h, d.gate(d.r, 0, 2)))
        reset = b.call("mul", f(d.gate(gates, 1)), h)
        rest = b.call("matmul", reset, d.gate(d.r, 2))
    update = f(d.gate(gates, 0))
    new = g(b.call("add", d.gate(share, 2), rest))
    return b.call("add", new, b.call("mul", update, b.call("sub", h, new)))


@handles("RNN")
def rnn(
    b: Emitter,
    x: Value,
    w: Value,
    r: Value,
    bias: Value | None = None,
    sequence_lens: Const | None = None,
    initial_h: Value | None = None,
    *,
    activation_alpha: tuple[float, ...] = (),
    activation_beta: tuple[float, ...] = (),
    activations: tuple[str, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> tuple[Value, Value]:
    net = Recurrence(b, 1, x, w, r, bias, sequence_lens, direction, hidden_size, layout)
    named = _activations(
        b,
        activations,
        ("Tanh",),
        len(net.backward),
        activation_alpha,
        activation_beta,
        clip,
    )
    columns, final = [], []
    for index in range(len(net.backward)):
        d = net.direction(index)
        shares = net.shares(d, _sum(b, d.wb, d.rb))
        h = net.initial(initial_h, index)
        (f,) = named.functions(index, 1)
        column: dict[int, Value] = {}
        for t in net.order(index):
            h = column[t] = f(d.projected(shares[t], h))
        assert h is not None
        columns.append([column[t] for t in range(net.steps)])
        final.append(h)
    return net.sequence(columns), net.final(final)
