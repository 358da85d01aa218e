"""``armlet diff``: an artifact against its source model, layer by layer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .options import (
    Data,
    Json,
    OnDevice,
    Shapes,
    Target,
    Tolerance,
    check_tolerance,
    named,
    opened_at,
    read_arrays,
    run_here,
    shapes_of,
    source_of,
    target_at,
)

if TYPE_CHECKING:
    from armlet.compiler.ir import Module
    from armlet.model import OpenModel


def diff(
    model: Annotated[Path, typer.Argument(help="The source model.", metavar="MODEL")],
    artifact: Annotated[
        Path | None,
        typer.Argument(help="Compiled from it; made if not given.", metavar="[M.so]"),
    ] = None,
    shape: Shapes = None,
    data: Data = None,
    target: Target = "host",
    tolerance: Tolerance = 1e-4,
    all: Annotated[bool, typer.Option("--all", help="Show every layer, in order.")] = False,
    device: OnDevice = "",
    json: Json = False,
) -> None:
    """Compares a compiled model with its source, layer by layer.

    Exit status 1 if a layer differs.
    """
    shapes, tolerance = shapes_of(shape), check_tolerance(tolerance)
    arrays = read_arrays(data) if data else None

    from armlet.layers import compare_layers
    from armlet.reference import reference_of

    with _both(model, artifact, shapes, target, device) as (compiled, module):
        feeds: dict[str, Any] = {**compiled.example_inputs()}
        if data and arrays is not None:
            feeds |= named(arrays, [i.name for i in compiled.inputs], data)
        reference = reference_of(module)
        layers = compare_layers(compiled, reference, feeds, tolerance)
        tasks = len(compiled.tasks)
    bad = [layer for layer in layers if layer.flagged]
    if json:
        document = {
            "model": str(model),
            "reference": reference.name,
            "tolerance": tolerance,
            "first_different": bad[0].as_dict() if bad else None,
            "tasks": tasks,
            "layers": [layer.as_dict() for layer in layers],
        }
        show.as_json(document)
    else:
        _print(layers, all, reference.name, tasks)
    raise typer.Exit(1 if bad else 0)


@contextlib.contextmanager
def _both(
    model: Path, artifact: Path | None, shapes: dict[str, tuple[int, ...]], target: str, device: str
) -> Iterator[tuple[OpenModel, Module]]:
    """The artifact, open, and its source."""
    if artifact is not None:
        with opened_at(device, artifact, 0) as compiled:
            yield compiled, source_of(compiled, model, shapes)
        return

    from armlet import api
    from armlet.compiler.build import build

    if not device:
        run_here(target)
    chosen = target_at(device, target)
    with show.working(f"compiling {model.name}") as progress:
        module = api.load(model, shapes)
        # not verified: what is wrong is shown by layer
        made = api.linked(build(module, chosen, progress))
    with opened_at(device, made.path, 0) as compiled:
        yield compiled, module


#: layers shown unless all are asked for
_SHOWN = 20


def _print(layers: list[Any], all: bool, reference: str, tasks: int) -> None:
    bad = [layer for layer in layers if layer.flagged]
    if bad:
        print(f"first difference: layer {bad[0].source!r}, {bad[0].difference}")
    shown = layers if all else sorted(layers, key=lambda la: -la.difference.relative)[:_SHOWN]
    show.table(
        ["value", "layer", "kind", ">largest error", ">of the range", ">allowed", ""],
        [
            (
                layer.difference.name,
                layer.source,
                layer.kind,
                layer.difference.mismatch or f"{layer.difference.absolute:.3g}",
                f"{layer.difference.relative:.2g}",
                f"{layer.allowed:.2g}",
                "DIFFERS" if layer.flagged else "",
            )
            for layer in shown
        ],
        title="all layers, in order" if all else "worst first",
    )
    inner = sum(layer.kind == "layer" for layer in layers)
    print(
        f"{inner} inner values of {tasks} tasks, and {len(layers) - inner} outputs, compared with "
        f"{reference}: " + (f"{len(bad)} differ" if bad else "none differs")
    )
