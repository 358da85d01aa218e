"""From a module to a plan: the stages in order, each one's result kept for who asks.

``link`` makes the artifact of what this returns; ``armlet/verify.py`` compares the two ends
and uses ``stages`` to find the pass that changed the meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from armlet import debug
from armlet.compiler.cpu_passes import NARROW, cpu_passes
from armlet.compiler.dump import Dump, groups_text
from armlet.compiler.ir import Call, Function, Module, print_function, verify
from armlet.compiler.ir.group import Group
from armlet.compiler.lower.compile import lower
from armlet.compiler.partition.blobs import program
from armlet.compiler.partition.partition import Partition, Region, partition, require_all
from armlet.compiler.partition.parts import Part, Parts, cut
from armlet.compiler.partition.report import Report
from armlet.compiler.passes import pipeline
from armlet.compiler.passes.chain import chain
from armlet.compiler.passes.fuse import fuse
from armlet.compiler.passes.narrow_to_half import can_narrow
from armlet.compiler.plan.plan import Plan, RegionTasks
from armlet.compiler.plan.planner import plan
from armlet.compiler.plan.verifier import verify_plan
from armlet.compiler.quantize.report import Report as QuantizationReport
from armlet.compiler.ranges import Half
from armlet.compiler.records import Records
from armlet.compiler.versions import with_versions
from armlet.errors import ModelShapeError
from armlet.targets import Target
from armlet.targets.npu import BackEnd

#: (stage, done, total): called as work proceeds
Progress = Callable[[str, int, int], None]
#: the stage in which each region's calls come to lie side by side
PARTITION = "partition"


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
    #: the accelerators that were asked, and what became of every call
    back_ends: tuple[BackEnd, ...] = ()
    report: Report | None = None
    #: of a module that was quantised here: which layers are integers, and why
    quantization: QuantizationReport | None = field(default=None, repr=False)

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


@dataclass(frozen=True)
class _Prepared:
    """A function after every graph pass, in parts that are ready to be fused."""

    stages: list[tuple[str, Function]]
    parts: Parts[Region]
    report: Report | None


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
    known = Records.of(target) if records is None else records
    return _prepare(module, target, progress, dump, known, half).stages


def _prepare(
    module: Module,
    target: Target,
    progress: Progress,
    dump: Dump | None,
    records: Records,
    half: Half | None,
    back_ends: Sequence[BackEnd] = (),
    priced: bool = True,
) -> _Prepared:
    require_static(module)
    stages: list[tuple[str, Function]] = []
    todo = ["import", *(name for name, _ in pipeline.CANONICALIZE)]

    def observe(name: str, function: Function) -> None:
        stages.append((name, function))
        debug.show(3, lambda: f"[armlet] after {name}:\n{print_function(function)}")
        if dump:
            dump.stage(name, function)
        verify(function, f"after {name}")
        progress("passes", len(stages) - 1, len(todo) - 1)

    observe("import", module.main)
    canonical = pipeline.run(module.main, pipeline.CANONICALIZE, observe)
    passes = cpu_passes(canonical, target, records, half)
    todo += [PARTITION] * bool(back_ends) + [name for name, _ in passes]
    made = Partition(cut(canonical, [(canonical.bindings, None)]))
    if back_ends:
        made = partition(canonical, back_ends, target, records, priced)
        observe(PARTITION, made.parts.function)
    parts = made.parts
    for name, change in passes:
        parts = parts.apply(change)
        observe(name, parts.function)
    return _Prepared(stages, parts, made.report)


def place(
    module: Module, back_ends: Sequence[BackEnd], target: Target, records: Records | None = None
) -> Report:
    """What ``build`` would have each back end do, and why; nothing is compiled."""
    require_static(module)
    known = Records.of(target) if records is None else records
    report = partition(pipeline.run(module.main), back_ends, target, known).report
    assert report is not None
    return report


def build(
    module: Module,
    target: Target,
    progress: Progress = _quiet,
    dump: Dump | None = None,
    records: Records | None = None,
    half: Half | None = None,
    better: Sequence[Target] = (),
    back_ends: Sequence[BackEnd] = (),
    require_devices: bool = False,
) -> Build:
    """``records`` are those of the target unless they are given.

    Kernels get versions for ``better`` targets, the last of which decides on layouts. Of what
    ``back_ends`` take there are programs besides; with ``require_devices`` they must take all, at
    any price, or it is a ``PartitionError``.
    """
    records = Records.of(target) if records is None else records
    best = better[-1] if better else target
    priced = not require_devices
    prepared = _prepare(module, best, progress, dump, records, half, back_ends, priced)
    if require_devices and prepared.report:
        require_all(prepared.report)
    function = prepared.stages[-1][1]
    items, regions = _items(prepared.parts, best, progress)
    groups = [item for item in items if isinstance(item, Group)]

    def lowered(done: int, total: int, layer: str) -> None:
        progress("kernels", done, total)

    kernels = lower(groups, target, lowered, records=records)
    made = plan(function, module.outputs, items, dict(zip(groups, kernels, strict=True)), regions)
    debug.show(2, lambda: groups_text(groups, made))
    if dump:
        dump.plan(groups, made)
    verify_plan(made, function, items, regions)
    if better:
        made = with_versions(made, groups, target, better, lowered)
    return Build(
        module, target, tuple(prepared.stages), tuple(items), made, "fp16" if half else "fp32",
        tuple(better), tuple(back_ends), prepared.report,
    )  # fmt: skip


def _items(
    parts: Parts[Region], target: Target, progress: Progress
) -> tuple[list[Group | Call], list[RegionTasks]]:
    """The groups and views of all parts in order, and which tasks the regions are."""
    items: list[Group | Call] = []
    regions: list[RegionTasks] = []
    total = sum(part.region is not None for part in parts.parts)
    for part in parts.parts:
        first = _task_count(items)
        items += _items_of(part, target)
        if part.region:
            progress("regions", len(regions), total)
            made, count = program(part.region), _task_count(items) - first
            regions.append(RegionTasks(made, first, count, part.inputs, part.outputs))
    return items, regions


def _items_of(part: Part[Region], target: Target) -> list[Group | Call]:
    return chain(fuse(part.function), part.function, target)


def _task_count(items: Sequence[Group | Call]) -> int:
    return sum(isinstance(item, Group) for item in items)
