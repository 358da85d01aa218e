"""``armlet profile``: where the time goes, by layer, against what the machine could do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .options import (
    Accelerators,
    DeviceCache,
    InputFile,
    Inputs,
    Json,
    OnDevice,
    feeds_of,
    opened_at,
    placements,
    print_placements,
)

if TYPE_CHECKING:
    from armlet.model import OpenModel
    from armlet.profile import LayerProfile
    from armlet.roofline import Machine


def profile(
    artifact: Annotated[Path, typer.Argument(help="A compiled model.", metavar="M.so")],
    threads: Annotated[int, typer.Option(metavar="N", help="Threads.", min=1)] = 1,
    input: Inputs = None,
    inputs: InputFile = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a page with charts.")
    ] = None,
    accelerators: Accelerators = "use",
    device_cache: DeviceCache = None,
    device: OnDevice = "",
    json: Json = False,
) -> None:
    """Shows the layers that lose most time against what this machine could do.

    What a device could do is estimated, from its target and its clock. What an accelerator does is
    shown step by step, with the crossings to it and back.
    """
    with opened_at(device, artifact, threads, accelerators, device_cache) as model:
        machine, layers = layers_of(model, feeds_of(model, input or ["random"], inputs), threads)
        arena, regions = model.manifest["arena_bytes"], placements(model)
    if html is not None:
        from armlet.page import publish
        from armlet.profile_page import profile_page

        name = f"{artifact.name} on {device}" if device else artifact.name
        publish(html, profile_page(name, machine, layers, arena))
    if json:
        rows = as_rows(layers)
        found = {"model": str(artifact), "machine": machine.as_dict(), "regions": regions}
        show.as_json(found | {"layers": rows})
    else:
        print_layers(as_rows(layers), machine.as_dict())
        print_placements(regions)


def layers_of(
    model: OpenModel, feeds: Mapping[str, Any], threads: int
) -> tuple[Machine, list[LayerProfile]]:
    """What the machine can do with so many threads, and the profile of every task."""
    from armlet import profile, roofline
    from armlet.rpc.remote import RemoteModel

    if isinstance(model, RemoteModel):
        machine = roofline.estimated(*model.processor, threads)
    else:
        machine = roofline.measure(threads)
    return machine, profile.profile(model, feeds, machine)


def as_rows(layers: Sequence[LayerProfile]) -> list[dict[str, Any]]:
    """The layers as JSON, those that lose most first."""
    return [layer.as_dict() for layer in sorted(layers, key=lambda layer: -layer.loss)]


def print_layers(rows: Sequence[dict[str, Any]], machine: Mapping[str, Any]) -> None:
    columns = ["layer", "device", "operators", "template", "config", ">time", ">share"]
    show.table(
        [*columns, ">GFLOP/s", ">GB/s", ">of roofline", "limit"],
        [
            (
                row["layer"],
                row["device"],
                row["operators"],
                row["template"],
                row["config"],
                f"{row['seconds'] * 1e6:.1f} us",
                f"{row['share']:.1%}",
                f"{row['gflops']:.1f}" if row["macs"] else "",
                f"{row['gbytes']:.1f}" if row["bound"] else "",
                f"{row['efficiency']:.0%}" if row["bound"] else "",
                row["limit"],
            )
            for row in rows
        ],
        title=f"layers on {machine['threads']} threads, those that lose most first",
    )
    if not machine["measured"]:
        print("note: the roofline is estimated from the target and the clock, not measured")
