"""Random graphs: what the front end and the passes make of them, and what is compiled.

The pixels that a graph's operators exchange reveal a layout that two neighbours see differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest

import armlet
from armlet.compare import allowances, difference
from armlet.compiler.ir import verify
from armlet.compiler.ops.interpreter import evaluate
from armlet.compiler.passes import pipeline
from armlet.reference import Arrays

from . import random_integers
from .harness import by_litert, check_same_integers, load
from .random_graphs import random_model


class Answer:
    """LiteRT, on bytes: what ``allowances`` asks how much the answer itself depends on rounding."""

    name = "LiteRT"

    def __init__(self, data: bytes, outputs: tuple[str, ...], kernels: str) -> None:
        self.data, self.outputs, self.kernels = data, outputs, kernels

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        return dict(zip(self.outputs, by_litert(self.data, [*feeds.values()], self.kernels)))

    def values(self, feeds: Mapping[str, np.ndarray], names: Iterable[str]) -> Arrays:
        raise NotImplementedError

    def agrees(self, feeds: Arrays, found: Mapping[str, np.ndarray], seed: int) -> None:
        right = self.run(feeds)
        allowed = allowances(self, feeds, right, 1e-4)
        for name, data in right.items():
            apart = difference(name, data, found[name])
            assert apart.within(allowed[name]), f"seed {seed}: {apart}"


def check_import(seed: int, size: int) -> None:
    """The imported function and what the passes make of it give LiteRT's answer."""
    data, x = random_model(seed, size)
    module = load(data)
    feeds = {module.main.params[0].name: x}
    for function in (module.main, pipeline.run(module.main)):
        verify(function)
        found = dict(zip(module.outputs, evaluate(function, feeds), strict=True))
        Answer(data, module.outputs, kernels="own").agrees(feeds, found, seed)


def check_compiled(seed: int, size: int, path: Path) -> None:
    data, x = random_model(seed, size)
    path.write_bytes(data)
    model = armlet.compile(path)
    feeds = {model.inputs[0].name: x}
    outputs = tuple(o.name for o in model.outputs)
    Answer(data, outputs, kernels="delegate").agrees(feeds, model.run(feeds), seed)


def check_compiled_integers(seed: int, size: int, path: Path) -> None:
    data, x = random_integers.random_model(seed, size)
    path.write_bytes(data)
    model = armlet.compile(path)
    found = model.run({model.inputs[0].name: x})
    for output, right in zip(model.outputs, by_litert(data, [x], "reference"), strict=True):
        np.testing.assert_array_equal(found[output.name], right)


@pytest.mark.parametrize("seed", range(25))
def test_a_random_graph_means_what_litert_says(seed: int) -> None:
    check_import(seed, 12)


@pytest.mark.parametrize("seed", range(2))
def test_a_random_graph_computes_what_litert_does(seed: int, tmp_path: Path) -> None:
    check_compiled(seed, 8, tmp_path / "random.tflite")


@pytest.mark.parametrize("seed", range(20))
def test_a_random_quantised_graph_gives_the_integers_of_litert(seed: int) -> None:
    data, x = random_integers.random_model(seed, 12)
    check_same_integers(data, [x])


def test_a_random_quantised_graph_computes_these_integers(tmp_path: Path) -> None:
    check_compiled_integers(3, 6, tmp_path / "random.tflite")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 500))
def test_many_random_quantised_graphs_give_the_integers_of_litert(seed: int) -> None:
    data, x = random_integers.random_model(seed, 25)
    check_same_integers(data, [x])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(500, 540))
def test_many_random_quantised_graphs_compute_these_integers(seed: int, tmp_path: Path) -> None:
    check_compiled_integers(seed, 15, tmp_path / "random.tflite")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 500))
def test_many_random_graphs_mean_what_litert_says(seed: int) -> None:
    check_import(seed, 25)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(500, 560))
def test_many_random_graphs_compute_what_litert_does(seed: int, tmp_path: Path) -> None:
    check_compiled(seed, 15, tmp_path / "random.tflite")
