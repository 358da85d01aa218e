"""What a form costs, in cycles of one core: by record where it was measured, else by estimate.

Records are in seconds and estimates in cycles of a model of the core. The forms of a function
that have both tell how many cycles of the model pass in a second; without any record only
estimates are compared, and the scale does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

from armlet.compiler.ir import Call, TensorType, Var
from armlet.compiler.ir.group import Group
from armlet.compiler.ops import Fusion, Op
from armlet.compiler.records import Records
from armlet.schedules.cpu import template_for
from armlet.schedules.template import moving
from armlet.targets import Target

from .form import Form
from .layouts import in_layout, same_bytes


class Costs:
    """Prices for the ``forms`` of one function."""

    def __init__(
        self, target: Target, records: Records, forms: Iterable[tuple[Call, Form]] = ()
    ) -> None:
        self.target = target
        self._measured: dict[str, float] = {}
        ratios = []
        for call, form in forms:
            if form.op.fusion in _MOVING:
                continue
            group, estimate = _anchor(form.op, tuple(form.operand_types(call)), target)
            seconds = records.seconds(group.workload, target)
            if seconds:
                self._measured[group.workload] = seconds
                ratios.append(math.log(estimate / seconds))
        #: cycles of the model in a second: the geometric mean over all forms with a record
        self.clock = math.exp(math.fsum(ratios) / len(ratios)) if ratios else 0.0

    def form(self, call: Call, form: Form) -> float:
        """Cycles of a form by itself, its operands lying ready."""
        types = tuple(form.operand_types(call))
        if form.op.fusion in (Fusion.VIEW, Fusion.ELEMENTWISE):
            return 0.0  # no kernel, or done on the way in a neighbour's
        if form.op.fusion in _MOVING:
            return moving(self.target, sum(t.bytes for t in (*types, *form.op.infer(types))))
        group, estimate = _anchor(form.op, types, self.target)
        seconds = self._measured.get(group.workload)
        return seconds * self.clock if seconds else estimate

    def transform(self, type: TensorType, have: int, want: int) -> float:
        """Cycles of bringing a value of row-major ``type`` from one layout to another."""
        steps = [layout for layout in (have, want) if layout and not same_bytes(type, layout)]
        if have == want or not steps:
            return 0.0
        size = sum(type.bytes + in_layout(type, layout).bytes for layout in steps)
        return moving(self.target, size)


#: operators that compute next to nothing, and are fused with their neighbours
_MOVING = (Fusion.ELEMENTWISE, Fusion.INJECTIVE, Fusion.VIEW)


@lru_cache(maxsize=1024)
def _anchor(op: Op, types: tuple[TensorType, ...], target: Target) -> tuple[Group, float]:
    """A group of one call, and the estimate of its template with the default config."""
    operands = tuple(Var(f"p{i}", t) for i, t in enumerate(types))
    outputs = tuple(Var(f"y{i}", t) for i, t in enumerate(op.infer(types)))
    call = Call(op, operands, outputs)
    group = Group.of((call,), call, outputs[0])
    target = target.computing(group.dtype)
    template = template_for(group, target)
    return group, template.estimate(group, target, template.default(group, target))
