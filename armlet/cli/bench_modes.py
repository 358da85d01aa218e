"""What ``armlet bench`` measures: a function for each kind, from a place to rows of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import show
from .options import feeds_of
from .profile import as_rows, layers_of

if TYPE_CHECKING:
    from typing import TypeAlias

    from armlet.here import Place
    from armlet.model import OpenModel
    from armlet.verify import Model

    Artifact: TypeAlias = Path | Model

Rows = list[dict[str, Any]]

#: what ``--vs`` names -> the format that it reads
PEERS = {"onnxruntime": "onnx", "litert": "tflite"}


@dataclass(frozen=True)
class Options:
    """What is measured, and for how long."""

    threads: Sequence[int]
    seconds: float
    warmup: float
    input: list[str]
    inputs: Path | None
    rate: float
    per_layer: bool
    vs: str | None

    def feeds(self, model: OpenModel) -> dict[str, Any]:
        return feeds_of(model, self.input, self.inputs)

    def each(
        self, place: Place, artifact: Artifact
    ) -> Iterator[tuple[int, OpenModel, dict[str, Any]]]:
        """(threads, open model, inputs) for each number of threads; every CPU if none is given."""
        for count in self.counts(place):
            with place.open(path_of(artifact), threads=count) as model:
                yield count, model, self.feeds(model)

    def counts(self, place: Place) -> list[int]:
        every = sum(len(cluster.cpus) for cluster in place.clusters)
        return [count or every for count in self.threads]


def path_of(artifact: Artifact) -> Path:
    return artifact if isinstance(artifact, Path) else artifact.path


def _warm(place: Place, artifact: Artifact, options: Options, source: Path | None) -> Rows:
    from armlet import modes

    rows = []
    for threads, model, feeds in options.each(place, artifact):
        times = {"seconds": options.seconds, "warmup": options.warmup, "rate": options.rate}
        rows.append({"threads": threads, "armlet": modes.warm(model, feeds, **times)})
        _layers(rows[-1], model, feeds, options)
    return rows


def _layers(row: dict[str, Any], model: OpenModel, feeds: dict[str, Any], options: Options) -> None:
    if options.per_layer:
        machine, layers = layers_of(model, feeds, row["threads"])
        row |= {"machine": machine.as_dict(), "layers": as_rows(layers)}


def _vs(place: Place, artifact: Artifact, options: Options, source: Path | None) -> Rows:
    from armlet.artifact import CompiledModel
    from armlet.measure import in_turns, statistics
    from armlet.reference import RUNTIMES

    rows = []
    for threads, model, feeds in options.each(place, artifact):
        assert source is not None and options.vs and isinstance(model, CompiledModel)
        peer = RUNTIMES[PEERS[options.vs]](source, threads)
        ours, theirs, apart = in_turns(model, peer, feeds, options.seconds, options.warmup)
        found = {"armlet": statistics(ours), options.vs: statistics(theirs)}
        ratio = found["armlet"]["median"] / found[options.vs]["median"]
        error = max((d.relative for d in apart), default=0.0)
        rows.append({"threads": threads, **found, "ratio": ratio, "relative_error": error})
        _layers(rows[-1], model, feeds, options)
    return rows


def _cold(place: Place, artifact: Artifact, options: Options, source: Path | None) -> Rows:
    from armlet import modes

    return [
        {"threads": n, **modes.cold(place, path_of(artifact), n, options.feeds)}
        for n in options.counts(place)
    ]


def _sustained(place: Place, artifact: Artifact, options: Options, source: Path | None) -> Rows:
    from armlet import modes

    rows = []
    for threads, model, feeds in options.each(place, artifact):
        with show.working("measuring") as progress:
            found = modes.sustained(
                model, feeds, seconds=options.seconds, warmup=options.warmup, rate=options.rate,
                progress=progress,
            )  # fmt: skip
        rows.append({"threads": threads, **found})
    return rows


def _sweep(place: Place, artifact: Artifact, options: Options, source: Path | None) -> Rows:
    from armlet import modes

    with show.working("measuring") as progress:
        return modes.sweep(
            place, path_of(artifact), options.feeds, seconds=options.seconds,
            warmup=options.warmup, progress=progress,
        )  # fmt: skip


MODES: dict[str, Callable[..., Rows]] = {
    "warm": _warm,
    "vs": _vs,
    "cold": _cold,
    "sustained": _sustained,
    "sweep": _sweep,
}
