"""LSTM, GRU and RNN: a product for all steps at once, then one recurrence for each direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from armlet.compiler.ir import Const, Value
from armlet.compiler.ops.recurrent import PARAMETERS
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from .registry import handles

#: ONNX's activations, in lower case, by our names, and the parameters that are usual
ACTIVATIONS: dict[str, tuple[str, float, float]] = {
    "sigmoid": ("sigmoid", 0.0, 0.0),
    "tanh": ("tanh", 0.0, 0.0),
    "relu": ("relu", 0.0, 0.0),
    "softsign": ("softsign", 0.0, 0.0),
    "softplus": ("softplus", 0.0, 0.0),
    "leakyrelu": ("leaky_relu", 0.01, 0.0),
    "elu": ("elu", 1.0, 0.0),
    "thresholdedrelu": ("thresholded_relu", 1.0, 0.0),
    "hardsigmoid": ("hard_sigmoid", 0.2, 0.5),
}


@dataclass(frozen=True)
class Activations:
    """The functions of all directions, by our names and parameters."""

    names: tuple[str, ...]
    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    clip: float

    def attributes(self, first: int, count: int) -> dict[str, Any]:
        """``count`` functions from the ``first`` on, as a recurrence takes them."""
        part = slice(first, first + count)
        return {
            "activations": self.names[part], "alphas": self.alphas[part],
            "betas": self.betas[part], "clip": self.clip,
        }  # fmt: skip


def _activations(
    given: tuple[str, ...] | None,
    default: tuple[str, ...],
    directions: int,
    alphas: tuple[float, ...],
    betas: tuple[float, ...],
    clip: float | None,
) -> Activations:
    """Parameters are listed for the functions that take some, in order."""
    wanted = given or default * directions
    if len(wanted) != len(default) * directions:
        raise Unsupported(f"{list(wanted)} for {directions} directions", attribute="activations")
    for name in wanted:
        if name.lower() not in ACTIVATIONS:
            raise Unsupported(f"{name!r} is not supported", attribute="activations")
    found = [ACTIVATIONS[name.lower()] for name in wanted]
    takers = [i for i, (name, *_) in enumerate(found) if name in PARAMETERS]

    def parameters(listed: tuple[float, ...], usual: int) -> tuple[float, ...]:
        values = [row[usual] for row in found]
        for i, value in zip(takers, listed):
            values[i] = value  # type: ignore[assignment]
        return tuple(float(v) for v in values)

    names = tuple(name for name, *_ in found)
    return Activations(names, parameters(alphas, 1), parameters(betas, 2), float(clip or 0))


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
        if sequence_lens is not None and (sequence_lens.data != self.steps).any():
            raise Unsupported("sequences of different lengths are not supported")
        self.w, self.r, self.bias = w, r, bias

    def part(self, v: Value, index: int) -> Value:
        """Entry ``index`` of the first axis."""
        return self.b.reshape(self.b.slice(v, 0, index, 1), v.type.shape[1:])

    def biases(self, index: int) -> tuple[Value, Value] | None:
        """W's and R's, [G·H] each."""
        if self.bias is None:
            return None
        row, size = self.part(self.bias, index), self.gates * self.hidden
        return self.b.slice(row, 0, 0, size), self.b.slice(row, 0, size, size)

    def initial(self, state: Value | None, index: int) -> Value:
        """The first state [batch, H] of a direction."""
        if state is None:
            return self.b.const(np.zeros((self.batch, self.hidden), self.x.type.dtype))
        return self.part(self.b.transpose(state, (1, 0, 2)) if self.layout else state, index)

    def share(self, index: int, bias: Value | None) -> Value:
        """x · W + bias of every step, [steps, batch, G·H], by one product."""
        b = self.b
        rows = b.reshape(self.x, (self.steps * self.batch, self.inputs))
        product = b.call("matmul", rows, b.transpose(self.part(self.w, index), (1, 0)))
        if bias is not None:
            product = b.call("add", product, bias)
        return b.reshape(product, (self.steps, self.batch, self.gates * self.hidden))

    def recur(
        self,
        operator: str,
        index: int,
        bias: Value | None,
        operands: list[Value],
        f: dict[str, Any],
    ) -> Value:
        """All states of a direction, one after the other."""
        r = self.b.transpose(self.part(self.r, index), (1, 0))
        r = self.b.reshape(r, (1, self.hidden, self.gates, self.hidden))
        share = self.share(index, bias)
        return self.b.call(operator, share, *operands, r, reverse=self.backward[index], **f)

    def sequence(self, states: list[Value]) -> Value:
        """Y, [steps, directions, batch, H]."""
        b, shape = self.b, (self.steps, 1, self.batch, self.hidden)
        parts = [
            b.reshape(b.slice(s, 0, 0 if backward else 1, self.steps), shape)
            for s, backward in zip(states, self.backward)
        ]
        y = b.concat(parts, axis=1)
        return b.transpose(y, (2, 0, 1, 3)) if self.layout else y

    def final(self, states: list[Value]) -> Value:
        """Y_h, [directions, batch, H]."""
        return self.rows(states, [0 if backward else self.steps for backward in self.backward])

    def rows(self, states: list[Value], indices: list[int]) -> Value:
        """One row of each direction's states, [directions, batch, H]."""
        b = self.b
        y = b.concat([b.slice(s, 0, i, 1) for s, i in zip(states, indices)], axis=0)
        return b.transpose(y, (1, 0, 2)) if self.layout else y


def _sum(b: Emitter, biases: tuple[Value, Value] | None) -> Value | None:
    return None if biases is None else b.call("add", *biases)


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
    count = len(net.backward)
    usual = ("Sigmoid", "Tanh", "Tanh")
    named = _activations(activations, usual, count, activation_alpha, activation_beta, clip)
    states = []
    for index in range(count):
        operands = [net.initial(initial_h, index), net.initial(initial_c, index)]
        if peepholes is not None:
            operands.append(net.part(peepholes, index))
        bias = _sum(b, net.biases(index))
        states.append(net.recur("lstm", index, bias, operands, named.attributes(3 * index, 3)))
    cells = net.rows(states, [net.steps + 1] * count)
    return net.sequence(states), net.final(states), cells


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
    count = len(net.backward)
    usual = ("Sigmoid", "Tanh")
    named = _activations(activations, usual, count, activation_alpha, activation_beta, clip)
    states = []
    for index in range(count):
        operands = [net.initial(initial_h, index)]
        biases = net.biases(index)
        bias = _sum(b, biases)
        if linear_before_reset and biases is not None:
            # R's bias of the hidden gate is added before the reset
            w, r = biases
            gates = 2 * net.hidden
            zero = b.const(np.zeros(net.hidden, r.type.dtype))
            bias = b.call("add", w, b.concat([b.slice(r, 0, 0, gates), zero], axis=0))
            operands.append(b.slice(r, 0, gates, net.hidden))
        operator = "gru" if linear_before_reset else "gru_reset_first"
        states.append(net.recur(operator, index, bias, operands, named.attributes(2 * index, 2)))
    return net.sequence(states), net.final(states)


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
    count = len(net.backward)
    named = _activations(activations, ("Tanh",), count, activation_alpha, activation_beta, clip)
    states = []
    for index in range(count):
        operands, bias = [net.initial(initial_h, index)], _sum(b, net.biases(index))
        states.append(net.recur("rnn", index, bias, operands, named.attributes(index, 1)))
    return net.sequence(states), net.final(states)
