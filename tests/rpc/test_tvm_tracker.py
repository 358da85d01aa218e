"""TVM's tracker and proxy, unchanged, with agents."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import rpc
from tvm.rpc import base
from tvm.rpc.base import TrackerCode

from armlet.compiler.link.agent import agent_program
from armlet.targets import target

from . import tvm_kernels
from .local import Agent


class Tracker:
    """TVM's, in a process of its own; ``restart`` takes the same port."""

    def __init__(self) -> None:
        self.port = _free_port()
        self.start()

    def start(self) -> None:
        command = ["-m", "tvm.exec.rpc_tracker", "--host", "127.0.0.1", "--silent"]
        ports = ["--port", str(self.port), "--port-end", str(self.port + 1)]
        self._process = _start(*command, *ports)
        _until(lambda: socket.create_connection(("127.0.0.1", self.port)).close())

    def stop(self) -> None:
        _stop(self._process)

    @property
    def client(self) -> rpc.TrackerSession:
        return rpc.connect_tracker("127.0.0.1", self.port)

    def free(self, key: str) -> int:
        return self.client.summary()["queue_info"].get(key, {"free": 0})["free"]

    def take(self, key: str) -> str:
        """A device's match key, as a client gets it that then does not come."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(struct.pack("<i", base.RPC_TRACKER_MAGIC))
            base.recvall(connection, 4)
            base.sendjson(connection, [TrackerCode.REQUEST, key, "", 1])
            return base.recvjson(connection)[1][2]


def _start(*arguments: str) -> subprocess.Popen:
    """TVM's servers have a process of their own below the one that is started."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, *arguments], start_new_session=True, **quiet)


