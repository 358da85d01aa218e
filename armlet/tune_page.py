"""The page of ``armlet tune --html``: the best over trials, and what each workload gained."""

from __future__ import annotations

from collections.abc import Sequence

from armlet.compiler.tune.tuner import Job

from .page import BLUE, GREY, Section, chart, page, table

#: tasks with a curve of their own
MOST = 12


def tune_page(name: str, jobs: Sequence[Job]) -> str:
    judged = [job for job in jobs if job.verdict]
    default = sum(j.task.count * j.verdict[1] for j in judged if j.verdict)
    tuned = sum(j.task.count * j.verdict[0] for j in judged if j.verdict)
    figures = [
        ("without tuning", f"{default * 1e3:.3f} ms"),
        ("tuned", f"{tuned * 1e3:.3f} ms"),
        ("gain", f"{1 - tuned / default:.1%}" if default else "none"),
        ("trials", str(sum(j.trials for j in jobs))),
        ("tasks", str(len(jobs))),
        ("failed kernels", str(sum(j.failures for j in jobs))),
    ]
    text = (
        "Operators of the model by themselves, on one thread. Times of the verdict are medians of "
        "turns with the default's; a kernel that is not surely faster is not used."
    )
    heavy = sorted(judged, key=lambda j: -j.task.count * (j.verdict or (0, 0))[1])
    sections = [
        Section(
            "Best over trials",
            "Time of the best kernel found, relative to the default's, for the heaviest tasks.",
            _curves(heavy[:MOST]),
        ),
        Section("Gain by task", "Time in one run of the model, before and after.", _gains(heavy)),
        Section("All tasks", "Heaviest first.", _table(heavy)),
    ]
    return page(f"Tuning of {name}", text, figures, sections)


def _curves(jobs: Sequence[Job]) -> str:
    import plotly.graph_objects as go

    end = max((at for job in jobs for at, _ in job.curve), default=1)
    traces = []
    for job in jobs:
        if not job.curve:
            continue
        x = [at for at, _ in job.curve]
        y = [seconds / job.default_seconds for _, seconds in job.curve]
        traces.append(
            go.Scatter(x=[*x, end], y=[*y, y[-1]], line_shape="hv", mode="lines",
                       name=job.task.name)
        )  # fmt: skip
    return chart(
        traces, 420, xaxis_title="trials", yaxis_title="best / default", yaxis_tickformat=".0%"
    )


def _gains(jobs: Sequence[Job]) -> str:
    import plotly.graph_objects as go

    order = list(jobs)[::-1]
    names = [f"{job.task.name} · {i}" for i, job in enumerate(order)]
    sides = [
        [1e6 * job.task.count * job.verdict[side] for job in order if job.verdict]
        for side in (1, 0)
    ]
    traces = [
        go.Bar(name=what, orientation="h", y=names, x=values, marker_color=color)
        for what, values, color in zip(("default", "tuned"), sides, (GREY, BLUE))
    ]
    short = [job.task.name[-48:] for job in order]
    return chart(
        traces, 120 + 26 * len(order), barmode="group", xaxis_title="us",
        yaxis={"tickvals": names, "ticktext": short},
    )  # fmt: skip


def _table(jobs: Sequence[Job]) -> str:
    rows = []
    for job in jobs:
        assert job.verdict is not None
        tuned, default = job.verdict
        point = job.points[job.search.best or 0]
        config = " ".join(f"{k}={v}" for k, v in point.record.config.items())
        rows.append(
            (
                job.task.name, str(job.task.count), f"{default * 1e6:.1f}", f"{tuned * 1e6:.1f}",
                f"{1 - tuned / default:.1%}", f"{len(job.search.seconds)} of {len(job.points)}",
                str(job.failures), point.template.name, config, point.workload.group.workload,
            )
        )  # fmt: skip
    return table(
        ["layer", ">times", ">default us", ">tuned us", ">gain", ">trials", ">failed", "template",
         "best config", "workload"],
        rows,
    )  # fmt: skip
