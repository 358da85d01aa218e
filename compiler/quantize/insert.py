"""Write a recipe into a function: ``quantize`` and ``dequantize`` where it names a tensor.

    %y = conv2d(%x, $w, $b)   ->   %x_quantized = quantize(%x, 0.02, 3) : i8[…]
                                   %x_dequantized = dequantize(%x_quantized, 0.02, 3)
                                   %w = dequantize($w_quantized, $s, 0)
                                   %y = conv2d(%x_dequantized, %w, $b_rounded)

Everyone reads the rounded tensor, so that only its bytes need be in memory; results of the
function stay as they are. ``integer_arithmetic`` makes integer sums of this.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from armlet.compiler.ir import Builder, Call, Function, Value, Var
from armlet.compiler.ir.rewriter import names_of
from armlet.compiler.ops.quantize import Dequantize, Quantize

from .recipe import Recipe, Scaled, Weights

#: ends of names, here and in files
QUANTIZED, DEQUANTIZED = "_quantized", "_dequantized"


def insert(function: Function, recipe: Recipe) -> Function:
    return _Writer(function, recipe).write()


class _Writer:
    def __init__(self, function: Function, recipe: Recipe) -> None:
        self.old, self.recipe = function, recipe
        self.b = Builder(names_of(function))
        self.rounded: dict[Value, Value] = {}

    def write(self) -> Function:
        for param in self.old.params:
            self._round(param, param.name)
        for call in self.old:
            self._call(call)
            for output in call.outputs:
                self._round(output, call.source)
        function = self.b.function(self.old.params, self.old.results, self.old.name)
        return function

    def _round(self, value: Var, source: str) -> None:
        scaled = self.recipe.tensors.get(value.name)
        if scaled is None:
            return
        self.b.source = source
        parts = self._parts(scaled, value.name)
        whole = self.b.call(Quantize(), value, *parts, name=value.name + QUANTIZED)
        self.rounded[value] = self.b.call(
            Dequantize(), whole, *parts, name=value.name + DEQUANTIZED
        )

    def _parts(self, scaled: Scaled, name: str) -> tuple[Value, Value]:
        scale, zero = np.float32(scaled.scale), np.int8(scaled.zero_point)
        return (
            self.b.const(np.asarray(scale), f"{name}_scale"),
            self.b.const(np.asarray(zero), f"{name}_zero_point"),
        )

    def _call(self, call: Call) -> None:
        operands = [self.rounded.get(v, v) for v in call.operands]
        weights = self.recipe.layers.get(call.outputs[0].name)
        if weights is not None:
            self.b.source = call.source
            operands[1] = self._weights(call, weights)
            if weights.bias is not None:
                operands = [*operands[:2], self._bias(call, weights)]
        self.b.bindings.append(replace(call, operands=tuple(operands)))

    def _weights(self, call: Call, weights: Weights) -> Value:
        name = call.operands[1].name
        return self.b.call(
            Dequantize(),
            self.b.const(weights.data, name + QUANTIZED),
            self.b.const(weights.broadcast(), f"{name}_scale"),
            self.b.const(np.zeros((), weights.data.dtype), f"{name}_zero_point"),
            name=name + DEQUANTIZED,
        )

    def _bias(self, call: Call, weights: Weights) -> Value:
        assert weights.bias is not None
        scale = np.float32(self.recipe.tensors[call.operands[0].name].scale) * weights.scale
        bias = weights.bias.astype(np.float32) * scale
        return self.b.const(bias, f"{call.operands[1].name}_bias")
