"""The CPU's templates. ``TEMPLATES`` is tried in order; the last one always applies.

Adding a template is adding its file and its line here.
"""

from __future__ import annotations

from armlet.compiler.ir.group import Group
from armlet.targets import Target

from ..template import Template
from .arrange import Arrange
from .attention import AttentionTemplate
from .conv2d_chain import Conv2dChain
from .conv2d_depthwise import Conv2dDepthwise
from .conv2d_depthwise_quads import Conv2dDepthwiseQuads
from .conv2d_direct import Conv2dDirect
from .conv2d_dot import Conv2dDot
from .conv2d_plain import Conv2dPlain
from .conv2d_quads import Conv2dQuads
from .conv2d_winograd import Conv2dWinograd
from .generic import Generic
from .injective import Injective
from .matmul import MatMul
from .pool import Pool
from .recurrent import RecurrentTemplate
from .reduction import Reduction

TEMPLATES: tuple[Template, ...] = (
    Conv2dChain(),
    Conv2dDot(),
    Conv2dDirect(),
    Conv2dQuads(),
    Conv2dWinograd(),
    Conv2dDepthwise(),
    Conv2dDepthwiseQuads(),
    Conv2dPlain(),
    MatMul(),
    AttentionTemplate(),
    RecurrentTemplate(),
    Pool(),
    Arrange(),
    Reduction(),
    Injective(),
    Generic(),
)


def template_for(group: Group, target: Target) -> Template:
    """The first template that applies."""
    return next(t for t in TEMPLATES if t.applies(group, target))
