"""Ways to a device: a network, ``adb`` for phones, ``ssh`` for boards.

The last two also bring files there and run commands; authentication is theirs.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from armlet.errors import DeviceConnectionError, DeviceError, MissingPackageError

from .channel import dial_tcp
from .registry import Entry, address

#: seconds that connecting and a command of adb or ssh may take
PATIENCE = 10.0
COPYING = 300.0


class Route(ABC):
    @abstractmethod
    def dial(self) -> socket.socket:
        """A connection to the agent; ``DeviceConnectionError`` if there is none."""

    def complaint(self) -> str:
        """Why the last connection ended, as far as it is known."""
        return ""


class Shell(Route):
    """A way by which commands run on the device, too."""

    #: where the agent lives there
    folder: str

    @abstractmethod
    def command(self, command: str) -> Sequence[str]:
        """What runs a command of the device's shell, here."""

    @abstractmethod
    def push(self, file: Path, name: str) -> None:
        """Copies a file into the agent's folder."""

    def sh(self, command: str, data: bytes = b"") -> str:
        """What a command prints; ``data`` is its input."""
        return _run(self.command(command), data)


@dataclass(frozen=True)
class Tcp(Route):
    host: str
    port: int

    def dial(self) -> socket.socket:
        return dial_tcp(self.host, self.port)


@dataclass(frozen=True)
class Adb(Shell):
    serial: str
    port: int
    folder: str = "/data/local/tmp/armlet"

    def _adb(self, *arguments: str) -> list[str]:
        return [_program("adb", "android-tools-adb"), "-s", self.serial, *arguments]

    def dial(self) -> socket.socket:
        """The forwarding is removed at once; the connection outlives it."""
        port = _run(self._adb("forward", "tcp:0", f"tcp:{self.port}")).strip()
        try:
            return Tcp("127.0.0.1", int(port)).dial()
        finally:
            with contextlib.suppress(DeviceError):
                _run(self._adb("forward", "--remove", f"tcp:{port}"))

    def command(self, command: str) -> Sequence[str]:
        return self._adb("shell", command)

    def push(self, file: Path, name: str) -> None:
        _run(self._adb("push", str(file), f"{self.folder}/{name}"), seconds=COPYING)


@dataclass
class Ssh(Shell):
    host: str
    port: int
    #: below the user's home
    folder: str = ".armlet-agent"
    _said: IO[bytes] | None = None

    def _ssh(self, *arguments: str) -> list[str]:
        # no questions: there may be nobody to answer them
        options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={PATIENCE:.0f}"]
        return [_program("ssh", "openssh-client"), *options, *arguments]

    def dial(self) -> socket.socket:
        """The agent's port, through standard input and output: nobody else here can use it."""
        ours, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # read after the process has ended
        command = self._ssh("-W", f"127.0.0.1:{self.port}", self.host)
        with theirs:
            ends = {
                "stdin": theirs.fileno(),
                "stdout": theirs.fileno(),
                "stderr": self._said.fileno(),
            }
            process = subprocess.Popen(command, **ends)  # type: ignore[call-overload]
        # it ends with the connection
        threading.Thread(target=process.wait, daemon=True).start()
        return ours

    def complaint(self) -> str:
        if self._said is None:
            return ""
        self._said.seek(0)
        return f"ssh {self.host}: {_reason(self._said.read())}"

    def command(self, command: str) -> Sequence[str]:
        return self._ssh(self.host, command)

    def push(self, file: Path, name: str) -> None:
        path = shlex.quote(f"{self.folder}/{name}")
        _run(self.command(f"cat > {path}"), file.read_bytes(), COPYING)


def route_of(entry: Entry) -> Route:
    from . import tvm_routes

    if entry.kind == "tracker":
        return tvm_routes.Tracked(entry.place)
    if entry.kind == "tvm":
        return tvm_routes.Stock(entry.place)
    if entry.kind == "adb":
        return Adb(entry.place, entry.port)
    if entry.kind == "ssh":
        return Ssh(entry.place, entry.port)
    return Tcp(*address(entry.place))


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingPackageError(
            f"the program {name} is not installed", way_out=f"Debian: apt install {package}"
        )
    return found


def _run(command: Sequence[str], data: bytes = b"", seconds: float = PATIENCE) -> str:
    name = Path(command[0]).name
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise DeviceConnectionError(f"{name} did not end within {seconds:.0f} s") from error
    if done.returncode:
        raise DeviceConnectionError(f"{name} failed: {_reason(done.stderr or done.stdout)}")
    return done.stdout.decode(errors="replace")


def _reason(said: bytes) -> str:
    """The last line of what a program complains of."""
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("adb: ").removeprefix("error: ") if lines else "it says nothing"
