"""What a form costs, in cycles of one core: its template's estimate, or a bound by memory."""

from __future__ import annotations

from functools import lru_cache

from armlet.compiler.ir import Call, TensorType, Var
from armlet.compiler.ir.group import Group
from armlet.compiler.ops import Fusion, Op
from armlet.schedules.cpu import template_for
from armlet.schedules.template import moving
from armlet.targets import Target

from .form import Form
from .layouts import in_layout, same_bytes


def form_cycles(call: Call, form: Form, target: Target) -> float:
    """Of a form by itself, its operands lying ready."""
    types = tuple(form.operand_types(call))
    if form.op.fusion is Fusion.VIEW:
        return 0.0
    if form.op.fusion in (Fusion.ELEMENTWISE, Fusion.INJECTIVE):
        return moving(target, sum(t.bytes for t in (*types, *form.op.infer(types))))
    return _anchor_cycles(form.op, types, target)


@lru_cache(maxsize=1024)
def _anchor_cycles(op: Op, types: tuple[TensorType, ...], target: Target) -> float:
    operands = tuple(Var(f"p{i}", t) for i, t in enumerate(types))
    outputs = tuple(Var(f"y{i}", t) for i, t in enumerate(op.infer(types)))
    call = Call(op, operands, outputs)
    group = Group.of((call,), call, outputs[0])
    template = template_for(group, target)
    return template.estimate(group, target, template.default(group, target))


def transform_cycles(type: TensorType, have: int, want: int, target: Target) -> float:
    """Of bringing a value of row-major ``type`` from one layout to another."""
    steps = [layout for layout in (have, want) if layout and not same_bytes(type, layout)]
    if have == want or not steps:
        return 0.0
    return moving(target, sum(type.bytes + in_layout(type, layout).bytes for layout in steps))
