"""``armlet tune MODEL`` finds the fastest kernels by measuring; ``tune log`` is about records."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from . import show
from .options import Json, Shapes, shapes_of
from .tune_log import log

if TYPE_CHECKING:
    from armlet.compiler.tune.tuner import Job, Update

TunedTarget = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="What to tune for (`armlet targets`); the device's own, or 'host'."
    ),
]
Devices = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Measure on this device; may be given for several."),
]
#: seconds between lines of progress where there is no terminal
BETWEEN = 10.0


class ModelByDefault(TyperGroup):
    """``tune FILE`` means ``tune model FILE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["model", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="tune",
    cls=ModelByDefault,
    help="Tunes a model: `armlet tune MODEL` (short for `armlet tune model MODEL`).",
    no_args_is_help=True,
)
app.add_typer(log)


@app.command()
def model(
    model: Annotated[Path, typer.Argument(help="The model's file.", metavar="MODEL")],
    target: TunedTarget = None,
    device: Devices = None,
    shape: Shapes = None,
    trials: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Measure at most so many kernels.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", min=0.0, help="Search for at most so long.")
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Add the records to this file, instead of the target's own."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a page with charts.")
    ] = None,
    json: Json = False,
) -> None:
    """Measures ways to compute a model's operators and records the fastest for `compile`.

    It measures here, or on devices of one kind (`armlet device` adds them), which share the work.
    Without a limit it ends when another round promises less than 1 % of the model's time.
    Stopped or killed, it goes on where it was when it is started again.
    """
    from armlet import api
    from armlet.compiler.link.publish import check_writable

    if html is not None:
        check_writable(html)
    with _progress(model.name, trials, seconds) as observe:
        jobs = api.tune(
            api.load(model, shapes_of(shape)), target, devices=device or (), trials=trials,
            seconds=seconds, records=records, observe=observe,
        )  # fmt: skip
    rows = [row_of(job) for job in sorted(jobs, key=_weight, reverse=True)]
    if html is not None:
        from armlet.page import publish
        from armlet.tune_page import tune_page

        publish(html, tune_page(model.name, jobs))
    if json:
        show.as_json({"model": str(model), "tasks": rows, **totals(jobs)})
    else:
        _print(rows, totals(jobs))


def _weight(job: Job) -> float:
    """Seconds of the model that are the task's, without tuning."""
    return job.task.count * (job.verdict[1] if job.verdict else 0.0)


def totals(jobs: Sequence[Job]) -> dict[str, Any]:
    judged = [(j.task.count, *j.verdict) for j in jobs if j.verdict]
    return {
        "trials": sum(j.trials for j in jobs),
        "failures": sum(j.failures for j in jobs),
        "default_seconds": sum(n * default for n, _, default in judged),
        "tuned_seconds": sum(n * tuned for n, tuned, _ in judged),
    }


def row_of(job: Job) -> dict[str, Any]:
    """A task as JSON."""
    best = job.search.best
    point = job.points[best or 0]
    tuned, default = job.verdict or (None, None)
    return {
        "layer": job.task.name,
        "count": job.task.count,
        "workload": point.workload.group.workload,
        "template": point.template.name,
        "config": dict(point.record.config),
        "default_seconds": default,
        "tuned_seconds": tuned,
        "trials": len(job.search.seconds),
        "points": len(job.points),
        "failures": job.failures,
    }


def _print(rows: Sequence[dict[str, Any]], found: dict[str, Any]) -> None:
    show.table(
        ["layer", ">times", ">default us", ">tuned us", ">gain", "template", ">trials", "operator"],
        [
            (
                r["layer"], r["count"], *_times(r["tuned_seconds"], r["default_seconds"]),
                r["template"], f"{r['trials']} of {r['points']}", r["workload"].partition("(")[0],
            )
            for r in rows
        ],
    )  # fmt: skip
    tuned, default = found["tuned_seconds"], found["default_seconds"]
    gain = f", {default / tuned:.3f} times as fast" if tuned else ""
    failed = f"; {found['failures']} kernels failed" if found["failures"] else ""
    print(
        f"{found['trials']} trials: tuned operators take {show.milliseconds(tuned)} instead of "
        f"{show.milliseconds(default)} a run{gain}{failed}"
    )


def _times(tuned: float | None, default: float | None) -> tuple[str, str, str]:
    if tuned is None or default is None:
        return "failed", "failed", ""
    return f"{default * 1e6:.1f}", f"{tuned * 1e6:.1f}", f"{1 - tuned / default:.1%}"


# -- progress -------------------------------------------------------------------------------------


def status(update: Update, trials: int | None, seconds: float | None) -> str:
    """A line: how far it is, what was found, what is still hoped for."""
    job = update.job
    parts = [f"{update.trials}{f'/{trials}' if trials else ''} trials"]
    if job.best_seconds < float("inf"):
        parts.append(f"{job.task.name}: best {job.best_seconds * 1e6:.1f} us")
    parts.append(f"saved {update.saved:.1%}")
    if update.judging:
        return ", ".join([*parts, "comparing with the defaults"])
    parts.append(f"expected gain {min(1.0, update.gain):.1%}")
    left = []
    if seconds is not None:
        left.append(seconds - update.seconds)
    if trials is not None and update.trials:
        left.append(update.seconds / update.trials * (trials - update.trials))
    if left:
        parts.append(f"{max(0.0, min(left)):.0f} s left")
    return ", ".join(parts)


@contextmanager
def _progress(title: str, trials: int | None, seconds: float | None) -> Iterator[Any]:
    """A status line on a terminal; elsewhere a line now and then."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    told = time.monotonic()

    def tell(update: Update) -> None:
        nonlocal told
        text = f"{title}: {status(update, trials, seconds)}"
        if console.is_terminal:
            spinner.update(text)
        elif time.monotonic() - told >= BETWEEN:
            told = time.monotonic()
            console.print(text, soft_wrap=True, markup=False)

    with console.status(f"{title}: measuring the defaults") as spinner:
        yield tell
