"""The self-test of an artifact: inputs by a formula, and the answers to expect.

``random_array`` repeats ``runtime/src/selftest.c`` bit for bit, so that an artifact carries a seed
instead of its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from armlet.compiler.ir import Var
    from armlet.compiler.plan.plan import Tensor

SEED = 0x41524D4C4554
#: elements that are kept of an output, at most
SAMPLES = 1024


@dataclass(frozen=True)
class Expectation:
    """The elements 0, stride, 2 x stride, … of an output, flattened."""

    stride: int
    #: largest absolute error that is right
    tolerance: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class SelfTest:
    seed: int
    outputs: tuple[Expectation, ...]


def _random_bits(seed: int, index: int, count: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        start = np.uint64(seed) + np.uint64(index) * np.uint64(0xD1342543DE82EF95)
        z = start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def _elements(dtype: str, z: np.ndarray) -> np.ndarray:
    sign = z >> np.uint64(63)
    if dtype == "float16":
        fraction = z >> np.uint64(53) & np.uint64(0x3FF)
        bits = sign << np.uint64(15) | np.uint64(14 << 10) | fraction
        return bits.astype(np.uint16).view(np.float16)
    if dtype.startswith("float"):
        return ((z >> np.uint64(40)) * 2.0**-23 - 1).astype(dtype)
    if dtype in ("int8", "uint8"):
        return (z >> np.uint64(56)).astype(np.uint8).view(dtype)
    return sign.astype(dtype)


def random_array(dtype: str, shape: Sequence[int], index: int = 0, seed: int = SEED) -> np.ndarray:
    """Input number ``index`` of the self-test."""
    return _elements(dtype, _random_bits(seed, index, math.prod(shape))).reshape(shape)


def inputs(tensors: Sequence[Tensor | Var], seed: int = SEED) -> dict[str, np.ndarray]:
    """All inputs of the self-test, by name."""
    return {
        t.name: random_array(t.type.dtype, t.type.static_shape, i, seed)
        for i, t in enumerate(tensors)
    }


def expect(outputs: Sequence[np.ndarray], allowed: Sequence[float], seed: int = SEED) -> SelfTest:
    """A self-test that wants these answers, each within its largest absolute error."""
    pairs = zip(outputs, allowed, strict=True)
    return SelfTest(seed, tuple(_expectation(np.asarray(o), limit) for o, limit in pairs))


def _expectation(output: np.ndarray, allowed: float) -> Expectation:
    flat = output.reshape(-1)
    # odd, so that samples fall on every channel of the usual layouts
    stride = max(1, -(-flat.size // SAMPLES)) | 1
    return Expectation(stride, allowed, tuple(flat[::stride].astype(np.float64).tolist()))