def _stop(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    """Below those that connections get, lest one that looks for the server takes its place."""
    while True:
        port = random.randrange(20000, 30000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _until(done: object, seconds: float = 60.0) -> None:
    """Until it returns something other than False, without an error."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if done() is not False:  # type: ignore[operator]
                return
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def tracker() -> Iterator[Tracker]:
    tracker = Tracker()
    yield tracker
    tracker.stop()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """What the test's agents are known as, and no other's."""
    return request.node.name.removeprefix("test_")[:64]


@pytest.fixture
def agent(tracker: Tracker, tmp_path: Path, key: str) -> Iterator[Agent]:
    with Agent(tmp_path / "agent", "--tracker", f"127.0.0.1:{tracker.port}/{key}") as agent:
        _until(lambda: tracker.free(key) == 1)
        yield agent


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tvm_kernels.kernels(target(), tmp_path_factory.mktemp("kernels"))


def time_kernel(remote: rpc.RPCSession, kernels: Path) -> tuple[float, ...]:
    remote.upload(str(kernels))
    module, device = remote.load_module(kernels.name), remote.cpu()
    x = tvm_kernels.random(*tvm_kernels.SHAPE)
    y = tvm.runtime.empty(x.shape, "float32", device)
    timed = module.time_evaluator("exponential", device, number=3, repeat=2)
    seconds = timed(tvm.runtime.tensor(x, device), y).results
    np.testing.assert_allclose(y.numpy(), np.exp(x), rtol=1e-5)
    return tuple(seconds)


def test_a_client_gets_a_device_from_the_tracker_again_and_again(
    tracker: Tracker, key: str, agent: Agent, kernels: Path
) -> None:
    client = tracker.client
    started = time.monotonic()
    for _ in range(3):
        seconds = time_kernel(client.request(key, session_timeout=30), kernels)
        assert len(seconds) == 2 and min(seconds) > 0
    # the device is offered again at once, and not when the tracker is asked the next time
    assert time.monotonic() - started < 5


def test_the_tracker_lists_the_device(tracker: Tracker, key: str, agent: Agent) -> None:
    known = {info["key"]: info["addr"] for info in tracker.client.summary()["server_info"]}
    assert known[f"server:{key}"] == ["127.0.0.1", agent.port]


def test_who_does_not_come_from_the_tracker_is_not_served(
    tracker: Tracker, key: str, agent: Agent
) -> None:
    with pytest.raises(Exception, match="cannot find server that matches key"):
        rpc.connect("127.0.0.1", agent.port, key)


def test_a_match_key_is_good_once_the_next_is_used(
    tracker: Tracker, key: str, agent: Agent
) -> None:
    match = tracker.take(key)
    rpc.connect("127.0.0.1", agent.port, match).listdir(".")
    for _ in range(2):
        tracker.client.request(key).listdir(".")
    with pytest.raises(Exception, match="cannot find server that matches key"):
        rpc.connect("127.0.0.1", agent.port, match)


def test_a_client_that_does_not_come_keeps_the_device_for_some_seconds(
    tracker: Tracker, key: str, agent: Agent
) -> None:
    taken = tracker.take(key)
    started = time.monotonic()
    assert tracker.take(key) != taken
    assert 6 < time.monotonic() - started < 14


def test_a_tracker_that_was_restarted_knows_the_device_again(
    tracker: Tracker, key: str, agent: Agent, kernels: Path
) -> None:
    tracker.stop()
    time.sleep(0.5)
    tracker.start()
    started = time.monotonic()
    remote = tracker.client.request(key)
    assert time.monotonic() - started < 6
    assert time_kernel(remote, kernels)


def test_an_agent_may_be_there_before_its_tracker(
    tracker: Tracker, key: str, tmp_path: Path
) -> None:
    tracker.stop()
    with Agent(tmp_path / "agent", "--tracker", f"127.0.0.1:{tracker.port}/{key}"):
        time.sleep(0.5)
        tracker.start()
        assert tracker.client.request(key).listdir(".") == ""


@pytest.mark.parametrize("place", ["nowhere", "127.0.0.1/phone", "127.0.0.1:1/a b", ":5/a"])
def test_a_tracker_that_cannot_be_is_refused(tmp_path: Path, place: str) -> None:
    command = [agent_program(target()), "--folder", tmp_path, "--listen", "127.0.0.1:0"]
    done = subprocess.run([*command, "--tracker", place], capture_output=True, text=True)
    assert done.returncode == 2 and f"--tracker {place}: " in done.stderr


def test_two_agents_behind_one_tracker_serve_four_clients(
    tracker: Tracker, key: str, agent: Agent, kernels: Path, tmp_path: Path
) -> None:
    def use(_: int) -> list[tuple[float, ...]]:
        client = tracker.client
        return [time_kernel(client.request(key), kernels) for _ in range(3)]

    place = f"127.0.0.1:{tracker.port}/{key}"
    with Agent(tmp_path / "second", "--tracker", place), ThreadPoolExecutor(4) as clients:
        _until(lambda: tracker.free(key) == 2)
        found = list(clients.map(use, range(4)))
        assert all(seconds > 0 for of in found for times in of for seconds in times)
        _until(lambda: tracker.free(key) == 2)


# ---- the proxy


@pytest.fixture
def proxy() -> Iterator[int]:
    port = _free_port()
    command = ["-m", "tvm.exec.rpc_proxy", "--host", "127.0.0.1", "--port", str(port)]
    process = _start(*command, "--port-end", str(port + 1), "--web-port", "0")
    _until(lambda: socket.create_connection(("127.0.0.1", port)).close())
    yield port
    _stop(process)


def test_a_client_reaches_the_device_through_a_proxy(
    proxy: int, kernels: Path, tmp_path: Path
) -> None:
    command = [agent_program(target()), "--folder", tmp_path / "agent"]
    agent = subprocess.Popen([*command, "--proxy", f"127.0.0.1:{proxy}/board"])
    try:
        for _ in range(2):
            assert time_kernel(rpc.connect("127.0.0.1", proxy, "board"), kernels)
    finally:
        agent.terminate()
        agent.wait()


def test_a_proxy_elsewhere_is_refused(tmp_path: Path) -> None:
    command = [agent_program(target()), "--folder", tmp_path, "--proxy", "192.0.2.1:9090/board"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "a proxy is served on this machine only" in done.stderr


def test_the_tracker_is_never_waited_for(tmp_path: Path) -> None:
    """One that accepts and says nothing holds up nobody."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}/phone"
        with Agent(tmp_path / "agent", "--tracker", place) as agent:
            connection, _ = silent.accept()
            connection.sendall(struct.pack("<i", base.RPC_TRACKER_MAGIC) + b"\xff\xff\x0f")
            started = time.monotonic()
            worker = threading.Thread(target=lambda: rpc.connect("127.0.0.1", agent.port))
            worker.start()
            worker.join(5)
            assert not worker.is_alive() and time.monotonic() - started < 2


# ---- the tuner


def test_metaschedule_measures_on_the_device(
    tracker: Tracker, key: str, agent: Agent, tmp_path: Path
) -> None:
    from tvm.s_tir import meta_schedule as ms

    config = ms.runner.RPCConfig("127.0.0.1", tracker.port, key, session_timeout_sec=60)
    timing = ms.runner.EvaluatorConfig(2, 3, 0, enable_cpu_cache_flush=True)
    runner = ms.runner.RPCRunner(config, timing, max_workers=1)
    tensors = [ms.arg_info.TensorInfo("float32", tvm_kernels.SHAPE)] * 2
    library = tvm_kernels.entry(target(), tmp_path)
    (future,) = runner.run([ms.runner.RunnerInput(str(library), "cpu", tensors)])
    found = future.result()
    assert found.error_msg is None
    assert len(found.run_secs) == 3 and all(float(s) > 0 for s in found.run_secs)
