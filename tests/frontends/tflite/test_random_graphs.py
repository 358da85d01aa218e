"""Random graphs: what the front end and the passes make of them, and what is compiled.

The pixels that a graph's operators exchange reveal a layout that two neighbours see differently.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import armlet
from armlet.compare import difference
from armlet.compiler.ir import verify
from armlet.compiler.ops.interpreter import evaluate
from armlet.compiler.passes import pipeline

from .harness import by_litert, load
from .random_graphs import random_model


def check_import(seed: int, size: int) -> None:
    """The imported function and what the passes make of it give LiteRT's answer."""
    data, x = random_model(seed, size)
    module = load(data)
    wanted = by_litert(data, [x])
    for function in (module.main, pipeline.run(module.main)):
        verify(function)
        found = evaluate(function, {module.main.params[0].name: x})
        for name, right, got in zip(module.outputs, wanted, found, strict=True):
            apart = difference(name, right, got)
            assert apart.within(1e-4), f"seed {seed}: {apart}"


def check_compiled(seed: int, size: int, path: Path) -> None:
    data, x = random_model(seed, size)
    path.write_bytes(data)
    model = armlet.compile(path)
    found = model.run({model.inputs[0].name: x})
    for name, right in zip(found, by_litert(data, [x], delegate=True), strict=True):
        apart = difference(name, right, found[name])
        assert apart.within(1e-4), f"seed {seed}: {apart}"
        assert np.isfinite(right).all()


@pytest.mark.parametrize("seed", range(25))
def test_a_random_graph_means_what_litert_says(seed: int) -> None:
    check_import(seed, 12)


@pytest.mark.parametrize("seed", range(2))
def test_a_random_graph_computes_what_litert_does(seed: int, tmp_path: Path) -> None:
    check_compiled(seed, 8, tmp_path / "random.tflite")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 500))
def test_many_random_graphs_mean_what_litert_says(seed: int) -> None:
    check_import(seed, 25)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(500, 560))
def test_many_random_graphs_compute_what_litert_does(seed: int, tmp_path: Path) -> None:
    check_compiled(seed, 15, tmp_path / "random.tflite")
