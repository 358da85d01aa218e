"""The measured rows as Markdown: times for each number of threads, then sizes and memory."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Row = dict[str, Any]
#: CPUs of others beyond which a row is marked
DISTURBED = 0.1
#: machine, versions of the peers, rows
Document = dict[str, Any]
NAMES = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "ncnn": "ncnn",
    "mnn": "MNN",
    "litert": "LiteRT",
}


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def result(row: Row, threads: int, who: str) -> dict[str, Any]:
    return row["threads"].get(str(threads), {}).get(who, {})


def milliseconds(row: Row, threads: int, who: str) -> float | None:
    return result(row, threads, who).get("ms")


def fastest(row: Row, threads: int) -> str | None:
    """The peer whose time is the shortest."""
    times = {who: milliseconds(row, threads, who) for who in NAMES}
    known = {who: ms for who, ms in times.items() if ms is not None}
    return min(known, key=known.__getitem__) if known else None


def ratio(row: Row, threads: int, peer: str | None) -> float | None:
    """armlet's time over the peer's: the median over rounds, for in each both meet one weather."""
    ours = result(row, threads, "armlet").get("rounds_ms")
    theirs = result(row, threads, peer).get("rounds_ms") if peer else None
    return statistics.median(a / b for a, b in zip(ours, theirs)) if ours and theirs else None


def best_ratio(row: Row, threads: int) -> float | None:
    return ratio(row, threads, fastest(row, threads))


def share_of_peak(row: Row, threads: int, peak: float) -> float | None:
    """Of all threads' peak, as if every convolution were computed directly."""
    ms = milliseconds(row, threads, "armlet")
    return 2 * row["macs"] / (ms / 1e3) / (threads * peak * 1e9) if ms else None


def speed_up(row: Row, threads: int) -> float | None:
    one, more = milliseconds(row, 1, "armlet"), milliseconds(row, threads, "armlet")
    return one / more if one and more else None


def said(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def times(rows: Sequence[Row], peers: Sequence[str], threads: int, peak: float) -> str:
    head = ["model", "armlet ms", *(NAMES[p] for p in peers), "ratio", "of peak"]
    lines = []
    for row in rows:
        best = fastest(row, threads)
        cells = []
        for peer in peers:
            text = said(milliseconds(row, threads, peer), ".2f")
            cells.append(f"**{text}**" if peer == best else text)
        lines.append([
            row["model"], said(milliseconds(row, threads, "armlet"), ".2f"), *cells,
            said(best_ratio(row, threads), ".2f"), said(share_of_peak(row, threads, peak), ".0%"),
        ])  # fmt: skip
    lines.append([
        "geometric mean of ratios", "",
        *(said(mean(rows, lambda row, p=peer: ratio(row, threads, p)), ".2f") for peer in peers),
        said(mean(rows, lambda row: best_ratio(row, threads)), ".2f"), "",
    ])  # fmt: skip
    return table(head, lines)


def mean(rows: Sequence[Row], figure: Callable[[Row], float | None]) -> float | None:
    known = [value for row in rows if (value := figure(row)) is not None]
    return geometric_mean(known) if known else None


def sizes(rows: Sequence[Row], peers: Sequence[str], counts: Sequence[int]) -> str:
    most = counts[-1]
    head = [
        "model", "GMAC", *(f"speed-up, {n} threads" for n in counts if n > 1), "error", "compile s",
        "code + plan KiB", "weights KiB", "arena KiB", "of bound", "RSS MiB",
        *(f"{NAMES[p]}'s" for p in peers),
    ]  # fmt: skip
    lines = []
    for row in rows:
        results = row["threads"].get(str(most), {})
        bound = row.get("arena_bound_bytes")
        lines.append([
            row["model"],
            f"{row['macs'] / 1e9:.2f}",
            *(said(speed_up(row, n), ".2f") for n in counts if n > 1),
            said(results.get("armlet", {}).get("error"), ".0e"),
            said(row.get("compile_s"), ".1f"),
            *(
                said(row[key] / 1024 if key in row else None, ".0f")
                for key in ("code_bytes", "weight_bytes", "arena_bytes")
            ),
            said(row["arena_bytes"] / bound if bound else None, ".3f"),
            *(said(results.get(who, {}).get("rss_mib"), ".0f") for who in ("armlet", *peers)),
        ])  # fmt: skip
    return table(head, lines)


def refusals(rows: Sequence[Row]) -> list[str]:
    """One line for each model that a runtime cannot take."""
    found = {}
    for row in rows:
        for results in row["threads"].values():
            for who, result in results.items():
                if "refused" in result:
                    found[row["model"], who] = result["refused"]
    return [
        f"- {NAMES.get(who, who)} does not run {model}: {why}"
        for (model, who), why in found.items()
    ]


def disturbances(rows: Sequence[Row]) -> list[str]:
    """One line for each race that did not have the machine for itself."""
    return [
        f"- others used {cpus:.0%} of a CPU while {row['model']} ran on {count} threads"
        for row in rows
        for count, cpus in row["disturbance"].items()
        if cpus > DISTURBED
    ]


def markdown(document: Document) -> str:
    """The whole report."""
    rows = document["rows"]
    counts = sorted({int(n) for row in rows for n in row["threads"]})
    known = {who for row in rows for results in row["threads"].values() for who in results}
    peers = [who for who in NAMES if who in known]
    peak = max(row["peak_gflops"] for row in rows)
    versions = ", ".join(f"{NAMES[p]} {document['versions'][p]}" for p in peers)
    parts = [f"{document['machine']}, {peak:.0f} GFLOP/s fp32 a core as measured. {versions}."]
    for count in counts:
        parts += [f"{count} thread{'s' * (count > 1)}:", times(rows, peers, count, peak)]
    parts.append(sizes(rows, peers, counts))
    if lines := refusals(rows) + disturbances(rows):
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
