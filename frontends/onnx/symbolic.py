"""Arithmetic on shapes with free dimensions, as far as exporters write it.

A ``Symbolic`` is an array of objects, so that NumPy does the work: ``Dim`` has ``+ - * //``.
The result is a constant again where no free dimension is left in it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from armlet.compiler.ir import Dim, Var
from armlet.frontends.emitter import Emitter
from armlet.frontends.operands import FreeDimension, Known, Symbolic, Unsupported

from .node import Node

Evaluator = Callable[[Emitter, Node], Known]
EVALUATORS: dict[str, Evaluator] = {}


def known(b: Emitter, data: np.ndarray) -> Known:
    """A constant, or a ``Symbolic`` where free dimensions remain."""
    objects = np.asarray(data, object)
    if any(isinstance(d, Dim) for d in objects.ravel()):
        return Symbolic(objects)
    return b.const(objects.astype(np.int64))


def is_arithmetic(node: Node) -> bool:
    """Is a shape with free dimensions joined with nothing but shapes and constants?"""
    operands = [v for v in node.operands if v is not None]
    shapes = any(isinstance(v, Symbolic) for v in operands)
    return shapes and not any(isinstance(v, Var) for v in operands)


def evaluates(*operators: str) -> Callable[[Callable[..., np.ndarray]], Callable[..., np.ndarray]]:
    """The function computes these operators on arrays, given the node's attributes too."""

    def register(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        def evaluate(b: Emitter, node: Node) -> Known:
            arrays = [getattr(operand, "data", None) for operand in node.operands]
            return known(b, function(node, *arrays))

        for name in operators:
            EVALUATORS[name] = evaluate
        return function

    return register


@evaluates("Identity")
def identity(node: Node, x: np.ndarray) -> np.ndarray:
    return x


@evaluates("Cast")
def cast(node: Node, x: np.ndarray) -> np.ndarray:
    if node.attributes.get("to") not in (6, 7):
        raise FreeDimension("its result is not an integer, and depends on", Symbolic(x).free)
    return x


@evaluates("Gather")
def gather(node: Node, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return np.take(x, indices.astype(np.int64), axis=node.attributes.get("axis", 0))


@evaluates("Slice")
def slice_(
    node: Node,
    x: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    axes: np.ndarray | None = None,
    steps: np.ndarray | None = None,
) -> np.ndarray:
    if starts.size != 1 or x.ndim != 1:
        raise Unsupported("only a row of dimensions can be sliced")
    step = 1 if steps is None else int(steps.item())
    return x[slice(starts.item(), ends.item(), step)]


@evaluates("Concat")
def concat(node: Node, *parts: np.ndarray) -> np.ndarray:
    return np.concatenate([p.astype(object) for p in parts], axis=node.attributes["axis"])


@evaluates("Squeeze")
def squeeze(node: Node, x: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    return np.squeeze(x, None if axes is None else tuple(axes.tolist()))


@evaluates("Unsqueeze")
def unsqueeze(node: Node, x: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return np.expand_dims(x, tuple(axes.tolist()))


@evaluates("Reshape")
def reshape(node: Node, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return x.reshape(tuple(shape.tolist()))


@evaluates("ReduceProd")
def reduce_prod(node: Node, x: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    product = np.prod(x)
    return np.array([product] if node.attributes.get("keepdims", 1) else product, object)


def _arithmetic(name: str, function: Callable[[Any, Any], Any]) -> None:
    @evaluates(name)
    def compute(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(function(x.astype(object), y.astype(object)), object)


_arithmetic("Add", operator.add)
_arithmetic("Sub", operator.sub)
_arithmetic("Mul", operator.mul)
_arithmetic("Div", operator.floordiv)
