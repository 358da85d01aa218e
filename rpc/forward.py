"""A port on this machine that TVM's client takes for a server of its own: the agent of a device.

TVM's protocol knows no keys, so agents with one do not listen to it. Here it comes from this
machine only, and goes to the device within a session, authenticated and encrypted: the request
``tunnel``.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from armlet.errors import ArmletError, SettingError

from .channel import Channel
from .session import Session

#: as a TVM client may be silent for as long as it likes
_FOREVER = 1e6
_PIECE = 1 << 16


def listen(port: int = 0) -> socket.socket:
    """A listener that this machine alone can reach; port 0 takes any."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise SettingError(
            f"port {port} cannot be listened on: {error.strerror}", way_out="give another: --port"
        ) from error


def forward(
    listener: socket.socket,
    connect: Callable[[], Session],
    complain: Callable[[ArmletError], None],
) -> None:
    """Serves TVM's clients, each with a session of its own, until the listener is closed.

    What keeps a client from the device is told to ``complain``; TVM's protocol has no words for it.
    """

    def serve(client: socket.socket) -> None:
        with client:
            try:
                session = connect()
                try:
                    _join(client, session.tunnel())
                finally:
                    session.close()
            except ArmletError as error:
                complain(error)

    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # closed
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(client,), daemon=True).start()


def _join(client: socket.socket, channel: Channel) -> None:
    """Copies both ways until one side has ended."""

    def to_client() -> None:
        # the end of either side is how sessions end
        with contextlib.suppress(ArmletError, OSError):
            while True:
                client.sendall(channel.receive(_FOREVER))
        _end(client)

    answers = threading.Thread(target=to_client, daemon=True)
    answers.start()
    try:
        with contextlib.suppress(ArmletError, OSError):
            while data := client.recv(_PIECE):
                channel.send(data, _FOREVER)
    finally:
        # the agent sees the end, and lets its last answer and then its own end follow
        channel.finish()
        answers.join()


def _end(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
