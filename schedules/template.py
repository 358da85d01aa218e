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

#: cycles of a vector that comes from L2, or from beyond it
L2_CYCLES, MEMORY_CYCLES = 1.5, 4.5
#: the part of the shorter of arithmetic and memory traffic that the longer does not hide
EXPOSED = 0.3


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

    def features(self, group: Group, target: Target, config: Config) -> dict[str, float]:
        """What the estimate knows of a config, by names that templates share: for learning."""
        return {}

    def build(self, graph: TensorGraph, target: Target, config: Config) -> Any:
        """The PrimFunc: buffers of the group's inputs, then of its output."""
        raise NotImplementedError

    def estimate(self, group: Group, target: Target, config: Config) -> float:
        """Cycles of one core, by a roofline of arithmetic and of memory."""
        flops = group.macs / (target.lanes * target.fma_units)
        read = sum(v.type.bytes for v in group.inputs)
        return roofline(target, flops, read, group.output.type.bytes)


def moving(target: Target, size: float) -> float:
    """Cycles in which ``size`` bytes go through a core that has just met them.

    What fits L2 twice is there still; of what is larger the more comes from beyond, the more
    it exceeds L2. The rates are round figures of what cores sustain.
    """
    beyond = min(1.0, max(0.0, size / target.l2_bytes - 0.5))
    vectors = size / target.vector_bytes
    return max(1.0, vectors * ((1 - beyond) * L2_CYCLES + beyond * MEMORY_CYCLES))


def roofline(target: Target, arithmetic: float, read: float, written: float) -> float:
    """Cycles of a kernel that reads and writes so many bytes: most of its waiting is hidden."""
    # a line that is written comes in first and goes out later
    memory = moving(target, read + 2 * written)
    return max(arithmetic, memory) + EXPOSED * min(arithmetic, memory)
