"""The GPU's templates. ``TEMPLATES`` is tried in order; the last one always applies.

Adding a template is adding its file and its line here.
"""

from __future__ import annotations

from armlet.compiler.ir.group import Group
from armlet.targets.gpu import Gpu

from .conv2d_direct import Conv2dDirect
from .generic import Generic
from .template import GpuTemplate, Storages

TEMPLATES: tuple[GpuTemplate, ...] = (
    Conv2dDirect(),
    Generic(),
)


def template_for(group: Group, gpu: Gpu, storage: Storages) -> GpuTemplate:
    """The first template that applies."""
    return next(t for t in TEMPLATES if t.applies(group, gpu, storage))
