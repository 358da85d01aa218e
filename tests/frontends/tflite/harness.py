"""Small TFLite models, run through the front end and the interpreter beside LiteRT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from armlet.compiler.ir import Module, verify
from armlet.compiler.ops.interpreter import evaluate
from armlet.compiler.passes import pipeline
from armlet.frontends import Report
from armlet.frontends.tflite import reader
from armlet.frontends.tflite.importer import Importer

from .builder import Graph, file_of


def imported(data: bytes, shapes: Mapping[str, Sequence[int]] | None = None) -> Importer:
    path = Path("<memory>")
    importer = Importer(reader.parse(data, path), path, shapes or {})
    importer.run()
    return importer


def load(data: bytes, shapes: Mapping[str, Sequence[int]] | None = None) -> Module:
    return imported(data, shapes).module()


def check(data: bytes) -> Report:
    return imported(data).report()


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype("float32")


class Fed:
    """An operand that is an input of the model."""

    def __init__(self, data: Any) -> None:
        self.data = np.asarray(data)


class Scaled:
    """An operand in integers, with its scale or scales, zero points and their axis."""

    def __init__(self, operand: Any, scale: Any, zero: Any = 0, axis: int = 0) -> None:
        self.operand = operand
        scales = np.atleast_1d(np.float32(scale))
        zeros = np.broadcast_to(np.atleast_1d(zero), scales.shape)
        self.quantization = scales.tolist(), zeros.tolist(), axis


def one(
    kind: str,
    operands: Sequence[Any],
    options: type | None = None,
    dtypes: Sequence[str] = ("float32",),
    **values: Any,
) -> tuple[bytes, list[np.ndarray]]:
    """A model of one operator, and its feeds; arrays are constants, None is not given."""
    graph, feeds, indices = Graph(), [], []
    for operand in operands:
        scaled: dict[str, Any] = {}
        if isinstance(operand, Scaled):
            operand, scaled = operand.operand, {"quantization": operand.quantization}
        if operand is None:
            indices.append(-1)
        elif isinstance(operand, Fed):
            indices.append(graph.input(operand.data.shape, operand.data.dtype.name, **scaled))
            feeds.append(operand.data)
        elif isinstance(operand, tuple):
            indices.append(graph.tensor(operand, variable=True))
        else:
            indices.append(graph.constant(operand, **scaled))
    graph.outputs = graph.op(kind, indices, options=options, dtypes=dtypes, **values)
    return file_of(graph), feeds


#: by whose kernels LiteRT computes: its default delegate's, its own fast ones, its reference ones
KERNELS = {
    "delegate": OpResolverType.AUTO,
    "own": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}


def by_litert(data: bytes, feeds: Sequence[np.ndarray], kernels: str = "own") -> list[np.ndarray]:
    """LiteRT's answer."""
    resolver = KERNELS[kernels]
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    for details, feed in zip(interpreter.get_input_details(), feeds):
        interpreter.set_tensor(details["index"], feed)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def check_like_litert(
    data: bytes, feeds: Sequence[np.ndarray], tolerance: float = 1e-5, kernels: str = "own"
) -> Module:
    """Both answers agree, to ``tolerance`` of the output's range; returns our module."""
    module = load(data)
    verify(module.main)
    named = {p.name: feed for p, feed in zip(module.main.params, feeds, strict=True)}
    with np.errstate(all="ignore"):
        found = evaluate(module.main, named)
    for got, want in zip(found, by_litert(data, feeds, kernels), strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        finite = np.abs(want[np.isfinite(want)].astype("float64"))
        scale = max(1e-6, float(finite.max(initial=0)))
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale)
    return module


def check_same_integers(data: bytes, feeds: Sequence[np.ndarray]) -> None:
    """The imported model and what the passes make of it give LiteRT's integers."""
    module = load(data)
    named = {p.name: feed for p, feed in zip(module.main.params, feeds, strict=True)}
    want = by_litert(data, feeds, "reference")
    for function in (module.main, pipeline.run(module.main)):
        verify(function)
        for got, right in zip(evaluate(function, named), want, strict=True):
            assert (got.shape, got.dtype) == (right.shape, right.dtype)
            np.testing.assert_array_equal(got, right)


def operators(module: Module) -> list[str]:
    return [call.op.name for call in module.main]
