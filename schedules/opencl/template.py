"""What a template of GPU kernels is: one way to make the steps of some kind of group.

As the CPU's (``schedules/template.py``), but for a ``Gpu`` and with steps as its result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from armlet.compiler.ir import Value
from armlet.compiler.ir.group import Group
from armlet.targets.gpu import Gpu

from ..template import Config
from .kernel import Scratch, Step
from .storage import Storage

#: how each value that steps pass lies in memory
Storages = Mapping["Value | Scratch", Storage]


class GpuTemplate:
    """The base of every template; ``version`` rises when configs change their meaning."""

    name: ClassVar[str]
    version: ClassVar[int] = 1

    def applies(self, group: Group, gpu: Gpu, storage: Storages) -> bool:
        raise NotImplementedError

    def default(self, group: Group, gpu: Gpu, storage: Storages) -> Config:
        """A good choice without measuring."""
        return {}

    def space(self, group: Group, gpu: Gpu, storage: Storages) -> Iterable[Config]:
        """Every config worth measuring."""
        return [self.default(group, gpu, storage)]

    def build(self, group: Group, gpu: Gpu, storage: Storages, config: Config) -> list[Step]:
        """The group's launches in order; scratch tensors between them are its own."""
        raise NotImplementedError
