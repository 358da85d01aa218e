"""Agents on this machine, and a network between them and the tests that is slow or breaks."""

from __future__ import annotations

import contextlib
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from armlet.compiler.link.agent import agent_program
from armlet.rpc.registry import Entry
from armlet.targets import Target, target


class Agent:
    """Serves until it is killed; ``restart`` takes the same port and folder."""

    def __init__(
        self, folder: Path, *options: str, chosen: Target | None = None, command: Sequence[str] = ()
    ) -> None:
        self.folder, self.port = folder, 0
        self._command = [*command, str(agent_program(chosen or target())), *options]
        self.start()

    def start(self) -> None:
        place = ["--listen", f"127.0.0.1:{self.port}", "--folder", str(self.folder)]
        self.process = subprocess.Popen([*self._command, *place], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline().rpartition(":")[2])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def entry(self) -> Entry:
        return entry(self.port, self.folder.name)

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def entry(port: int, name: str = "device") -> Entry:
    return Entry(name, "tcp", f"127.0.0.1:{port}")


class Network:
    """Forwards connections to a port; every byte arrives ``delay`` seconds late."""

    def __init__(self, port: int, delay: float = 0.0) -> None:
        self.delay, self._to = delay, port
        #: times that a host sent something after it had received something
        self.trips = 0
        #: bytes from the device after which connections are cut
        self.most = float("inf")
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def cut(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                host, _ = self._listener.accept()
                device = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [host, device]
                answered = [False]
                self._copy(host, device, answered, True)
                self._copy(device, host, answered, False)

    def _copy(
        self, source: socket.socket, sink: socket.socket, answered: list[bool], from_host: bool
    ) -> None:
        waiting: queue.Queue[tuple[float, bytes]] = queue.Queue()

        def read() -> None:
            data = b"-"
            while data:
                with contextlib.suppress(OSError):
                    data = source.recv(1 << 16)
                    waiting.put((time.monotonic() + self.delay, data))
                    continue
                data = b""
                waiting.put((0.0, data))

        def write() -> None:
            while True:
                due, data = waiting.get()
                time.sleep(max(0.0, due - time.monotonic()))
                with contextlib.suppress(OSError):
                    if not data:
                        sink.shutdown(socket.SHUT_RDWR)
                        return
                    self._count(data, answered, from_host)
                    sink.sendall(data)

        for work in (read, write):
            threading.Thread(target=work, daemon=True).start()

    def _count(self, data: bytes, answered: list[bool], from_host: bool) -> None:
        if from_host:
            self.trips += answered[0]
            answered[0] = False
            return
        answered[0] = True
        self.most -= len(data)
        if self.most < 0:
            self.most = float("inf")
            self.cut()
