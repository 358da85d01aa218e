"""``armlet check``: whether a model can be compiled, and all the reasons if not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import show
from .options import Json, Shapes, shapes_of

if TYPE_CHECKING:
    from armlet.frontends import Report


def check(
    model: Annotated[Path, typer.Argument(help="The model's file.", metavar="MODEL")],
    shape: Shapes = None,
    json: Json = False,
) -> None:
    """Tells whether a model can be compiled: every operator, every problem.

    Exit status 1 if it cannot.
    """
    from armlet import api

    report = api.check(model, shapes_of(shape))
    if json:
        show.as_json(report.as_dict())
    else:
        _print(report)
    raise typer.Exit(0 if report.supported else 1)


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
