"""Write a quantised model as an ONNX file: the source's, with integers where a recipe says so.

    Conv(X, W, B) -> Y    ->    QuantizeLinear(X) -> X_quantized
                                DequantizeLinear(X_quantized) -> X_dequantized
                                DequantizeLinear(W_quantized), DequantizeLinear(B_quantized)
                                Conv(X_dequantized, …) -> Y

Layers are those of the canonical function, into whose weights batch normalisations and the like
are folded; as values keep their names, a layer takes the place of the node that makes its result,
and what nobody reads then is left out. The rest of the file stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from armlet.compiler.ir import Call, Const, Function
from armlet.compiler.link.publish import writing
from armlet.compiler.ops.nn import Conv2d
from armlet.compiler.quantize.insert import DEQUANTIZED, QUANTIZED
from armlet.compiler.quantize.layers import Layer, layers_of
from armlet.compiler.quantize.recipe import Recipe, Weights
from armlet.errors import QuantizationError

#: the first version with a scale for each channel, and that with such numbers
OPSETS = {"int8": 13, "int16": 21}


def names_in(model: onnx.ModelProto) -> set[str]:
    """Of the tensors that nodes of the main graph make, and of its inputs."""
    graph = model.graph
    return {i.name for i in graph.input} | {name for node in graph.node for name in node.output}


def can_write(layer: Layer, function: Function, names: set[str]) -> bool:
    """Whether the file has the tensors between which the layer lies."""
    return layer.x.name in names and result_of(layer, function, names) is not None


def result_of(layer: Layer, function: Function, names: set[str]) -> tuple[str, Const | None] | None:
    """The tensor that a layer makes, which may be its sum with a constant; and that constant."""
    output = layer.call.output
    if output.name in names:
        return output.name, None
    readers: list[Call] = function.readers.get(output, [])
    if len(readers) != 1 or readers[0].op.name != "add" or output in function.results:
        return None
    (other,) = (v for v in readers[0].operands if v is not output)
    known = isinstance(other, Const) and readers[0].output.name in names
    return (readers[0].output.name, other) if known else None  # type: ignore[return-value]


def read(path: Path, dtype: str = "int8") -> onnx.ModelProto:
    """The file at the version of ONNX that has integers of that kind, or a later one."""
    model, needed = onnx.load(str(path)), OPSETS[dtype]
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), needed)
    if opset >= needed:
        return model
    try:
        return onnx.version_converter.convert_version(model, needed)
    except Exception as error:  # it is C++ and has no exceptions of its own
        raise QuantizationError(
            f"{dtype} with scales of channels needs ONNX's opset {needed}, and from {opset} it "
            f"cannot be converted: {str(error).splitlines()[0]}",
            where=str(path),
            way_out=f"export it with opset {needed}, or give the precision to armlet compile",
        ) from None


def write(
    model: onnx.ModelProto, function: Function, recipe: Recipe, output: Path, every: bool = False
) -> None:
    """``model`` is what ``read`` made of the source, and is changed.

    ``function`` is what the recipe is for; with ``every`` its layers in floats are written, too.
    """
    _Writer(model, function, recipe, every).write()
    onnx.checker.check_model(model)
    with writing(output) as file:
        file.write(model.SerializeToString())


class _Writer:
    def __init__(
        self, model: onnx.ModelProto, function: Function, recipe: Recipe, every: bool
    ) -> None:
        self.graph, self.function, self.recipe = model.graph, function, recipe
        names = names_in(model)
        self.layers: dict[str, tuple[Layer, Const | None]] = {}
        for layer in layers_of(self.function):
            found = result_of(layer, self.function, names)
            if found and (layer.name in recipe.layers or every):
                self.layers[found[0]] = layer, found[1]
        self.taken = names | {i.name for i in self.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []

    def write(self) -> None:
        initial = {i.name for i in self.graph.initializer}
        for value in self.graph.input:
            if value.name not in initial:
                self._round(value.name)
        for node in self.graph.node:
            layers = [self.layers[name] for name in node.output if name in self.layers]
            if layers:
                self._layer(*layers[0], node)
            else:
                self.nodes.append(node)
            for name in node.output:
                self._round(name)
        rounded = set(self.recipe.tensors)
        for node in self.nodes:
            if node.op_type != "QuantizeLinear" or not node.output[0].endswith(QUANTIZED):
                node.input[:] = [n + DEQUANTIZED if n in rounded else n for n in node.input]
        del self.graph.node[:]
        self.graph.node.extend(_needed(self.nodes, [o.name for o in self.graph.output]))
        read = set(_read(self.graph.node)) | {o.name for o in self.graph.output}
        kept = [i for i in self.graph.initializer if i.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)

    def _constant(self, data: Any, name: str) -> str:
        unique, number = name, 0
        while unique in self.taken:
            number += 1
            unique = f"{name}_{number}"
        self.taken.add(unique)
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(data), unique))
        return unique

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def _round(self, name: str) -> None:
        scaled = self.recipe.tensors.get(name)
        if scaled is None:
            return
        scale = self._constant(np.float32(scaled.scale), f"{name}_scale")
        zero = self._constant(np.int8(scaled.zero_point), f"{name}_zero_point")
        self._node("QuantizeLinear", [name, scale, zero], name + QUANTIZED)
        self._node("DequantizeLinear", [name + QUANTIZED, scale, zero], name + DEQUANTIZED)

    def _layer(self, layer: Layer, added: Const | None, node: onnx.NodeProto) -> None:
        weights = self.recipe.layers.get(layer.name)
        if weights is None:
            operands = [self._constant(v.data, v.name) for v in _own(layer)]
        else:
            operands = self._weights(layer, weights)
        result = node.output[0]
        inputs, op = [layer.x.name, *operands], layer.call.op
        if isinstance(op, Conv2d):
            self.nodes.append(
                helper.make_node(
                    "Conv", inputs, [result], name=layer.source, strides=op.strides, pads=op.pads,
                    dilations=op.dilations, group=op.group,
                    kernel_shape=layer.weight.data.shape[2:],
                )
            )  # fmt: skip
        elif added is None:
            self._node("MatMul", inputs, result)
        else:
            product = self._node("MatMul", inputs, f"{result}_product")
            self._node("Add", [product, self._constant(added.data, added.name)], result)

    def _weights(self, layer: Layer, weights: Weights) -> list[str]:
        name = layer.weight.name
        scale = self._constant(weights.scale, f"{name}_scale")
        zero = self._constant(
            np.zeros(len(weights.scale), weights.data.dtype), f"{name}_zero_point"
        )
        data = self._constant(weights.data, name + QUANTIZED)
        made = [self._dequantized([data, scale, zero], data, weights.axis)]
        if weights.bias is None:
            return [*made, *(self._constant(v.data, v.name) for v in _own(layer)[1:])]
        x = self.recipe.tensors[layer.x.name]
        units = self._constant(np.float32(x.scale) * weights.scale, f"{name}_bias_scale")
        data = self._constant(weights.bias, f"{name}_bias{QUANTIZED}")
        return [*made, self._dequantized([data, units], data, 0)]

    def _dequantized(self, inputs: list[str], name: str, axis: int) -> str:
        return self._node("DequantizeLinear", inputs, f"{name}{DEQUANTIZED}", axis=axis)


def _own(layer: Layer) -> list[Const]:
    return [v for v in (layer.weight, layer.bias) if v is not None]


def _read(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """Every name that nodes read, in graphs inside them too."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _read(graph.node)
                yield from (o.name for o in graph.output)


def _needed(nodes: list[onnx.NodeProto], outputs: list[str]) -> list[onnx.NodeProto]:
    """Without those whose results nobody reads."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(_read([node]))
    return kept[::-1]
