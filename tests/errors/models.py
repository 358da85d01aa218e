"""Model files that are wrong, each in one way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F32, I64 = TensorProto.FLOAT, TensorProto.INT64


def info(name: str, shape: Sequence[Any], data_type: int = F32) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, data_type, shape)


def node(operator: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    name = attributes.pop("name", f"the_{operator}")
    return helper.make_node(operator, inputs.split(), outputs.split(), name=name, **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto] = (info("x", (1, 3, 8, 8)),),
    outputs: str = "y",
    weights: dict[str, Any] | None = None,
    opset: int = 17,
    **fields: Any,
) -> onnx.ModelProto:
    initial = [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()]
    results = [helper.make_empty_tensor_value_info(n) for n in outputs.split()]
    graph = helper.make_graph(list(nodes), "graph", list(inputs), results, initial)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **fields)


def weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def sound() -> onnx.ModelProto:
    nodes = [node("Conv", "x w", "c", pads=[1, 1, 1, 1]), node("Relu", "c")]
    return model(nodes, weights={"w": weight(4, 3, 3, 3)})


def one(operator: str, *shapes: Sequence[Any], **attributes: Any) -> onnx.ModelProto:
    """A node whose operands have these shapes."""
    names = [f"x{i}" for i in range(len(shapes))]
    inputs = [info(n, s) for n, s in zip(names, shapes)]
    return model([node(operator, " ".join(names), **attributes)], inputs)


def edited(edit: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    made = sound()
    edit(made)
    return made


def calling(operator: str, domain: str = "", **attributes: Any) -> onnx.ModelProto:
    """A node of that operator on a picture."""
    made = one(operator, (1, 3, 8, 8), domain=domain, **attributes)
    if domain:
        made.opset_import.add(domain=domain, version=1)
    return made


def of_shape(*shape: int) -> onnx.ModelProto:
    return model([node("Relu", "x")], [info("x", shape)])


def two_inputs() -> onnx.ModelProto:
    return one("Add", (1, 4), (1, 4))


def of_many_kernels(count: int) -> onnx.ModelProto:
    """Convolutions in a row, no two alike."""
    tensors = ["x", *(f"t{n}" for n in range(count))]
    nodes = [
        node("Conv", f"{before} w{n}", after, name=f"layer{n}", pads=[n] * 4)
        for n, (before, after) in enumerate(pairwise(tensors))
    ]
    weights = {f"w{n}": weight(4, 4, 2 * n + 1, 2 * n + 1) for n in range(count)}
    return model(nodes, [info("x", (1, 4, 64, 64))], outputs=tensors[-1], weights=weights)


# -- files that are no models ---------------------------------------------------------------------


def cut(part: float) -> bytes:
    """The first part of a sound model's file."""
    data = sound().SerializeToString()
    return data[: min(int(len(data) * part), len(data) - 1)]


def random_bytes() -> bytes:
    return np.random.default_rng(1).bytes(4096)


def another_protobuf() -> bytes:
    return numpy_helper.from_array(weight(4, 4), "w").SerializeToString()


# -- graphs that are not sound --------------------------------------------------------------------


def cyclic() -> onnx.ModelProto:
    nodes = [node("Add", "x b", "a"), node("Relu", "a", "b"), node("Neg", "a")]
    return model(nodes)


def made_twice() -> onnx.ModelProto:
    return model([node("Relu", "x", "y"), node("Neg", "x", "y")])


def listed_twice() -> onnx.ModelProto:
    return model([node("Relu", "x")], [info("x", (2,)), info("x", (2,))])


def condition() -> onnx.ModelProto:
    """A branch that is chosen while the model runs."""
    branches = [
        helper.make_graph(
            [node(operator, "x", f"{operator}_out")],
            operator,
            [],
            [helper.make_empty_tensor_value_info(f"{operator}_out")],
        )
        for operator in ("Relu", "Neg")
    ]
    chosen = node("If", "c", then_branch=branches[0], else_branch=branches[1])
    return model([chosen], [info("x", (2,)), info("c", (), TensorProto.BOOL)])


def loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [node("Identity", "going", "still"), node("Relu", "state", "next")],
        "body",
        [info("i", (), I64), info("going", (), TensorProto.BOOL), info("state", (2,))],
        [info("still", (), TensorProto.BOOL), info("next", (2,))],
    )
    return model([node("Loop", "times  x", body=body)], [info("x", (2,)), info("times", (), I64)])


def sequence_input() -> onnx.ModelProto:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(F32, (2,)))
    return model([node("ConcatFromSequence", "x", axis=0)], [helper.make_value_info("x", kind)])


def of_dtype(data_type: int) -> onnx.ModelProto:
    return model([node("Identity", "x")], [info("x", (2, 2), data_type)])


def sparse() -> onnx.ModelProto:
    made = model([node("Add", "x s")], [info("x", (4,))])
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "s_indices")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    return made


def wrong_attribute_type() -> onnx.ModelProto:
    made = sound()
    made.graph.node[0].attribute.append(helper.make_attribute("strides", 1.5))
    return made


def reshape_count() -> onnx.ModelProto:
    return model([node("Reshape", "x s")], weights={"s": np.array([5, 7])})


def long_weight() -> onnx.ModelProto:
    return edited(lambda m: m.graph.initializer[0].dims.append(7))


def negative_weight() -> onnx.ModelProto:
    return edited(lambda m: m.graph.initializer[0].dims.__setitem__(0, -4))


def unlike_dtypes() -> onnx.ModelProto:
    return model([node("Add", "a b")], [info("a", (2,)), info("b", (2,), I64)])


def too_large() -> onnx.ModelProto:
    shape = np.array([1 << 20, 1 << 20])
    return model([node("Expand", "x s")], [info("x", (1,))], weights={"s": shape})


def unknown_inside() -> onnx.ModelProto:
    nodes = [node("Relu", "x", "a"), node("Frobnicate", "a", "b"), node("Neg", "b")]
    return model(nodes)


def without_data() -> onnx.ModelProto:
    return edited(lambda m: m.graph.initializer[0].ClearField("raw_data"))


# -- weights beside the model ---------------------------------------------------------------------


def external(
    location: str = "weights.bin", size: int | None = None, **entries: str
) -> Callable[[Path], Path]:
    """Writes a model whose weights lie elsewhere; ``size`` cuts that file, 0 leaves it out."""

    def write(folder: Path) -> Path:
        made = sound()
        tensor = made.graph.initializer[0]
        data = tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=value)
        if size != 0:
            (folder / "weights.bin").write_bytes(data[:size])
        path = folder / "external.onnx"
        path.write_bytes(made.SerializeToString())
        return path

    return write
