"""A TFLite file as values: what ``reader`` makes of the bytes, and the importer walks over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Quantization:
    """real = scale * (q - zero_point), of the whole tensor or along ``axis``."""

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int


@dataclass(frozen=True, eq=False)
class SparseAxis:
    """One level of a sparse tensor: all of ``size``, or those that segments and indices name."""

    size: int
    segments: np.ndarray | None = None
    indices: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Sparsity:
    """How the elements of a sparse tensor lie: Smith et al., "Sparse tensors in MLIR" §3."""

    order: tuple[int, ...]
    blocked: tuple[int, ...]
    axes: tuple[SparseAxis, ...]


@dataclass(frozen=True, eq=False)
class Tensor:
    """``shape`` has -1 where a size is free; ``data`` are its bytes, if they are in the file."""

    name: str
    type: str
    shape: tuple[int, ...]
    data: np.ndarray | None
    quantization: Quantization | None = None
    sparsity: Sparsity | None = None
    #: keeps its value from run to run
    is_variable: bool = False


@dataclass(frozen=True, eq=False)
class Operator:
    """``kind`` is the name of a built-in operator, or the code of a custom one.

    Inputs and outputs are indices of tensors; -1 stands for an input that is not given.
    """

    kind: str
    custom: bool
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Graph:
    name: str
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


@dataclass(frozen=True, eq=False)
class ModelFile:
    """``graphs[0]`` is run; others are branches and loops of it."""

    description: str
    graphs: tuple[Graph, ...]

    @property
    def main(self) -> Graph:
        return self.graphs[0]

    def input_names(self) -> tuple[str, ...]:
        return _distinct([self.main.tensors[i].name for i in self.main.inputs], "input")

    def output_names(self) -> tuple[str, ...]:
        return _distinct([self.main.tensors[i].name for i in self.main.outputs], "output")


def _distinct(names: list[str], what: str) -> tuple[str, ...]:
    """The names; where one is empty or comes again, one of its place."""
    found: list[str] = []
    for index, name in enumerate(names):
        while not name or name in found:
            name = f"{name or what}_{index}"
        found.append(name)
    return tuple(found)
