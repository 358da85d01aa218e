"""Regions of bytes as layers with a scale for each tensor: what vendors' int8 compilers take.

Canonical IR has sums in int32 and, after them, one factor a channel: what a tensor's integers mean
is gone where nobody but such factors asked. Any scales do that have the same factors, so those
which nothing fixes are 1, and the weights' follow:

    %1 = conv2d(%x, $w, $b) {zero_point=3} : i32     x: scale sx (1 if free), zero point 3
    %y = requantize(%1, $m, 9) : u8             ->   y: scale sy, zero point 9
                                                     w: scales m * sy / sx, b: scales m * sy

``match`` finds a layer by its last call but conversions, ``Graph`` gives all tensors theirs. All is
signed here: of uint8, integers and zero points are 128 less.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from armlet.compiler.ir import Call, Const, Function, Value, Var

from .base import BackEnd, Rejected, Supported

BYTES = ("int8", "uint8")
#: calls that leave bytes as they are, and so their scale and zero point
MOVES = ("reshape", "max_pool2d", "concat")
#: calls in floats between dequantize and quantize that int8 chips have
BETWEEN = ("add", "reduce_mean")


@dataclass(frozen=True, eq=False)
class Layer:
    """One operation on bytes, with what it says of its tensors."""

    #: conv2d, depthwise_conv2d, or the operator's name
    kind: str
    calls: tuple[Call, ...]
    #: attributes are those of this call's operator
    anchor: Call
    inputs: tuple[Value, ...]
    output: Var
    #: the smallest and the largest integer of the output, signed
    limits: tuple[int, int] = (-128, 127)
    #: tensors' zero points, signed, and their scales where these are said
    zeros: dict[Value, int] = field(default_factory=dict)
    scales: dict[Value, float] = field(default_factory=dict)
    #: of convolutions: [O,I,H,W] in int8, int32, and the factors of sums
    weights: np.ndarray | None = None
    bias: np.ndarray | None = None
    factors: np.ndarray | None = None


def match(call: Call, function: Function) -> Layer | str | None:
    """The layer that ends with a call; why there is none; None where the call ends none."""
    op: Any = call.op
    if op.name in ("requantize", "requantize_fixed"):
        return _convolution(call, function)
    if op.name == "quantize":
        return _between(call, function)
    if op.name in MOVES and call.output.type.dtype in BYTES:
        return _move(call)
    return None


def _offset(value: Value) -> int:
    """What makes a tensor's integers signed."""
    return 128 if value.type.dtype == "uint8" else 0


def _number(value: Value) -> float | None:
    return value.data.item() if isinstance(value, Const) and value.data.size == 1 else None


def _limits(op: Any, output: Var) -> tuple[int, int]:
    offset = _offset(output)
    return int(max(-128, op.low - offset)), int(min(127, op.high - offset))


def _convolution(call: Call, function: Function) -> Layer | str:
    between, source = [call], function.producers.get(call.operands[0])  # type: ignore[arg-type]
    while source and source.op.name == "reshape":
        between, source = [source, *between], function.producers.get(source.operands[0])  # type: ignore[arg-type]
    if not source or source.op.name != "conv2d":
        return "its sums are of no convolution"
    if any(not function.has_single_reader(c.output) for c in (source, *between[:-1])):
        return "its sums are read by others, too"
    if not all(isinstance(v, Const) for v in (*source.operands[1:], *call.operands[1:])):
        return "its weights or scales are no constants"
    zero, factors = _number(call.operands[-1]), _factors(call, source)
    if zero is None or factors is None:
        return "its scales differ along another axis than channels"
    x, w, *bias = source.operands
    op: Any = source.op
    depth = w.type.static_shape[1]
    depthwise = depth == 1 and op.group == x.type.shape[1] == source.output.type.shape[1]
    if x.type.dtype not in BYTES or w.type.dtype != "int8":
        return f"it multiplies {x.type.dtype} by {w.type.dtype}, and bytes by int8 are possible"
    if op.group > 1 and not depthwise:
        return f"it convolves in {op.group} groups"
    zeros = {x: op.zero_point - _offset(x), call.output: int(zero) - _offset(call.output)}
    return Layer(
        "depthwise_conv2d" if depthwise else "conv2d", (source, *between), source, (x,),
        call.output, _limits(call.op, call.output), zeros,
        weights=w.data, bias=bias[0].data if bias else None, factors=factors,  # type: ignore[union-attr]
    )  # fmt: skip


def _factors(call: Call, source: Call) -> np.ndarray | None:
    """One factor for each output channel."""
    channels = source.output.type.static_shape[1]
    first, *rest = (v.data for v in call.operands[1:-1] if isinstance(v, Const))
    factor = first.astype(np.float64)
    if rest:  # of requantize_fixed, the shift
        factor = factor * 2.0 ** (-31.0 - rest[0])
    wide = np.broadcast_to(factor, call.operands[0].type.static_shape)
    rows = np.moveaxis(wide, 1, 0).reshape(channels, -1)
    return rows[:, 0] if (rows == rows[:, :1]).all() else None


