"""Older versions of operators brought to the newest form, the only one that handlers know.

A step names its operators and the first opset that no longer needs it; steps run in order.

    @until(13, "Squeeze", "Unsqueeze")
    def axes_to_input(b, node): ...
"""

from __future__ import annotations

import math
from collections.abc import Callable

from armlet.compiler.ir import Const
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import Unsupported

from .node import Node

Step = Callable[[Emitter, Node], None]
#: operator -> (the first opset that needs it no more, step)
STEPS: dict[str, list[tuple[int, Step]]] = {}


#: operators that are another by now
RENAMED = {"Upsample": "Resize"}


def until(version: int, *operators: str) -> Callable[[Step], Step]:
    """Decorator: the step changes nodes of opsets before ``version``."""

    def register(step: Step) -> Step:
        for operator in operators:
            STEPS.setdefault(operator, []).append((version, step))
        return step

    return register


def normalize(node: Node, b: Emitter) -> Node:
    """The node in its newest form (the same object)."""
    if node.domain == "":
        operator = ""
        while operator != node.operator:
            # a step may turn the operator into another, which has steps of its own
            operator = node.operator
            for version, step in STEPS.get(operator, ()):
                if node.version < version and node.operator == operator:
                    step(b, node)
    return node


def _to_input(b: Emitter, node: Node, attribute: str, index: int, dtype: str = "int64") -> None:
    """An attribute that became an input."""
    if attribute in node.attributes:
        node.set_operand(index, b.const(node.attributes.pop(attribute), dtype))


_ALL_VERSIONS = 1 << 30


@until(13, "Squeeze", "Unsqueeze", "ReduceSum")
@until(18, "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2")
@until(18, "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
def axes_to_input(b: Emitter, node: Node) -> None:
    _to_input(b, node, "axes", 1)


@until(11, "Clip")
def clip_bounds_to_inputs(b: Emitter, node: Node) -> None:
    dtype = node.value(0).type.dtype
    _to_input(b, node, "min", 1, dtype)
    _to_input(b, node, "max", 2, dtype)


@until(10, "Slice")
def slice_attributes_to_inputs(b: Emitter, node: Node) -> None:
    for index, name in enumerate(("starts", "ends", "axes"), 1):
        _to_input(b, node, name, index)


@until(11, "Pad")
def pad_attributes_to_inputs(b: Emitter, node: Node) -> None:
    _to_input(b, node, "pads", 1)
    _to_input(b, node, "value", 2, node.value(0).type.dtype)


@until(13, "Split")
def split_to_input(b: Emitter, node: Node) -> None:
    _to_input(b, node, "split", 1)


@until(_ALL_VERSIONS, "Split")
def split_counts_outputs(b: Emitter, node: Node) -> None:
    """Without sizes there are as many parts as outputs."""
    count = node.attributes.setdefault("num_outputs", len(node.outputs))
    if count != len(node.outputs):
        raise Unsupported(f"{count} for {len(node.outputs)} outputs", attribute="num_outputs")


@until(12, "Dropout")
def dropout_ratio_to_input(b: Emitter, node: Node) -> None:
    _to_input(b, node, "ratio", 1, "float32")


@until(14, "BatchNormalization")
def batch_norm_is_spatial(b: Emitter, node: Node) -> None:
    if node.attributes.pop("spatial", 1) != 1:
        raise Unsupported("statistics for each pixel are not supported", attribute="spatial")


@until(13, "Softmax", "LogSoftmax", "Hardmax")
def softmax_of_a_matrix(b: Emitter, node: Node) -> None:
    """The operand was taken as a matrix, cut before ``axis``."""
    x = node.value(0)
    rank = x.type.rank
    axis = b.axis(node.attributes.get("axis", 1), rank)
    node.attributes["axis"] = axis
    if all(d == 1 for d in x.type.shape[axis + 1 :]):
        return
    shape = b.static(x)
    node.operands[0] = b.reshape(x, (math.prod(shape[:axis]), math.prod(shape[axis:])))
    node.attributes["axis"] = 1
    node.finish = lambda y: b.reshape(y, shape)


@until(10, "Upsample")
def upsample_is_resize(b: Emitter, node: Node) -> None:
    _to_input(b, node, "scales", 1, "float32")
    node.operator = RENAMED[node.operator]


@until(11, "Resize")
def resize_without_coordinate_modes(b: Emitter, node: Node) -> None:
    """There were no modes: coordinates were asymmetric; nearest went down, shrinking up."""
    scales = node.operand(1)
    if not isinstance(scales, Const):
        raise Unsupported("its scales are computed from the model's input")
    mode = node.attributes.setdefault("mode", "nearest")
    if mode in ("bilinear", "trilinear"):
        node.attributes["mode"] = "linear"
    shrinks = (scales.data < 1).any()
    if mode == "nearest" and shrinks and (scales.data > 1).any():
        raise Unsupported("nearest that enlarges one axis and shrinks another is not supported")
    node.attributes["nearest_mode"] = "ceil" if shrinks else "floor"
    node.attributes["coordinate_transformation_mode"] = "asymmetric"
    node.operands = [node.operands[0], None, scales]


@until(_ALL_VERSIONS, "Resize")
def resize_drops_empty_inputs(b: Emitter, node: Node) -> None:
    """An input that is not meant may be an empty tensor; roi only serves a mode of its own."""
    for index in (1, 2, 3):
        operand = node.operand(index)
        if isinstance(operand, Const) and operand.data.size == 0:
            node.operands[index] = None
    if node.attributes.get("coordinate_transformation_mode") != "tf_crop_and_resize":
        node.operands[1:2] = [None]


@until(_ALL_VERSIONS, "LSTM", "GRU", "RNN")
def rnn_lengths_of_full_length(b: Emitter, node: Node) -> None:
    """Lengths that are as long as the sequence say nothing."""
    lengths = node.operand(4)
    if isinstance(lengths, Const):
        steps = node.value(0).type.shape[1 if node.attributes.get("layout") else 0]
        if (lengths.data == steps).all():
            node.operands[4] = None
