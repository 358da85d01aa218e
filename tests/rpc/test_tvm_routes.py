"""Devices that TVM's RPC leads to: agents of a tracker, and stock servers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import armlet
from armlet.errors import DeviceConnectionError, DeviceCrashError, SettingError
from armlet.rpc import tvm_routes
from armlet.rpc.device import Device
from armlet.rpc.registry import Entry, entry_of
from armlet.targets import target

from ..agent.agents import NEEDS_CC, faulty
from ..runtime import tiny
from .local import Agent
from .test_tvm_tracker import Tracker, _free_port, _start, _stop, _until


@pytest.fixture(scope="module")
def tracker() -> Iterator[Tracker]:
    tracker = Tracker()
    yield tracker
    tracker.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """TVM's own, on this machine."""
    port = _free_port()
    place = ["--host", "127.0.0.1", "--port", str(port), "--port-end", str(port + 1)]
    process = _start("-m", "tvm.exec.rpc_server", *place, "--silent")
    _until(lambda: socket.create_connection(("127.0.0.1", port)).close())
    yield port
    _stop(process)


@pytest.fixture
def stock(server: int) -> Iterator[Device]:
    with Device(Entry("stock", "tvm", f"127.0.0.1:{server}"), patience=0) as device:
        yield device


def test_a_model_runs_on_a_stock_server_as_here(stock: Device, small_cnn: Path) -> None:
    assert stock.target.architecture == target().architecture
    assert stock.state().free_bytes > 1 << 20
    with armlet.compile(small_cnn) as here, stock.open(here, threads=1) as model:
        feeds = here.example_inputs()
        (name,) = (o.name for o in model.outputs)
        np.testing.assert_array_equal(model.run(feeds)[name], here.run(feeds)[name])
        times = model.benchmark(feeds, seconds=0.3, warmup=0.0).seconds
        assert len(times) > 3 and 0 < times.min() < 1
        assert [t.value for t in model.profile(runs=2)] == [t.value for t in here.tasks]
        assert model.selftest().wrong == 0
        seen: list[str] = []
        with model.observe(lambda name, value: seen.append(name)):
            model.run(feeds)
        assert len(seen) == len(here.tasks)


@NEEDS_CC
def test_a_tracker_leads_to_stock_servers_again_and_again(tracker: Tracker, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((8, 64)).astype("f")
    tiny.artifact(tmp_path / "model.so")
    tracked = ["--host", "127.0.0.1", "--tracker", f"127.0.0.1:{tracker.port}", "--key", "stock"]
    process = _start("-m", "tvm.exec.rpc_server", *tracked, "--silent")
    try:
        for _ in range(2):
            place = f"127.0.0.1:{tracker.port}/stock"
            with (
                Device(Entry("tracked", "tvm", place), patience=20) as device,
                device.open(tmp_path / "model.so") as model,
            ):
                y = model.run({"x": x})["y"]
                np.testing.assert_allclose(y, tiny.evaluate(x)["y"], rtol=1e-5)
    finally:
        _stop(process)


def test_a_crash_on_a_stock_server_costs_the_model_alone(stock: Device, tmp_path: Path) -> None:
    faulty("crash", tmp_path)
    with pytest.raises(DeviceCrashError), stock.open(tmp_path / "crash.so") as model:
        model.run(model.example_inputs())
    assert stock.state().free_bytes > 0


def test_nothing_of_it_stays_on_the_server(server: int) -> None:
    entry = Entry("stock", "tvm", f"127.0.0.1:{server}")
    with Device(entry, patience=0):
        assert _agents() != []
    _until(lambda: _agents() == [])


def test_a_tracker_leads_to_agents_again_and_again(tracker: Tracker, tmp_path: Path) -> None:
    place = f"127.0.0.1:{tracker.port}/pool"
    with Agent(tmp_path / "one", "--tracker", place), Agent(tmp_path / "two", "--tracker", place):
        _until(lambda: tracker.free("pool") == 2)
        entry = Entry("pool", "tracker", place)
        for _ in range(2):
            with Device(entry) as first, Device(entry) as second:
                assert first.state().seconds > 0 and second.state().seconds > 0
                assert tracker.free("pool") == 0
            _until(lambda: tracker.free("pool") == 2, seconds=5)


def test_who_is_not_there_is_told(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvm_routes, "PATIENCE", 0.5)
    nowhere = f"127.0.0.1:{_free_port()}"
    for kind, place, words in (
        ("tvm", nowhere, f"no TVM server serves at {nowhere}: "),
        ("tracker", f"{nowhere}/phone", f"no tracker answers at {nowhere}: connection refused"),
        ("tracker", f"127.0.0.1:{tracker.port}/none", "has had no none free for 0 s"),
    ):
        with pytest.raises(DeviceConnectionError, match=words):
            Device(Entry("gone", kind, place), patience=0)


def test_a_place_is_an_address_and_a_key() -> None:
    assert entry_of("a", {"tvm": "host:1/key"}).place == "host:1/key"
    with pytest.raises(SettingError, match="is no address"):
        entry_of("a", {"tvm": "host/key"})


def _agents() -> list[str]:
    """Agents that run beneath a TVM server's temporary folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0].endswith("armlet-agent") and words[-2:-1] == [f"{words[0]}-files"]:
            found.append(words[0])
    return found
