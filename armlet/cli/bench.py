"""``armlet bench``: how long a model takes, here or on a device, alone or beside a peer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from armlet.errors import SettingError

from . import bench_tables, show
from .bench_modes import MODES, PEERS, Options
from .options import (
    InputFile,
    Inputs,
    Json,
    OnDevice,
    Shapes,
    Target,
    counts_of,
    place_of,
    run_here,
    shapes_of,
    source_of,
    target_at,
)

if TYPE_CHECKING:
    from armlet.verify import Model


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
    cold: Annotated[
        bool, typer.Option("--cold", help="Time opening and the first run, several times.")
    ] = False,
    paced: Annotated[
        float, typer.Option(metavar="HZ", help="Begin so many runs a second.", min=0)
    ] = 0.0,
    sustained: Annotated[
        str, typer.Option(metavar="60s|5m", help="Measure for so long, and show the drift.")
    ] = "",
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Measure each cluster of cores, with 1, 2, 4 … threads.")
    ] = False,
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
    device: OnDevice = "",
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a page, of --sweep or --sustained."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.json", help="Also write what --json prints."),
    ] = None,
    json: Json = False,
) -> None:
    """Measures the time of a run: median, percentiles, runs.

    Clocks and temperature are shown with each figure where the machine tells them. It throttles if
    late runs take 10 % longer than early ones, or a clock falls by as much.
    """
    if vs is not None and vs not in PEERS:
        raise SettingError(f"--vs {vs!r} is not known", way_out=f"use {', '.join(PEERS)}")
    mode = _mode(cold=cold, sustained=bool(sustained), sweep=sweep, vs=bool(vs))
    if html is not None and mode not in ("sweep", "sustained"):
        raise SettingError("there is no page of this", way_out="add --sweep or --sustained 60s")
    if vs and device:
        raise SettingError("--vs compares here, not on a device", way_out="leave one of them out")
    options = Options(
        counts_of("--threads", threads) if threads else [0],
        seconds_of("--sustained", sustained) if sustained else seconds,
        warmup, input or ["random"], inputs, paced, per_layer, vs,
    )  # fmt: skip
    for path in filter(None, (html, output)):
        _check_writable(path)
    compiled = _compiled(artifact, model, vs, target, shapes_of(shape), device)
    source = (model if is_artifact(artifact) else artifact) if vs else None
    with place_of(device) as place:
        found = MODES[mode](place, compiled, options, source)
    document = {
        "model": str(artifact), "device": device or None, "mode": mode, "vs": vs, "results": found
    }  # fmt: skip
    _publish(document, html, output)
    if json:
        show.as_json(document)
    else:
        bench_tables.show_results(document)


def _mode(**wanted: bool) -> str:
    chosen = [name for name, is_wanted in wanted.items() if is_wanted]
    if len(chosen) > 1:
        both = " and ".join(f"--{name}" for name in chosen)
        raise SettingError(f"{both} are different measurements", way_out="choose one of them")
    return chosen[0] if chosen else "warm"


def seconds_of(option: str, text: str) -> float:
    """``"5m"`` -> 300."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|)", text)
    if not found or not float(found[1]):
        raise SettingError(f"{option} {text!r} is no time", way_out=f"for example {option} 60s")
    return float(found[1]) * (60 if found[2] == "m" else 1)


def _check_writable(path: Path) -> None:
    from armlet.compiler.link.publish import check_writable

    check_writable(path)


def _publish(document: dict[str, Any], html: Path | None, output: Path | None) -> None:
    if html is not None:
        from armlet.bench_page import bench_page
        from armlet.page import publish

        publish(html, bench_page(document))
    if output is not None:
        from json import dumps

        from armlet.compiler.link.publish import writing

        with writing(output) as file:
            file.write((dumps(document, indent=1) + "\n").encode())


def _compiled(
    path: Path,
    source: Path | None,
    vs: str | None,
    target: str,
    shapes: dict[str, tuple[int, ...]],
    device: str,
) -> Path | Model:
    """The artifact; whatever stands in the way of comparing is told before anything is timed."""
    from armlet import api
    from armlet.reference import RUNTIMES, require

    if vs:
        require(RUNTIMES[PEERS[vs]])
    if not is_artifact(path):
        if vs:
            _check_peer(vs, path)
        if not device:
            run_here(target)
        chosen = target_at(device, target)
        with show.working(f"compiling {path.name}") as progress:
            return api.compile(path, chosen, shapes=shapes, progress=progress)
    if not vs:
        return path
    if source is None:
        raise SettingError("--vs needs the source model of an artifact", way_out="--model MODEL")
    _check_peer(vs, source)
    with api.open(path, threads=1) as model:
        source_of(model, source)
    return path


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

    named = path.suffix in (".so", ".wasm", ".dylib", ".a")
    try:
        with path.open("rb") as file:
            return named or formats.is_known(file.read(8))
    except OSError:
        return named
