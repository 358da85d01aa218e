"""What there is to tune in a model: its distinct operators, each with every way to compute it.

A task is an operator at given types; equal ones are one task that counts several times. Its
forms are those that ``select`` knows (blocked, Winograd, packed, …), each a workload of its
own, so that the search chooses the algorithm along with its knobs. Convolutions that are joined
to one kernel are a task together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from armlet.compiler.build import prepare
from armlet.compiler.cpu_passes import SELECT
from armlet.compiler.ir import Builder, Call, Const, Module, Value
from armlet.compiler.ir.group import Group
from armlet.compiler.ir.parser import parse_function
from armlet.compiler.ops import OPERATORS, Fusion, Op
from armlet.compiler.passes.chain import chain
from armlet.compiler.passes.fuse import fuse
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
    """Every config of every template that applies.

    A chain has one of its own, and the last template is for what no other does.
    """
    group, fingerprint = workload.group, target.fingerprint
    target = target.computing(group.dtype)
    usual = template_for(group, target)
    for template in TEMPLATES:
        alone = group.producers or template is TEMPLATES[-1]
        if template is not usual and (alone or not template.applies(group, target)):
            continue
        default = dict(template.default(group, target))
        others = [dict(c) for c in template.space(group, target) if dict(c) != default]
        for config in [default, *others]:
            record = Record(
                fingerprint, group.workload, template.name, template.version, config, None
            )
            is_default = template is usual and config is default
            yield Point(workload, template, record, is_default)


def point_of(record: Record, target: Target) -> Point | None:
    """What a record speaks of, if its operator and template are still the same."""
    for template in TEMPLATES:
        if (template.name, template.version) == (record.template, record.version):
            try:
                workload = _workload(record.workload)
            except (SyntaxError, ValueError, KeyError):
                return None
            applies = template.applies(workload.group, target.computing(workload.group.dtype))
            return Point(workload, template, record, False) if applies else None
    return None


@lru_cache(maxsize=1024)
def _workload(text: str) -> Workload:
    return Workload(group_of(text), ())


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


def chain_of(group: Group) -> Workload:
    """The convolutions of a chain by themselves."""
    assert group.anchor is not None
    builder = Builder(source=group.source)
    made: Value = builder.param("x", group.calls[0].operands[0].type)
    for call in (*group.producers, group.anchor):
        others = [builder.param("c", v.type) for v in call.operands[1:]]
        made = builder.call(call.op, made, *others)
    *producers, anchor = builder.bindings
    joined = Group.of(builder.bindings, anchor, producers=producers)
    return Workload(joined, tuple(range(1, len(joined.inputs))))


def group_of(workload: str) -> Group:
    """The group that a record's workload describes."""
    params: list[str] = []
    lines: list[str] = []
    made = ""
    for signature in workload.split(" -> "):
        head, _, result = signature.rpartition(" : ")
        name, _, rest = head.partition("(")
        operands, _, attributes = rest.partition(")")
        read = [made] if made else []
        for type in re.findall(r"\w+\[[^\]]*\]", operands)[len(read) :]:
            read.append(f"%p{len(params)}")
            params.append(f"{read[-1]}: {type}")
        count = len(re.findall(r"\w+\[[^\]]*\]", result))
        made = ", ".join(f"%y{len(lines)}_{i}" for i in range(count))
        lines.append(f"  {made} = {name}({', '.join(read)}){attributes} : {result}\n")
    shown = result if count == 1 else f"({result})"
    function = parse_function(
        f"def record({', '.join(params)}) -> {shown} {{\n{''.join(lines)}  return {made}\n}}\n",
        OPERATORS,
    )
    *producers, anchor = function.bindings
    return Group.of(function.bindings, anchor, producers=producers)


def tasks_of(module: Module, target: Target) -> list[Task]:
    """The tasks of a model that have more than one point: chains, and what is in none."""
    stages = dict(prepare(module, target, records=Records()))
    names = list(stages)
    function = expand(stages[names[names.index(SELECT) - 1]], target)
    chosen = choose(function, target, Records())
    final = stages[names[-1]]
    items = chain(fuse(final), final, target)
    chains = [g for g in items if isinstance(g, Group) and g.producers]
    done = {c.source for g in chains for c in g.calls}
    found: dict[tuple[str, ...], Task] = {}

    def add(source: str, ways: Iterable[Workload]) -> None:
        made = {w.text: w for w in ways}
        known = found.get(tuple(made)) or Task(source, tuple(made.values()), 0)
        found[tuple(made)] = replace(known, count=known.count + 1)

    for call in function.bindings:
        ways = [chosen[call], *(f for f in forms(call, target) if f is not chosen[call])]
        anchors = [f for f in ways if f.op.fusion in (Fusion.ANCHOR, Fusion.REDUCE)]
        if anchors and anchors[0] is chosen[call] and call.source not in done:
            add(call.source, (workload_of(call, f) for f in anchors))
    for group in chains:
        add(group.source, [chain_of(group)])
    return [t for t in found.values() if len(t.points(target)) > 1]
