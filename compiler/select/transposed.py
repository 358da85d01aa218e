"""Transposed convolutions as convolutions of their phases and a shuffle (``ops/subpixel.py``).

    %y = conv_transpose2d(%x, $w) {strides=[2,2]}
    ->
    %1 = conv2d(%x, $phases);  %2 = depth_to_space(%1) {blocksize=2};  %y = slice(%2)

The channels of each phase are padded to whole vectors, so that the shuffle moves vectors; the
slice that drops them and crops is free on blocked data where there is nothing to crop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from armlet.compiler.ir import Builder, Call, Const, Function, Value, transform
from armlet.compiler.ops.nn import ConvTranspose2d
from armlet.compiler.ops.shape import Slice
from armlet.compiler.ops.subpixel import subpixel
from armlet.targets import Target


def expand(function: Function, target: Target) -> Function:
    return expand_by(function, lambda dtype: target.computing(dtype).lanes)


def expand_by(function: Function, lanes: Callable[[str], int]) -> Function:
    """``lanes`` gives those of a vector of a dtype."""

    def visit(call: Call, b: Builder) -> list[Value] | None:
        if not isinstance(call.op, ConvTranspose2d):
            return None
        return _expand(call, b, lanes(call.output.type.dtype))

    return transform(function, visit)


def _expand(call: Call, b: Builder, lanes: int) -> list[Value] | None:
    op, (x, w, *rest), y = call.op, call.operands, call.output
    assert isinstance(op, ConvTranspose2d)
    bias = rest[0] if rest else None
    if not isinstance(w, Const) or not isinstance(bias, (Const, type(None))):
        return None
    out = int(y.type.shape[1])  # type: ignore[arg-type]
    extra = -out % lanes if out > lanes else 0
    weights = np.pad(w.data, ((0, 0), (0, extra), (0, 0), (0, 0)))
    form = subpixel(op, x.type.shape, weights, np.pad(bias.data, (0, extra)) if bias else None)
    if form is None:
        return None
    constants = [b.const(form.weight, f"{w.name}@phases")]
    if bias and form.bias is not None:
        constants.append(b.const(form.bias, f"{bias.name}@phases"))
    made = b.call(form.conv, x, *constants, name=f"{y.name}@phases")
    made = b.call(form.shuffle, made, name=f"{y.name}@shuffled")
    if made.type != y.type:
        crop = form.crop or Slice((0,) * 4, y.type.shape, (1,) * 4)
        made = b.call(replace(crop, sizes=y.type.shape), made)
    return [made]
