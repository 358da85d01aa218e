"""``armlet device``: phones and boards by name, and the agent that serves them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from armlet.errors import ArmletError, SettingError

from . import show
from .device_forward import forward
from .options import Json

if TYPE_CHECKING:
    from armlet.rpc.device import Device
    from armlet.rpc.registry import Entry

Name = Annotated[str, typer.Argument(help="The device's name.", metavar="NAME")]
#: seconds that a device may take to answer a list
_PATIENCE = 1.0

app = typer.Typer(
    name="device",
    help="Knows phones and boards by name, and brings the agent there that serves them.",
    no_args_is_help=True,
)


@app.command()
def list(json: Json = False) -> None:
    """Lists the devices that are known, and whether they answer."""
    from armlet.rpc.registry import entries

    known = [*entries().values()]
    with ThreadPoolExecutor(max(1, len(known))) as pool:
        rows = [*pool.map(_row, known)]
    if json:
        show.as_json(rows)
        return
    show.table(
        ["device", "reached by", "target", ">deg C", ">MHz", "state"],
        [
            (
                r["name"], f"{r['kind']} {r['place']}", r.get("target", ""),
                r.get("temperature") or "", "/".join(str(m) for m in r.get("mhz", ()) if m),
                r.get("error", "answers"),
            )
            for r in rows
        ],
    )  # fmt: skip


def _row(entry: Entry) -> dict[str, Any]:
    from armlet.rpc.device import Device

    row: dict[str, Any] = {"name": entry.name, "kind": entry.kind, "place": entry.place}
    try:
        with Device(entry, patience=_PATIENCE) as found:
            return row | _condition(found)
    except ArmletError as error:
        return row | {"error": error.what}


def _condition(found: Device) -> dict[str, Any]:
    from armlet.modes import state_row

    state = found.state()
    return {"target": str(found.target), "free_bytes": state.free_bytes, **state_row(state)}


@app.command()
def add(
    name: Name,
    adb: Annotated[
        str, typer.Option(metavar="SERIAL", help="A phone, as `adb devices` calls it.")
    ] = "",
    ssh: Annotated[
        str, typer.Option(metavar="[USER@]HOST", help="A board that ssh logs in to without asking.")
    ] = "",
    tcp: Annotated[str, typer.Option(metavar="HOST:PORT", help="An agent in this network.")] = "",
    tracker: Annotated[
        str, typer.Option(metavar="HOST:PORT/KEY", help="Any free device of a TVM tracker.")
    ] = "",
    tvm: Annotated[
        str,
        typer.Option(metavar="HOST:PORT[/KEY]", help="A stock TVM RPC server, or a tracker's."),
    ] = "",
    port: Annotated[
        int, typer.Option(metavar="N", help="The agent's port there, for adb and ssh.", min=1)
    ] = 9090,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The key that the agent was started with.")
    ] = None,
) -> None:
    """Gives a device a name, or changes how it is reached."""
    from armlet.rpc.channel import read_key
    from armlet.rpc.registry import add, entry_of

    ways = {"adb": adb, "ssh": ssh, "tcp": tcp, "tracker": tracker, "tvm": tvm}
    given = {kind: place for kind, place in ways.items() if place}
    if len(given) != 1:
        options = ", ".join(f"--{kind}" for kind in ways)
        raise SettingError("one way to reach the device is needed", way_out=f"one of {options}")
    if key is not None:
        read_key(key)
    fields = {**given, "port": port, "key": str(key.absolute()) if key else ""}
    add(entry_of(name, fields))
    print(f"{name} is reached by {' '.join(*given.items())}")


@app.command()
def remove(name: Name) -> None:
    """Forgets a device; what runs there is left alone."""
    from armlet.rpc.registry import remove

    remove(name)


@app.command()
def info(name: Name, json: Json = False) -> None:
    """Shows what a device is and how it does: cores, features, clocks, temperature, memory."""
    from armlet.rpc.device import device

    with device(name) as found:
        document = {"name": name, **found.facts, **_condition(found)}
        clusters = found.clusters
    if json:
        show.as_json(document)
        return
    degrees = document["temperature"]
    rows = [
        ("device", f"{name}, {found.entry.how}"),
        ("agent", document.get("agent", "")),
        ("model", document.get("model", "")),
        ("system", f"{document.get('system')}, kernel {document.get('kernel', 'unknown')}"),
        ("compile for", document["target"]),
        ("features", " ".join(document.get("features", ()))),
        *[
            (
                f"cluster {i}",
                f"CPUs {', '.join(map(str, c.cpus))}"
                + (f", at most {c.mhz:.0f} MHz" if c.mhz else "")
                + (f", now {document['mhz'][i]} MHz" if document["mhz"][i : i + 1] > [0] else ""),
            )
            for i, c in enumerate(clusters)
        ],
        ("temperature", f"{degrees} deg C" if degrees is not None else "not told"),
        ("free memory", show.size(document["free_bytes"])),
    ]
    show.pairs((what, text) for what, text in rows if text)


@app.command(name="deploy-agent")
def deploy_agent(name: Name) -> None:
    """Builds the agent for a device, brings it there by adb or ssh, and starts it with a key."""
    from armlet.rpc.deploy import deploy
    from armlet.rpc.device import device

    with show.working(f"deploying to {name}") as progress:
        progress("agent", 0, 1)
        family = deploy(name)
        progress("agent", 1, 1)
    with device(name) as found:
        print(f"{name}: the agent for {family} runs; compile for {found.target}")


@app.command()
def doctor(name: Name, json: Json = False) -> None:
    """Checks the way to a device step by step, to the answers of a tiny model there.

    Exit status 1 if something does not work.
    """
    from .device_doctor import examinations
    from .doctor import diagnose

    diagnose(examinations(name), json)


@app.command()
def serve(
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="Where hosts find it; port 0 takes any.")
    ] = "127.0.0.1:9090",
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The key that hosts must know.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where uploads are kept; in the cache.")
    ] = None,
    tracker: Annotated[
        str, typer.Option(metavar="HOST:PORT/KEY", help="A TVM tracker to register at.")
    ] = "",
    proxy: Annotated[
        str, typer.Option(metavar="HOST:PORT/KEY", help="A TVM proxy to serve, and nobody else.")
    ] = "",
) -> None:
    """Serves this machine as a device, until it is interrupted."""
    from armlet.compiler.link.agent import agent_program
    from armlet.compiler.link.toolchain import cache_dir
    from armlet.targets import target

    program = agent_program(target())
    files = folder or cache_dir("agent-files") / listen.replace("/", "_")
    options = ["--listen", listen, "--folder", str(files)]
    options += ["--key", str(key)] if key else []
    options += ["--tracker", tracker] if tracker else []
    options += ["--proxy", proxy] if proxy else []
    os.execv(program, [str(program), *options])


@app.command()
def key(
    file: Annotated[Path, typer.Argument(help="The file to make.", metavar="FILE")],
) -> None:
    """Makes a key, which the agent (--key FILE) and this machine (device add --key FILE) share."""
    from armlet.rpc.channel import write_key

    write_key(file)
    print(f"wrote {file}, which only you can read: bring it to the device by a safe way")


app.command()(forward)
