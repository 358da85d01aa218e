"""From a module to a plan: the stages in order, each one's result kept for who asks.

``link`` makes the artifact of what this returns; ``armlet/verify.py`` compares the two ends
and uses ``stages`` to find the pass that changed the meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from armlet import debug
from armlet.compiler.dump import Dump, groups_text
from armlet.compiler.ir import Call, Function, Module, print_function, verify
from armlet.compiler.ir.group import Group
from armlet.compiler.lower.compile import lower
from armlet.compiler.passes import (
    compose_arrangements,
    form_views,
    pipeline,
)
from armlet.compiler.passes.chain import chain
from armlet.compiler.passes.fuse import fuse
from armlet.compiler.passes.narrow_to_half import LARGEST, can_narrow, narrow_to_half
from armlet.compiler.passes.sign_bytes import sign_bytes
from armlet.compiler.passes.store_half import store_half
from armlet.compiler.plan.plan import Plan
from armlet.compiler.plan.planner import plan
from armlet.compiler.plan.verifier import verify_plan
from armlet.compiler.ranges import Half, findings
from armlet.compiler.records import Records
from armlet.compiler.select.layout import select
from armlet.compiler.versions import with_versions
from armlet.errors import ModelShapeError, RangeError
from armlet.targets import Target

#: (stage, done, total): called as work proceeds
Progress = Callable[[str, int, int], None]
#: the pass that chooses a form for every call
SELECT = "select"
#: the pass that makes values float16
NARROW = "narrow_to_half"


def _quiet(stage: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class Build:
    """Everything that compiling one module for one target made, before linking."""

    module: Module
    target: Target
    #: (pass name, the function after it), beginning with ("import", …)
    stages: tuple[tuple[str, Function], ...]
    items: tuple[Group | Call, ...]
    plan: Plan = field(repr=False)
    precision: str = "fp32"
    #: targets that kernels have versions for, the best one last
    better: tuple[Target, ...] = ()

    @property
    def function(self) -> Function:
        return self.stages[-1][1]

    @property
    def single(self) -> list[str]:
        """The layers that stay in float32 though others are in float16, for their range."""
        narrowed = dict(self.stages).get(NARROW)
        return [c.source for c in narrowed if can_narrow(c)] if narrowed else []

    @property
    def groups(self) -> list[Group]:
        return [item for item in self.items if isinstance(item, Group)]


def require_static(module: Module) -> None:
    """``ModelShapeError`` that names every input with a free dimension."""
    free = [p for p in module.main.params if not p.type.is_static]
    if not free:
        return
    shown = "; ".join(f"{p.name} is {p.type}" for p in free)
    shape = "x".join(str(d) if isinstance(d, int) else "?" for d in free[0].type.shape)
    raise ModelShapeError(
        f"kernels are compiled for one shape, and some dimensions are free: {shown}",
        where=str(module.metadata.get("path", "")),
        way_out=f"give their sizes, for example --shape {free[0].name}={shape}",
    )


def prepare(
    module: Module,
    target: Target,
    progress: Progress = _quiet,
    dump: Dump | None = None,
    records: Records | None = None,
    half: Half | None = None,
) -> list[tuple[str, Function]]:
    """The function after every graph pass, the last one ready to be fused.

    ``records`` are those of the target unless they are given.
    """
    require_static(module)
    known = Records.of(target) if records is None else records
    stages: list[tuple[str, Function]] = []
    selection = (SELECT, lambda f: select(f, target, known))
    finish = [
        ("compose_arrangements", compose_arrangements.run),
        ("form_views", form_views.run),
    ]
    narrow, store = [], []
    if half and target.half_arithmetic:
        narrow = [(NARROW, lambda f: _narrowed(f, half))]
    elif half:
        store = [("store_half", store_half)]
    sign = [("sign_bytes", lambda f: sign_bytes(f, target.byte_dtype))] * bool(target.byte_dtype)
    todo = [*pipeline.CANONICALIZE, *narrow, *sign, selection, *finish, *store]

    def observe(name: str, function: Function) -> None:
        stages.append((name, function))
        debug.show(3, lambda: f"[armlet] after {name}:\n{print_function(function)}")
        if dump:
            dump.stage(name, function)
        verify(function, f"after {name}")
        progress("passes", len(stages) - 1, len(todo))

    observe("import", module.main)
    pipeline.run(module.main, todo, observe)
    return stages


def _narrowed(function: Function, half: Half) -> Function:
    """In float16, but for what is out of its range."""
    found = findings(function, half.samples)
    if found.out and half.strict:
        raise RangeError(
            f"float16 holds up to {LARGEST:g}, and {found.out[0]}",
            where=found.out[0].call.source,
            way_out="compile without --check-range, which computes such layers in float32",
        )
    return narrow_to_half(function, [f.call for f in found.out], found.wide)


def build(
    module: Module,
    target: Target,
    progress: Progress = _quiet,
    dump: Dump | None = None,
    records: Records | None = None,
    half: Half | None = None,
    better: Sequence[Target] = (),
) -> Build:
    """``records`` are those of the target unless they are given.

    Kernels get versions for ``better`` targets, the last of which decides on layouts.
    """
    records = Records.of(target) if records is None else records
    best = better[-1] if better else target
    stages = prepare(module, best, progress, dump, records, half)
    function = stages[-1][1]
    items = chain(fuse(function), function, best)
    groups = [item for item in items if isinstance(item, Group)]

    def lowered(done: int, total: int, layer: str) -> None:
        progress("kernels", done, total)

    kernels = lower(groups, target, lowered, records=records)
    made = plan(function, module.outputs, items, dict(zip(groups, kernels, strict=True)))
    debug.show(2, lambda: groups_text(groups, made))
    if dump:
        dump.plan(groups, made)
    verify_plan(made, function, items)
    if better:
        made = with_versions(made, groups, target, better, lowered)
    precision = "fp16" if half else "fp32"
    return Build(module, target, tuple(stages), tuple(items), made, precision, tuple(better))
