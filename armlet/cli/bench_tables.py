"""The tables of ``armlet bench``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import show
from .bench_modes import PEERS
from .profile import print_layers

_TIMES = ("median", "p90", "p99", "min")
#: characters of a bar
_BAR = 40


def show_results(document: Mapping[str, Any]) -> None:
    _TABLES[document["mode"]](document["results"])


def _warm(results: Sequence[Mapping[str, Any]]) -> None:
    compared = any("ratio" in result for result in results)
    rows = []
    for result in results:
        for who in ("armlet", *PEERS):
            if who in result:
                ratio = f"{result['ratio']:.3f}" if who == "armlet" and compared else ""
                row = [who, result["threads"], *times(result[who]), result[who]["runs"]]
                rows.append([*row, ratio] if compared else [*row, *condition(result[who])])
    last = [">ratio"] if compared else CONDITION
    show.table(["", ">threads", *(f">{c}" for c in _TIMES), ">runs", *last], rows)
    for result in results:
        if "relative_error" in result:
            print(
                f"{result['threads']} threads: answers differ by at most "
                f"{result['relative_error']:.2g} of the range"
            )
        if "layers" in result:
            print_layers(result["layers"], result["machine"])


def _cold(results: Sequence[Mapping[str, Any]]) -> None:
    columns = ["", ">threads", *(f">{c}" for c in _TIMES), ">times", *CONDITION]
    show.table(
        columns,
        [
            [name, r["threads"], *times(r[key]), r[key]["runs"], *condition(r)]
            for r in results
            for name, key in (("open", "open"), ("first run", "first_run"))
        ],
    )


def _sweep(results: Sequence[Mapping[str, Any]]) -> None:
    columns = ["cluster", ">threads", *(f">{c}" for c in _TIMES), ">runs", *CONDITION]
    show.table(
        columns,
        [[r["cluster"], r["threads"], *times(r), r["runs"], *condition(r)] for r in results],
    )
    best = min(results, key=lambda r: r["median"])
    print(f"fastest: {best['threads']} threads of cluster {best['cluster']}")


def _sustained(results: Sequence[Mapping[str, Any]]) -> None:
    for r in results:
        longest = max(w["median"] for w in r["timeline"])
        show.table(
            [">at", ">median", ">p90", ">runs", *CONDITION, "median"],
            [
                (
                    f"{w['at']:.0f} s", show.milliseconds(w["median"]), show.milliseconds(w["p90"]),
                    w["runs"], *condition(w), "#" * round(_BAR * w["median"] / longest),
                )
                for w in r["timeline"]
            ],
            title=f"on {r['threads']} threads, over time",
        )  # fmt: skip
        percentiles = ", ".join(f"{c} {t}" for c, t in zip(_TIMES, times(r)))
        print(f"{r['threads']} threads: {percentiles} of {r['runs']} runs")
        print(f"it throttles: {r['throttled']}" if r["throttled"] else "it does not throttle")


CONDITION = [">MHz", ">deg C"]


def condition(row: Mapping[str, Any]) -> list[str]:
    """The clocks of the clusters and the temperature; "" where the machine does not tell."""
    clocks = "/".join(str(m) for m in row["mhz"] if m)
    return [clocks, "" if row["temperature"] is None else f"{row['temperature']:.1f}"]


def times(row: Mapping[str, Any]) -> list[str]:
    return [show.milliseconds(row[c]) for c in _TIMES]


_TABLES = {"warm": _warm, "vs": _warm, "cold": _cold, "sweep": _sweep, "sustained": _sustained}
