"""TVM's client, unchanged, at an agent with a key: through a port of this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest
from tvm import rpc
from tvm.error import RPCError

from armlet.errors import SettingError
from armlet.rpc.channel import write_key
from armlet.rpc.forward import listen
from armlet.rpc.registry import Entry, add
from armlet.targets import target

from . import tvm_kernels
from .local import Agent
from .test_tvm_tracker import time_kernel


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("libraries")
    tvm_kernels.functions(target(), folder)
    tvm_kernels.kernels(target(), folder)
    return folder


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    write_key(tmp_path / "key")
    with Agent(tmp_path / "agent", "--key", str(tmp_path / "key"), "--deadline", "2") as agent:
        yield agent


class Forward:
    """``armlet device forward``, as a process: TVM's client holds Python's lock while it waits."""

    def __init__(self, agent: Agent, key: Path) -> None:
        name = f"device-{agent.port}"
        add(Entry(name, "tcp", f"127.0.0.1:{agent.port}", key=str(key)))
        command = [sys.executable, "-m", "armlet", "device", "forward", name, "--port", "0"]
        self._process = subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True)
        assert self._process.stdout
        self._line = self._process.stdout.readline()

    @property
    def port(self) -> int:
        return int(self._line.partition(" for ")[0].rpartition(":")[2])

    def close(self) -> str:
        """What it complained of."""
        self._process.terminate()
        return self._process.communicate()[1]


@pytest.fixture
def forwarded(agent: Agent, tmp_path: Path) -> Iterator[Forward]:
    forward = Forward(agent, tmp_path / "key")
    yield forward
    forward.close()


def test_a_client_works_through_it(forwarded: Forward, libraries: Path) -> None:
    for _ in range(2):
        remote = rpc.connect("127.0.0.1", forwarded.port)
        assert min(time_kernel(remote, libraries / "kernels.so")) > 0
        data = bytearray(os.urandom(5 << 20))
        remote.upload(data, "data")
        assert remote.download("data") == data
        del remote  # the device is free again


def test_a_crash_and_an_endless_loop_are_told_through_it(
    forwarded: Forward, libraries: Path
) -> None:
    for name, words in (("crash", "a segmentation fault"), ("loop", "took longer than this agent")):
        remote = rpc.connect("127.0.0.1", forwarded.port)
        remote.upload(str(libraries / "functions.so"))
        with pytest.raises(RPCError, match=f"{name} .*{words}"):
            remote.load_module("functions.so")[name]()


def test_the_agents_key_is_not_in_a_process_that_runs_the_clients_code(
    forwarded: Forward, agent: Agent, tmp_path: Path
) -> None:
    key = bytes.fromhex((tmp_path / "key").read_text())
    assert _memory_has(agent.process.pid, key)
    remote = rpc.connect("127.0.0.1", forwarded.port)
    remote.listdir(".")
    (session,) = (int(folder.name) for folder in _children(agent.process.pid))
    assert not _memory_has(session, key)


def test_a_client_that_is_gone_leaves_nothing(forwarded: Forward, agent: Agent) -> None:
    child = os.fork()
    if child == 0:  # it knows nothing but sockets
        with socket.create_connection(("127.0.0.1", forwarded.port)) as connection:
            connection.sendall(bytes.fromhex("71f20f0007000000") + b"client:")
            connection.recv(4)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    until = time.monotonic() + 5
    while _children(agent.process.pid):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert rpc.connect("127.0.0.1", forwarded.port).listdir(".") == ""


def test_a_wrong_key_is_told_before_a_client_comes(agent: Agent, tmp_path: Path) -> None:
    write_key(tmp_path / "other")
    assert "the agent's key is another" in Forward(agent, tmp_path / "other").close()


def test_what_keeps_a_client_away_is_told(forwarded: Forward, agent: Agent) -> None:
    agent.kill()
    with pytest.raises(Exception, match=r"(?i)socket|close|code"):
        rpc.connect("127.0.0.1", forwarded.port)
    assert "nothing answers at 127.0.0.1" in forwarded.close()


def test_a_port_that_is_taken_is_told() -> None:
    with listen() as listener, pytest.raises(SettingError, match="cannot be listened on"):
        listen(listener.getsockname()[1])


def _children(pid: int) -> list[Path]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}") for child in found]


def _memory_has(pid: int, words: bytes) -> bool:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            if "w" not in rights:
                continue
            start, end = (int(part, 16) for part in place.split("-"))
            memory.seek(start)
            try:
                if words in memory.read(end - start):
                    return True
            except OSError:
                continue
    return False
