"""One row of the table: a model in every runtime, answers first, then times in turns."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from armlet import artifact, roofline

from . import load, store
from .process import Process, Refused
from .subject import Subject

#: seconds of a turn; short, so that all meet the same weather
TURN = 0.2
#: seconds of running before: a processor that waited takes as long to come to its speed
WARMUP = 0.1
#: error of a peer, relative to the range, beyond which it does not compute in fp32
WRONG = 1e-3


def row(subject: Subject, peers: Sequence[str], threads: Sequence[int], seconds: float) -> dict:
    """What the table says of a model. Without ``seconds``, everything is only made ready."""
    folders: dict[str, Path] = {}
    refused: dict[str, str] = {}
    for who in ("armlet", *peers):
        try:
            folders[who] = store.converted(who, subject.name, subject.model, subject.feeds)
        except Refused as refusal:
            refused[who] = str(refusal)
    found: dict[str, Any] = {"model": subject.name, "macs": subject.macs}
    found |= {"threads": {}, "disturbance": {}}
    if "armlet" in folders:
        found.update(_artifact(folders["armlet"]))
    if seconds:
        found["peak_gflops"] = roofline.measure().flops / 1e9
        for count in threads:
            results, disturbance = _compared(subject, folders, count, seconds)
            results |= {who: {"refused": why} for who, why in refused.items()}
            found["threads"][str(count)] = results
            found["disturbance"][str(count)] = disturbance
    return found


def _artifact(folder: Path) -> dict[str, Any]:
    path = folder / "model.so"
    manifest = artifact.open(path, threads=1).manifest
    return {
        "compile_s": store.facts(folder)["seconds"],
        "code_bytes": path.stat().st_size - manifest["constant_bytes"],
        "weight_bytes": manifest["constant_bytes"],
        "arena_bytes": manifest["arena_bytes"],
        "arena_bound_bytes": manifest["arena_lower_bound"],
    }


def _compared(
    subject: Subject, folders: dict[str, Path], threads: int, seconds: float
) -> tuple[dict[str, dict[str, Any]], float]:
    """By runtime: times, memory and error, or why there are none; and how disturbed it was."""
    results: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        racing: dict[str, Process] = {}
        for who, folder in folders.items():
            process = Process(store.python_of(who), who)
            stack.callback(process.close)
            try:
                with process.awake():
                    process.call("open", str(folder), str(subject.feeds), threads)
                    results[who] = {"error": _error(subject, process)}
                racing[who] = process
            except Refused as refusal:
                results[who] = {"refused": str(refusal)}
        before = load.Sample.of(racing.values())
        raced = _race(racing, seconds)
        disturbance = load.Sample.of(racing.values()).disturbance(before)
        for who, rounds in raced.items():
            results[who]["ms"] = float(np.median(rounds))
            results[who]["rounds_ms"] = rounds
            with racing[who].awake():
                results[who]["rss_mib"] = racing[who].call("peak_mib")
    return results, disturbance


def _error(subject: Subject, process: Process) -> float:
    """The largest relative error of the runtime's answer; ``Refused`` if that is too large."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.npz"
        process.call("answer", str(answer))
        apart = subject.differences(answer)
    for each in apart:
        allowed = subject.allowed(each.name)
        if not each.within(allowed if process.peer == "armlet" else max(allowed, WRONG)):
            raise Refused(f"wrong answer: {each}")
    return max(each.relative for each in apart)


def _race(racing: dict[str, Process], seconds: float) -> dict[str, list[float]]:
    """Each runtime's median of every round, in which all have a turn, in milliseconds."""
    rounds: dict[str, list[float]] = {who: [] for who in racing}
    for _ in range(math.ceil(seconds / TURN)):
        for who, process in racing.items():
            with process.awake():
                times = process.call("times", min(TURN, seconds), min(WARMUP, seconds))
            rounds[who].append(float(np.median(times)) * 1e3)
    return rounds
