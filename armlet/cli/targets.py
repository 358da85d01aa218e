"""``armlet targets``: what one can compile for, and what armlet knows of it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .options import Json

if TYPE_CHECKING:
    from armlet.targets import Device, Target


def targets(
    name: Annotated[
        str | None, typer.Argument(help="A target to explain; without one, all are listed.")
    ] = None,
    json: Json = False,
) -> None:
    """Lists what ``--target`` takes, or explains one target.

    A name is FAMILY[-CORE][+EXTENSION...] or DEVICE[+EXTENSION...], such as
    android-arm64+dotprod, linux-arm64-cortex-a76 or raspberry-pi-4; "host" is this machine.
    """
    if name is None:
        _all(json)
    else:
        _one(name, json)


def _all(json: bool) -> None:
    from armlet.targets import CORES, DEVICES, EXTENSIONS, FAMILIES

    if json:
        show.as_json(
            {
                "families": list(FAMILIES),
                "cores": {c.name: list(c.architectures) for c in CORES.values()},
                "extensions": {a: list(rows) for a, rows in EXTENSIONS.items()},
                "devices": [_device(d) for d in DEVICES.values()],
            }
        )
        return
    rows = []
    for family in FAMILIES.values():
        extensions = [f"+{e}" for e in EXTENSIONS.get(family.architecture, ())]
        rows.append((family.name, " ".join(extensions)))
    show.table(["family", "extensions"], rows)
    for architecture in dict.fromkeys(f.architecture for f in FAMILIES.values()):
        cores = [c.name for c in CORES.values() if architecture in c.architectures]
        if cores:
            text = f"Cores of {architecture}: {', '.join(cores)}"
            print("\n" + textwrap.fill(text, 100, subsequent_indent="    ", break_on_hyphens=False))
    print()
    devices = [(d.name, d.title, _cores_text(d)) for d in DEVICES.values()]
    show.table(["device", "what it is", "cores"], devices)


def _cores_text(device: Device) -> str:
    return " + ".join(f"{c.count} {c.core.name}" for c in device.clusters)


def _device(device: Device) -> dict[str, Any]:
    clusters = [
        {"core": c.core.name, "count": c.count, "mhz": c.mhz, "l2_bytes": c.l2_bytes}
        for c in device.clusters
    ]
    return {
        "name": device.name,
        "title": device.title,
        "clusters": clusters,
        "l3_bytes": device.l3_bytes,
        "gpu": device.gpu,
        "source": device.source,
    }


def _one(name: str, json: bool) -> None:
    from armlet.targets import DEVICES, EXTENSIONS, cpu_flags, is_native, target

    found = target(name)
    device = DEVICES.get(name.partition("+")[0])
    known = EXTENSIONS.get(found.architecture, {})
    extensions = {e: x.text for e, x in known.items() if not set(x.features) <= set(found.features)}
    if json:
        facts = {"target": _facts(found), "device": device and _device(device)}
        show.as_json({**facts, "more_extensions": extensions})
        return
    rows = [("target", name)]
    if device:
        clusters = ", ".join(f"{c.count} x {c.core.name} at {c.mhz} MHz" for c in device.clusters)
        rows += [("device", device.title), ("clusters", clusters)]
        rows += [("GPU", device.gpu)] if device.gpu else []
        rows.append(("source", device.source))
    vectors = f"{found.vector_registers} of {found.lanes * 32} bits"
    order = "in order" if found.in_order else "out of order"
    rows += [
        ("code for", f"{found.cpu} on {found.triple}"),
        ("must have", " ".join(found.features) or "nothing more than every such machine has"),
        ("vectors", f"{vectors}, {found.fma_units:g} multiply-adds a cycle, {order}"),
        ("caches", f"{show.size(found.l1_bytes)} and {show.size(found.l2_bytes)} a core"),
        ("threads", f"at most {found.cores} are planned for"),
    ]
    rows += [("may add", f"+{e}: {text}") for e, text in extensions.items()]
    here = is_native(found) and cpu_flags().issuperset(found.features)
    rows.append(("here", "runs on this machine" if here else _elsewhere(found)))
    show.pairs(rows)


def _elsewhere(found: Target) -> str:
    from armlet import emulator

    missing = emulator.find(found).missing
    return f"cannot be run: {missing}" if missing else "runs in an emulator, for checking answers"


def _facts(found: Target) -> dict[str, Any]:
    import dataclasses

    return {k: v for k, v in dataclasses.asdict(found).items() if k != "name"} | {
        "name": str(found)
    }
