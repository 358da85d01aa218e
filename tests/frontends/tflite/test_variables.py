"""Models that keep state in resource variables, step by step beside LiteRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tflite
from ai_edge_litert.interpreter import Interpreter

from armlet import api
from armlet.compiler.ops.interpreter import evaluate
from armlet.errors import UnsupportedModelError
from armlet.reference import reference_of, starts

from .builder import Graph, file_of
from .harness import load, random


def _handle(graph: Graph) -> int:
    (handle,) = graph.op("VAR_HANDLE", [], [()], tflite.VarHandleOptions, ["RESOURCE"],
                         shared_name="total", container="")  # fmt: skip
    return handle


def _assign(graph: Graph, handle: int, value: int) -> None:
    graph.op("ASSIGN_VARIABLE", [handle, value], [], tflite.AssignVariableOptions, [])


def running_sum() -> bytes:
    """y = x + 2 * (the sum of all before), from 1 to 6 on."""
    first, main = Graph(), Graph()
    _assign(first, _handle(first), first.constant(np.arange(1, 7, dtype="f").reshape(2, 3)))
    x = main.input((2, 3), name="x")
    main.op("CALL_ONCE", [], [], tflite.CallOnceOptions, [], init_subgraph_index=1)
    handle = _handle(main)
    (before,) = main.op("READ_VARIABLE", [handle], [(2, 3)], tflite.ReadVariableOptions)
    (after,) = main.op("ADD", [x, before], [(2, 3)], tflite.AddOptions)
    _assign(main, handle, after)
    main.outputs = main.op("ADD", [after, before], [(2, 3)], tflite.AddOptions)
    return file_of(main, first)


def test_a_variable_is_an_input_and_an_output() -> None:
    data = running_sum()
    module = load(data)
    state = starts(module)
    assert [p.name for p in module.main.params] == ["x", "total"]
    assert module.outputs[1:] == ("total/next",)
    assert state["total"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert "variable 'total' is an input, 1.0 at first" in module.metadata["notes"][0]
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    for step in range(4):
        x = random(2, 3, seed=step)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        want = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        got, state["total"] = evaluate(module.main, {"x": x, **state})
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_the_reference_knows_the_next_value(tmp_path: Path) -> None:
    path = tmp_path / "sum.tflite"
    path.write_bytes(running_sum())
    module = api.load(path)
    feeds = {"x": random(2, 3), **starts(module)}
    reference = reference_of(module)
    for _ in range(2):
        found = reference.run(feeds)
        np.testing.assert_allclose(found["total/next"], feeds["x"] + feeds["total"], rtol=1e-6)


def test_a_start_that_is_computed_is_refused() -> None:
    first, main = Graph(), Graph()
    handle = _handle(first)
    (read,) = first.op("READ_VARIABLE", [handle], [(2,)], tflite.ReadVariableOptions)
    _assign(first, handle, read)
    x = main.input((2,))
    main.op("CALL_ONCE", [], [], tflite.CallOnceOptions, [], init_subgraph_index=1)
    main.outputs = main.op("RELU", [x])
    with pytest.raises(UnsupportedModelError, match="read before it has a value"):
        load(file_of(main, first))
