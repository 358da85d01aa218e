"""``armlet selftest``: an artifact's answers on this machine against those it carries."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from . import show
from .options import Json, OnDevice, Threads, opened_at


def selftest(
    artifact: Annotated[Path, typer.Argument(help="The compiled model.", metavar="M.so")],
    threads: Threads = 0,
    device: OnDevice = "",
    json: Json = False,
) -> None:
    """Runs the self-test that an artifact carries.

    Exit status 1 if an answer is wrong.
    """
    with opened_at(device, artifact, threads) as model:
        report = model.selftest()
    if json:
        show.as_json({"passed": report.passed, **asdict(report)})
    else:
        word = "passed" if report.passed else f"failed: {report.wrong} of them wrong"
        where = f" on {device}" if device else ""
        print(f"{artifact}{where}: {report.compared} numbers compared, {word}")
        print(
            f"largest error: output {report.output!r}, element {report.element}: "
            f"{report.actual:.6g}, expected {report.expected:.6g} +- {report.tolerance:.2g}"
        )
    raise typer.Exit(0 if report.passed else 1)
