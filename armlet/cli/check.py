"""``armlet check``: whether a model can be compiled, and all the reasons if not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import show
from .options import GpuName, Json, Npu, Shapes, Target, shapes_of

if TYPE_CHECKING:
    from armlet.compiler.partition.report import Report as PartitionReport
    from armlet.frontends import Report


def check(
    model: Annotated[Path, typer.Argument(help="The model's file.", metavar="MODEL")],
    shape: Shapes = None,
    npu: Npu = None,
    gpu: GpuName = "",
    target: Target = "host",
    json: Json = False,
) -> None:
    """Tells whether a model can be compiled: every operator, every problem.

    With --npu or --gpu also which parts an accelerator would do beside this target's CPU, and why
    not others. Exit status 1 if it cannot be compiled.
    """
    from armlet import api

    report = api.check(model, shapes_of(shape))
    placed = None
    if (npu or gpu) and report.supported:
        placed = api.check_npu(model, npu or (), target, shapes_of(shape), gpu)
    if json:
        show.as_json(report.as_dict() | ({"npu": placed.as_dict()} if placed else {}))
    else:
        _print(report)
        if placed:
            _print_places(placed)
    raise typer.Exit(0 if report.supported else 1)


def _print_places(report: PartitionReport) -> None:
    show.table(
        ["layer", "operator", ">MACs", "place", "why not elsewhere"],
        [
            (p.call.source, p.call.op.name, show.number(p.macs), p.place, "; ".join(p.reasons))
            for p in report.calls
        ],
    )
    for step in report.steps:
        print(f"region: {step}")
    taken = len(report.taken)
    print(f"{report.share():.1%} of the multiply-adds on accelerators, in {taken} regions")


def _print(report: Report) -> None:
    from armlet.frontends.report import Status, summary

    rows: dict[tuple[str, str, str], int] = {}
    for node in report.nodes:
        # the reasons of what is not reached are those of the nodes before it
        reason = "" if node.status is Status.NOT_REACHED else node.reason
        key = (node.operator, node.status.value, reason)
        rows[key] = rows.get(key, 0) + 1
    show.table(
        ["operator", ">count", "status", "why"],
        [(op, n, status, why) for (op, status, why), n in sorted(rows.items())],
    )
    for kind, types in (("input", report.inputs), ("output", report.outputs)):
        for name, type in types.items():
            print(f"{kind} {name}: {type}")
    for note in report.notes:
        print(f"note: {note}")
    if report.supported:
        print(f"supported: all {len(report.nodes)} nodes")
        return
    print(f"not supported: {summary(report.problems)}")
