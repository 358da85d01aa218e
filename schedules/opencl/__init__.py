"""The GPU's templates. ``TEMPLATES`` is tried in order; the last one always applies.

Adding a template is adding its file and its line here.
"""

from __future__ import annotations

from armlet.compiler.ir.group import Group
from armlet.targets.gpu import Gpu

from .conv2d_depthwise import Conv2dDepthwise
from .conv2d_direct import Conv2dDirect
from .conv2d_winograd import Conv2dWinogradTiles
from .generic import Generic
from .matmul import Product
from .template import GpuTemplate, Storages

TEMPLATES: tuple[GpuTemplate, ...] = (
    Conv2dDirect(),
    Conv2dWinogradTiles(),
    Conv2dDepthwise(),
    Product(),
    Generic(),
)


def template_for(group: Group, gpu: Gpu, storage: Storages) -> GpuTemplate:
    """The first template that applies."""
    return next(t for t in TEMPLATES if t.applies(group, gpu, storage))
