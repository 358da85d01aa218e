"""Channels of blocked tensors in another order: what a channel shuffle becomes.

It moves lanes between vectors, which ``schedules/cpu/arrange.py`` does by shuffles.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from armlet.compiler.ir import TensorType

from .blocked import blocks, expect_blocked, pack_array, unpack_array
from .helpers import cases, check, expect_operands, same_dtype, shape_of
from .lazy import te, tirx
from .registry import Fusion, Layout, Op, op


@op("arrange_blocked", fusion=Fusion.ANCHOR, layout=Layout.PLAIN)
class ArrangeBlocked(Op):
    """Output channel i is channel ``order[i]`` of the operands' channels, one after another.

    Operand i holds ``channels[i]`` channels in blocks of its own; the result has blocks of
    ``block``. Its lanes beyond the last channel hold that one again.
    """

    channels: tuple[int, ...]
    order: tuple[int, ...]
    block: int

    def infer(self, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
        expect_operands(self, operands, len(self.channels))
        same_dtype(self, operands)
        for x, channels in zip(operands, self.channels):
            expect_blocked(self, x, channels)
        n, _, *space, _ = operands[0].shape
        fits = all((x.shape[0], *x.shape[2:4]) == (n, *space) for x in operands)
        check(fits, f"{self.name} takes tensors of one height and width")
        inside = all(0 <= i < sum(self.channels) for i in self.order)
        check(inside, f"{self.name} takes channels that {self.channels} do not have")
        held = blocks(len(self.order), self.block)
        return (operands[0].with_shape((n, held, *space, self.block)),)

    def source(self, channel: int) -> tuple[int, int]:
        """(operand, channel of it) of an output channel."""
        ends = itertools.accumulate(self.channels)
        index = self.order[channel]
        operand, end = next((i, end) for i, end in enumerate(ends) if index < end)
        return operand, index - (end - self.channels[operand])

    def compute(self, *tensors: Any) -> Any:
        n, _, height, width, _ = shape_of(tensors[0])

        def element(b: Any, cb: Any, h: Any, w: Any, lane: Any) -> Any:
            value: Any = None
            for i in reversed(range(len(self.order))):
                operand, channel = self.source(i)
                own = shape_of(tensors[operand])[4]
                found = tensors[operand][b, channel // own, h, w, channel % own]
                here = cb * self.block + lane == i
                value = found if value is None else tirx.if_then_else(here, found, value)
            return value

        shape = (n, blocks(len(self.order), self.block), height, width, self.block)
        return te.compute(shape, element, name="anchor")

    def evaluate(self, *arrays: np.ndarray) -> Any:
        plain = np.concatenate([unpack_array(x, c) for x, c in zip(arrays, self.channels)], 1)
        beyond = -len(self.order) % self.block
        return pack_array(plain[:, [*self.order, *self.order[-1:] * beyond]], self.block)

    samples = cases(
        ({"channels": (5, 3), "order": (0, 5, 1, 6, 2, 7), "block": 4},
         (2, 2, 3, 5, 4), (2, 1, 3, 5, 4)),
        ({"channels": (17,), "order": tuple(range(16, -1, -1)), "block": 16}, (1, 2, 2, 3, 16)),
        ({"channels": (24, 20), "order": tuple(range(3, 40, 3)), "block": 8},
         (1, 3, 1, 7, 8), (1, 2, 1, 7, 16)),
    )  # fmt: skip
