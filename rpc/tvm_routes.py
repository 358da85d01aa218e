"""Ways to a device that TVM's RPC leads: its tracker, which knows agents, and its own servers.

A stock TVM server knows nothing of armlet. It is given an agent for its machine and a small
library that starts it (``runtime/bridge``); what is said to the agent are arguments of calls.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from armlet.errors import DeviceConnectionError
from armlet.targets import FAMILIES, Target, target

from .registry import address
from .route import Route, Tcp

if TYPE_CHECKING:
    from tvm.rpc import RPCSession

#: seconds for a tracker to have a device free, and for a TVM server to be there
PATIENCE = 60.0
#: of a call that waits for the agent, so that it can be interrupted
_SLICE_MS = 500


@dataclass(frozen=True)
class Tracked(Route):
    """An agent that a tracker hands out. ``place``: HOST:PORT/KEY of the tracker."""

    place: str

    def dial(self) -> socket.socket:
        from tvm.rpc import base

        where, _, key = self.place.partition("/")
        host, port = address(where)
        try:
            connection = socket.create_connection((host, port), PATIENCE)
            with connection:
                connection.sendall(base.RPC_TRACKER_MAGIC.to_bytes(4, "little"))
                base.recvall(connection, 4)
                base.sendjson(connection, [base.TrackerCode.REQUEST, key, "", 1])
                code, found = base.recvjson(connection)
        except TimeoutError as error:
            raise DeviceConnectionError(
                f"the tracker at {where} has had no {key} free for {PATIENCE:.0f} s"
            ) from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DeviceConnectionError(f"no tracker answers at {where}: {reason}") from error
        if code != base.TrackerCode.SUCCESS:
            raise DeviceConnectionError(f"the tracker at {where} refuses: {found}")
        return Tcp(*found[:2]).dial()


@dataclass(frozen=True)
class Stock(Route):
    """A stock TVM server: HOST:PORT, or HOST:PORT/KEY of a tracker that has some."""

    place: str

    def dial(self) -> socket.socket:
        """An agent that is started there, and ends with the connection."""
        try:
            remote = self._connect()
            module = _bridge(remote, self.place)
        except (RuntimeError, OSError) as error:
            raise DeviceConnectionError(
                f"no TVM server serves at {self.place}: {_first_line(error)}",
                way_out="python -m tvm.exec.rpc_server --host ADDRESS --port PORT",
            ) from error
        return cast(socket.socket, _Carried(remote, *module))

    def _connect(self) -> RPCSession:
        from tvm import rpc

        where, _, key = self.place.partition("/")
        host, port = address(where)
        if key:
            return rpc.connect_tracker(host, port).request(key, max_retry=1)
        return rpc.connect(host, port)


def _bridge(remote: RPCSession, place: str) -> tuple[Any, int]:
    """The bridge's module, and the connection of the agent that it has started."""
    from armlet.compiler.link import agent, bridge

    for family in _families():
        name = f"{family.name}-{bridge.NAME}"
        remote.upload(str(bridge.bridge_library(family)), name)
        try:
            module = remote.load_module(name)
        except RuntimeError:  # it is a machine of another kind
            continue
        remote.upload(str(agent.agent_program(family)), agent.NAME)
        path = remote.get_function("tvm.rpc.server.workpath")(agent.NAME)
        return module, module["armlet_start"](path, f"{path}-files")
    raise DeviceConnectionError(f"the TVM server at {place} runs on a machine that has no agent")


def _families() -> Iterator[Target]:
    """Most servers run on machines like this one."""
    linux = [f for f in FAMILIES.values() if f.name.startswith("linux-")]
    here = target().architecture
    yield from sorted(linux, key=lambda family: family.architecture != here)


class _Carried:
    """The part of a socket's interface that a channel uses, over calls of TVM's client."""

    def __init__(self, remote: RPCSession, module: Any, number: int) -> None:
        self._remote: RPCSession | None = remote
        self._number = number
        self._send, self._receive = module["armlet_send"], module["armlet_receive"]
        self._received = memoryview(b"")
        self._timeout = PATIENCE

    def settimeout(self, seconds: float) -> None:
        self._timeout = seconds

    def sendmsg(self, parts: Sequence[bytes | memoryview]) -> int:
        data = b"".join(parts)
        self.sendall(data)
        return len(data)

    def sendall(self, data: bytes | memoryview) -> None:
        if data:
            self._call(self._send, bytes(data))

    def recv_into(self, into: memoryview) -> int:
        until = time.monotonic() + self._timeout
        while not self._received:
            self._received = memoryview(self._call(self._receive, _SLICE_MS))
            if not self._received and time.monotonic() > until:
                raise TimeoutError
        count = min(len(into), len(self._received))
        into[:count] = self._received[:count]
        self._received = self._received[count:]
        return count

    def shutdown(self, how: int) -> None:
        self.close()

    def close(self) -> None:
        remote, self._remote = self._remote, None
        if remote is not None:
            del self._send, self._receive
            remote.get_function("CloseRPCConnection")()

    def fileno(self) -> int:
        return -1 if self._remote is None else self._number

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(self._number, *arguments)
        except RuntimeError as error:
            raise ConnectionError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    """What TVM's errors say, without its trace."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("RPCError")] or lines
    return lines[0].strip() if lines else type(error).__name__
