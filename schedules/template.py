"""What a schedule template is: one way to make a kernel for some kind of group.

A template writes the kernel's loops for a *config*, a choice for each of its knobs. The
default config comes from arithmetic on the target's registers and caches; ``space`` is
what a tuner may try. ``schedules/cpu/__init__.py`` lists the templates in order of preference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from armlet.compiler.ir.group import Group
from armlet.targets import Target

from .tensor_graph import TensorGraph

Config = Mapping[str, int]


class Template:
    """The base of every template; ``version`` rises when configs change their meaning."""

    name: ClassVar[str]
    version: ClassVar[int] = 1

    def applies(self, group: Group, target: Target) -> bool:
        raise NotImplementedError

    def default(self, group: Group, target: Target) -> Config:
        """A good choice without measuring."""
        return {}

    def space(self, group: Group, target: Target) -> Iterable[Config]:
        """Every config worth measuring."""
        return [self.default(group, target)]

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        """The PrimFunc: buffers of the group's inputs, then of its output."""
        raise NotImplementedError

    def estimate(self, group: Group, target: Target, config: Config) -> float:
        """Cycles of one core, by a roofline of arithmetic and of memory."""
        flops = group.macs / (target.lanes * target.fma_units)
        return max(flops, moving(target, sum(v.type.bytes for v in (*group.inputs, group.output))))


def moving(target: Target, size: int) -> float:
    """Cycles in which ``size`` bytes go through a core that has just met them.

    Half a vector a cycle where they fit L2, an eighth where they come from further away:
    round figures of what cores sustain.
    """
    vectors = size / (4 * target.lanes)
    return max(1.0, vectors * (2 if size <= target.l2_bytes else 8))
