"""What there is to tune in a model: its distinct operators, each with every way to compute it.

A task is an operator at given types; equal ones are one task that counts several times. Its
forms are those that ``select`` knows (blocked, Winograd, packed, …), each a workload of its
own, so that the search chooses the algorithm along with its knobs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from armlet.compiler.build import SELECT, prepare
from armlet.compiler.ir import Builder, Call, Const, Module
from armlet.compiler.ir.group import Group
from armlet.compiler.ir.parser import parse_function
from armlet.compiler.ops import OPERATORS, Fusion, Op
from armlet.compiler.records import Record, Records
from armlet.compiler.select.choose import choose
from armlet.compiler.select.form import Form
from armlet.compiler.select.forms import forms
from armlet.compiler.select.transposed import expand
from armlet.schedules.cpu import TEMPLATES, template_for
from armlet.schedules.template import Template
from armlet.targets import Target

from .runner import Workload


@dataclass(frozen=True, eq=False)
class Point:
    """One way to make the kernel of a workload; ``record`` says how and has no seconds yet."""

    workload: Workload
    template: Template
    record: Record
    #: whether this is what the workload gets without tuning
    default: bool


@dataclass(frozen=True)
class Task:
    """``workloads[0]`` is the form that is used without tuning."""

    name: str
    workloads: tuple[Workload, ...]
    count: int = 1

    def points(self, target: Target) -> list[Point]:
        """The default of each form in order, then everything else."""
        found = [p for w in self.workloads for p in points_of(w, target)]
        return sorted(found, key=lambda p: not p.default)


def points_of(workload: Workload, target: Target) -> Iterator[Point]:
    """Every config of every template that applies; the last template is for what no other does."""
    group, usual = workload.group, template_for(workload.group, target)
    for template in TEMPLATES:
        if template is not usual and (
            template is TEMPLATES[-1] or not template.applies(group, target)
        ):
            continue
        default = dict(template.default(group, target))
        others = [dict(c) for c in template.space(group, target) if dict(c) != default]
        for config in [default, *others]:
            record = Record(
                target.fingerprint, group.workload, template.name, template.version, config, None
            )
            is_default = template is usual and config is default
            yield Point(workload, template, record, is_default)


def workload_of(call: Call, form: Form) -> Workload:
    """A form by itself, with what the model holds as constants marked."""
    builder = Builder(source=call.source)
    types = form.operand_types(call)
    operands = [builder.param(f"p{i}", t) for i, t in enumerate(types)]
    assert isinstance(form.op, Op)
    builder.multi(form.op, *operands)
    (made,) = builder.bindings
    given = len(form.operands)
    constants = tuple(
        i for i in range(len(types)) if i >= given or isinstance(call.operands[i], Const)
    )
    return Workload(Group.of([made], made), constants)


def group_of(workload: str) -> Group:
    """The group that a record's workload describes."""
    head, _, result = workload.rpartition(" : ")
    name, _, rest = head.partition("(")
    operands, _, attributes = rest.partition(")")
    types = re.findall(r"\w+\[[^\]]*\]", operands)
    results = re.findall(r"\w+\[[^\]]*\]", result)
    params = ", ".join(f"%p{i}: {t}" for i, t in enumerate(types))
    read = ", ".join(f"%p{i}" for i in range(len(types)))
    made = ", ".join(f"%y{i}" for i in range(len(results)))
    shown = result if len(results) == 1 else f"({result})"
    function = parse_function(
        f"def record({params}) -> {shown} {{\n"
        f"  {made} = {name}({read}){attributes} : {result}\n  return {made}\n}}\n",
        OPERATORS,
    )
    (call,) = function.bindings
    return Group.of([call], call)


def tasks_of(module: Module, target: Target) -> list[Task]:
    """The tasks of a model that have more than one point."""
    stages = dict(prepare(module, target, records=Records()))
    names = list(stages)
    function = expand(stages[names[names.index(SELECT) - 1]], target.lanes)
    chosen = choose(function, target, Records())
    found: dict[tuple[str, ...], Task] = {}
    for call in function.bindings:
        ways = [chosen[call], *(f for f in forms(call, target) if f is not chosen[call])]
        anchors = [f for f in ways if f.op.fusion in (Fusion.ANCHOR, Fusion.REDUCE)]
        if not anchors or anchors[0] is not chosen[call]:
            continue
        made = {w.group.workload: w for w in (workload_of(call, f) for f in anchors)}
        key = tuple(made)
        known = found.get(key) or Task(call.source, tuple(made.values()), 0)
        found[key] = replace(known, count=known.count + 1)
    return [t for t in found.values() if len(t.points(target)) > 1]