def _between(call: Call, function: Function) -> Layer | str:
    anchor = function.producers.get(call.operands[0])  # type: ignore[arg-type]
    if anchor is None or anchor.op.name not in BETWEEN:
        return "it is in floats before"
    before = [function.producers.get(v) for v in anchor.operands]  # type: ignore[arg-type]
    if any(c is None or c.op.name != "dequantize" for c in before):
        return "it is of floats"
    inner = [c for c in dict.fromkeys((*before, anchor)) if c is not None]
    for made, reader in [*((c, anchor) for c in inner[:-1]), (anchor, call)]:
        read_elsewhere = any(r is not reader for r in function.readers[made.output])
        if read_elsewhere or made.output in function.results:
            return "others read its floats, too"
    zeros: dict[Value, int] = {}
    scales: dict[Value, float] = {}
    for conversion in (*inner[:-1], call):
        scale, zero = map(_number, conversion.operands[1:])
        value = conversion.output if conversion is call else conversion.operands[0]
        if scale is None or zero is None or value.type.dtype not in BYTES:
            return "it has a scale for each channel, or other integers than bytes"
        zeros[value], scales[value] = int(zero) - _offset(value), scale
    if anchor.op.name == "reduce_mean" and tuple(anchor.op.axes) != (2, 3):  # type: ignore[attr-defined]
        return "a mean over other axes than those of an image"
    if anchor.op.name == "add" and len({v.type.shape for v in anchor.operands}) > 1:
        return "it adds tensors of two shapes"
    return Layer(
        anchor.op.name, (*inner, call), anchor, tuple(c.operands[0] for c in before if c),
        call.output, _limits(call.op, call.output), zeros, scales,
    )  # fmt: skip


def _move(call: Call) -> Layer | str:
    op: Any = call.op
    if any(isinstance(v, Const) for v in call.operands):
        return "it has constants for operands"
    if op.name == "reshape":
        for value in (call.operands[0], call.output):
            if value.type.rank == 4 and value.type.static_shape[2:] != (1, 1):
                return "it reshapes an image, whose channels are last on the chip"
    if op.name == "concat" and op.axis % call.output.type.rank != 1:
        return "it joins along another axis than channels"
    if op.name == "max_pool2d" and tuple(op.dilations) != (1, 1):
        return "it has a dilated window"
    return Layer(op.name, (call,), call, call.operands, call.output)


@dataclass(frozen=True)
class Quantization:
    scale: float
    zero: int


class Graph:
    """The layers of a region, in order, and what its tensors' integers mean."""

    def __init__(self, region: Function) -> None:
        """``ValueError`` if the region is more than layers, or they contradict one another."""
        self.params, self.results = region.params, region.results
        found = [match(call, region) for call in region]
        self.layers = [layer for layer in found if isinstance(layer, Layer)]
        covered = {c for layer in self.layers for c in layer.calls}
        if rest := [c.op.name for c in region if c not in covered]:
            raise ValueError(f"no layers of bytes: {', '.join(rest)}")
        scales = _settled(self.layers, "scales")
        zeros = _settled(self.layers, "zeros")
        values = dict.fromkeys(v for la in self.layers for v in (*la.inputs, la.output))
        self.of = {v: Quantization(scales.get(v, 1.0), int(zeros.get(v, 0))) for v in values}

    def weight_scales(self, layer: Layer) -> np.ndarray:
        """Of a convolution's weights, one a channel; of its bias they are times the input's."""
        assert layer.factors is not None
        scale = self.of[layer.output].scale / self.of[layer.inputs[0]].scale
        return (layer.factors * scale).astype(np.float32)


def _settled(layers: Iterable[Layer], what: str) -> dict[Value, float]:
    """What layers say of values, and what follows of those that only move them."""
    layers = list(layers)
    known: dict[Value, float] = {}
    for layer in layers:
        for value, number in getattr(layer, what).items():
            if known.setdefault(value, number) != number:
                raise ValueError(f"{value} has two {what}: {known[value]} and {number}")
    moves = [layer for layer in layers if layer.kind in MOVES]
    changed = True
    while changed:
        changed = False
        for layer in moves:
            values = (*layer.inputs, layer.output)
            said = {known[v] for v in values if v in known}
            if len(said) > 1:
                raise ValueError(f"{layer.output} joins {what} {sorted(said)}")
            for value in values:
                if said and value not in known:
                    known[value], changed = next(iter(said)), True
    return known


class Int8BackEnd(BackEnd):
    """A back end that takes layers of bytes; each says which of them its chips do."""

    def __init__(self, chip: str = "") -> None:
        super().__init__(chip)
        self._why: dict[Call, str] = {}

    def refuses(self, layer: Layer) -> str:
        """Why the chip does not do a layer; "" if it does."""
        return ""

    def patterns(self, function: Function) -> Iterator[tuple[Call, ...]]:
        self._why = {}
        taken: list[Layer] = []
        for call in function:
            layer = match(call, function)
            reason = layer if isinstance(layer, str) else ""
            if isinstance(layer, Layer):
                reason = self.refuses(layer) or _contradiction([*taken, layer])
                if not reason:
                    taken.append(layer)
                    yield layer.calls
            if reason:
                calls = layer.calls if isinstance(layer, Layer) else (call,)
                self._why.update(dict.fromkeys(calls, reason))

    def query(self, call: Call) -> Supported | Rejected:
        if call in self._why:
            return Rejected(self._why[call])
        if call.op.name == "conv2d" and call.output.type.dtype == "int32":
            return Rejected("its sums are not made bytes again")
        return Rejected(f"{call.op.name} of {call.output.type.dtype} is no layer of bytes")


def _contradiction(layers: list[Layer]) -> str:
    try:
        _settled(layers, "scales")
        _settled(layers, "zeros")
    except ValueError as error:
        return str(error)
    return ""
