"""``armlet bench``: how long a model takes, alone or beside the runtime of its framework."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from armlet.errors import SettingError

from . import show
from .options import (
    InputFile,
    Inputs,
    Json,
    Shapes,
    Target,
    counts_of,
    feeds_of,
    run_here,
    shapes_of,
    source_of,
)
from .profile import as_rows, layers_of, print_layers

if TYPE_CHECKING:
    from armlet.artifact import CompiledModel

#: name -> the format that it reads
PEERS = {"onnxruntime": "onnx", "litert": "tflite"}


def bench(
    artifact: Annotated[
        Path, typer.Argument(help="A compiled model, or a model to compile first.", metavar="M.so")
    ],
    threads: Annotated[
        str, typer.Option(metavar="1,2", help="Numbers of threads; without it, every CPU.")
    ] = "",
    seconds: Annotated[
        float, typer.Option(metavar="S", help="Time to measure for, each.", min=0)
    ] = 2.0,
    warmup: Annotated[
        float, typer.Option(metavar="S", help="Time of running before.", min=0)
    ] = 0.3,
    input: Inputs = None,
    inputs: InputFile = None,
    per_layer: Annotated[bool, typer.Option("--per-layer", help="Also by layer.")] = False,
    vs: Annotated[
        str | None,
        typer.Option(
            metavar="PEER", help="Measure onnxruntime or litert too, in turns with armlet."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="The source model, for --vs and an artifact."),
    ] = None,
    shape: Shapes = None,
    target: Target = "host",
    json: Json = False,
) -> None:
    """Measures the time of a run: median, percentiles, runs."""
    counts, shapes = (counts_of("--threads", threads) if threads else [0]), shapes_of(shape)
    if vs is not None and vs not in PEERS:
        raise SettingError(f"--vs {vs!r} is not known", way_out=f"use {', '.join(PEERS)}")

    from armlet import api
    from armlet.targets import cores

    compiled = _compiled(artifact, model, vs, target, shapes)
    peer = (model if is_artifact(artifact) else artifact, vs) if vs else None
    found = []
    for count in counts:
        with api.open(compiled.path, threads=count or cores()) as opened:
            feeds = feeds_of(opened, input or ["random"], inputs)
            found.append(_measure(opened, count or cores(), feeds, peer, (seconds, warmup)))
            if per_layer:
                machine, layers = layers_of(opened, feeds, count or cores())
                found[-1] |= {"machine": machine.as_dict(), "layers": as_rows(layers)}
    document = {"model": str(artifact), "vs": vs, "results": found}
    if json:
        show.as_json(document)
    else:
        _print(document)


def _compiled(
    path: Path,
    source: Path | None,
    vs: str | None,
    target: str,
    shapes: dict[str, tuple[int, ...]],
) -> CompiledModel:
    """The artifact; whatever stands in the way of comparing is told before anything is timed."""
    from armlet import api
    from armlet.reference import RUNTIMES, require

    if vs:
        require(RUNTIMES[PEERS[vs]])
    if not is_artifact(path):
        if vs:
            _check_peer(vs, path)
        run_here(target)
        with show.working(f"compiling {path.name}") as progress:
            made = api.compile(path, target, shapes=shapes, progress=progress)
        assert isinstance(made, api.CompiledModel)
        return made
    model = api.open(path, threads=1)
    if vs and source is None:
        raise SettingError("--vs needs the source model of an artifact", way_out="--model MODEL")
    if vs and source is not None:
        _check_peer(vs, source)
        source_of(model, source)
    return model


def _check_peer(vs: str, source: Path) -> None:
    """The peer must read the model's format."""
    from armlet.frontends import format_of

    format = format_of(source)
    if PEERS[vs] != format:
        fits = ", ".join(f"--vs {name}" for name, known in PEERS.items() if known == format)
        raise SettingError(f"{vs} does not read {source}", way_out=f"use {fits}")


def is_artifact(path: Path) -> bool:
    """Whether the file is a library; what cannot be read is told by whoever opens it."""
    from armlet.compiler.link import formats

    named = path.suffix in (".so", ".wasm")
    try:
        with path.open("rb") as file:
            return named or formats.is_known(file.read(4))
    except OSError:
        return named


def _measure(
    model: CompiledModel,
    threads: int,
    feeds: dict[str, Any],
    peer: tuple[Path | None, str] | None,
    times: tuple[float, float],
) -> dict[str, Any]:
    from armlet.measure import in_turns, statistics
    from armlet.reference import RUNTIMES

    if peer is None:
        seconds, warmup = times
        alone = model.benchmark(feeds, seconds=seconds, warmup=warmup)
        return {"threads": threads, "armlet": statistics(alone.seconds)}
    source, vs = peer
    assert source is not None
    reference = RUNTIMES[PEERS[vs]](source, threads)
    ours, theirs, apart = in_turns(model, reference, feeds, *times)
    ratio = statistics(ours)["median"] / statistics(theirs)["median"]
    return {
        "threads": threads,
        "armlet": statistics(ours),
        vs: statistics(theirs),
        "ratio": ratio,
        "relative_error": max((d.relative for d in apart), default=0.0),
    }


def _print(document: dict[str, Any]) -> None:
    columns = ("median", "p90", "p99", "min")
    rows = []
    for result in document["results"]:
        for who in ("armlet", *PEERS):
            if who in result:
                times = [show.milliseconds(result[who][c]) for c in columns]
                ratio = f"{result['ratio']:.3f}" if who == "armlet" and "ratio" in result else ""
                rows.append([who, result["threads"], *times, result[who]["runs"], ratio])
    last = [">ratio"] if document["vs"] else []
    show.table(
        ["", ">threads", *(f">{c}" for c in columns), ">runs", *last],
        [row if last else row[:-1] for row in rows],
    )
    for result in document["results"]:
        if "relative_error" in result:
            print(
                f"{result['threads']} threads: answers differ by at most "
                f"{result['relative_error']:.2g} of the range"
            )
        if "layers" in result:
            print_layers(result["layers"], result["threads"])
