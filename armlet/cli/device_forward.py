"""``armlet device forward``: a device as TVM's client knows them, on a port of this machine."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from armlet.errors import ArmletError

#: seconds that a client waits for others to leave the device
_WAIT = 30.0


def forward(
    name: Annotated[str, typer.Argument(help="The device's name.", metavar="NAME")],
    port: Annotated[
        int, typer.Option(metavar="N", help="Where TVM's client finds it; 0 takes any.", min=0)
    ] = 9190,
) -> None:
    """Lets TVM's own client use a device that demands a key, until it is interrupted.

    The client connects to a port of this machine; from here on all is encrypted.
    """
    from armlet.rpc.device import session_with
    from armlet.rpc.forward import forward, listen
    from armlet.rpc.registry import entry

    device = entry(name)
    session_with(device).close()  # what is wrong is told now, and not to TVM's client
    with listen(port) as listener:
        print(f"{name} is at 127.0.0.1:{listener.getsockname()[1]} for TVM's client")
        sys.stdout.flush()
        forward(listener, lambda: session_with(device, wait=_WAIT), _complain)


def _complain(error: ArmletError) -> None:
    print(f"armlet: {error}", file=sys.stderr)
