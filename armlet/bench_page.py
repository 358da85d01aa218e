"""The page of ``bench --sweep`` and ``--sustained``: times, clocks and temperature in charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from armlet.page import BLUE, GREEN, GREY, ORANGE, Section, chart, page, table


def bench_page(document: Mapping[str, Any]) -> str:
    """``document`` is what the command prints with ``--json``."""
    results = document["results"]
    best = min(results, key=lambda r: r["median"])
    where = document["device"] or "this machine"
    figures = [
        ("median", _ms(best["median"])),
        ("p90", _ms(best["p90"])),
        ("p99", _ms(best["p99"])),
        ("threads", str(best["threads"])),
    ]
    text = f"{document['model']} on {where}; the figures are those of the fastest setting."
    made = _sweep(results) if document["mode"] == "sweep" else _drift(results)
    return page(f"Benchmark of {document['model']}", text, figures, made)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.4g} ms"


def _sweep(results: Sequence[Mapping[str, Any]]) -> list[Section]:
    import plotly.graph_objects as go

    traces = []
    for cluster in dict.fromkeys(r["cluster"] for r in results):
        of = [r for r in results if r["cluster"] == cluster]
        above = [1e3 * (r["p90"] - r["median"]) for r in of]
        traces.append(
            go.Scatter(
                x=[r["threads"] for r in of], y=[1e3 * r["median"] for r in of], name=cluster,
                mode="lines+markers", error_y={"array": above, "arrayminus": [0] * len(of)},
            )
        )  # fmt: skip
    drawn = chart(traces, xaxis_title="threads", yaxis_title="ms", yaxis_rangemode="tozero")
    rows = [
        (
            r["cluster"], str(r["threads"]), *(f"{1e3 * r[c]:.4g}" for c in _TIMES),
            str(r["runs"]), *_condition(r),
        )
        for r in results
    ]  # fmt: skip
    columns = ["cluster", ">threads", *(f">{c}, ms" for c in _TIMES), ">runs", ">MHz", ">deg C"]
    return [
        Section("Threads", "Medians; bars reach to the 90th percentile.", drawn),
        Section("All settings", "Each with its clocks and temperature.", table(columns, rows)),
    ]


def _drift(results: Sequence[Mapping[str, Any]]) -> list[Section]:
    sections = []
    for r in results:
        said = f"It throttles: {r['throttled']}." if r["throttled"] else "It does not throttle."
        title = f"Over time, on {r['threads']} threads"
        sections.append(Section(title, said, _timeline(r["timeline"])))
    return sections


def _timeline(windows: Sequence[Mapping[str, Any]]) -> str:
    import plotly.graph_objects as go

    at = [w["at"] for w in windows]

    def line(name: str, color: str, values: list[Any], axis: str) -> Any:
        return go.Scatter(x=at, y=values, name=name, line_color=color, yaxis=axis)

    traces = [
        line(name, color, [1e3 * w[name] for w in windows], "y")
        for name, color in (("median", BLUE), ("p90", GREY))
    ]
    traces += [
        line(f"MHz of cluster {c}", GREEN, [w["mhz"][c] for w in windows], "y2")
        for c, mhz in enumerate(windows[0]["mhz"])
        if mhz
    ]
    if windows[0]["temperature"] is not None:
        traces.append(line("deg C", ORANGE, [w["temperature"] for w in windows], "y3"))
    right = {"overlaying": "y", "side": "right", "showgrid": False}
    return chart(
        traces, 420, xaxis_title="s", yaxis={"title": "ms", "rangemode": "tozero"},
        yaxis2={**right, "title": "MHz"}, yaxis3={**right, "showticklabels": False},
    )  # fmt: skip


_TIMES = ("median", "p90", "p99", "min")


def _condition(row: Mapping[str, Any]) -> tuple[str, str]:
    clocks = "/".join(str(m) for m in row["mhz"] if m)
    return clocks, "" if row["temperature"] is None else f"{row['temperature']:.1f}"
