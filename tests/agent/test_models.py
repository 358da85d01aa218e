"""Artifacts in processes of their own: answers, and what becomes of those that misbehave."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest

from armlet.errors import (
    DeviceBusyError,
    DeviceCrashError,
    DeviceMemoryError,
    DeviceRefusedError,
    DeviceTimeoutError,
    ExecutionError,
    NotOnDeviceError,
)

from ..runtime import tiny
from .agents import NEEDS_CC, Agent, faulty, host, sound, wait_until

pytestmark = NEEDS_CC
X = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    with Agent(tmp_path_factory.mktemp("agent") / "files") as started:
        yield started


@pytest.fixture
def session(agent):
    with agent.connect(wait=10) as opened:
        yield opened


def opened(session, made, **options) -> int:
    data, name = made
    if session.have([name]) != [None]:
        session.put(name, data)
    return session.open(name, **options).handle


def run(session, handle: int, **options) -> dict[str, np.ndarray]:
    outputs = {"y": np.empty(8, np.float32), "z": np.empty((8, 64), np.float32)}
    session.run(handle, [X], list(outputs.values()), **options)
    return outputs


def check(session, tmp_path) -> None:
    """A sound model runs in the same session."""
    handle = opened(session, sound(tmp_path))
    for name, right in tiny.evaluate(X).items():
        np.testing.assert_allclose(run(session, handle)[name], right, rtol=1e-5)
    session.close_model(handle)


def test_a_model_runs_and_describes_itself(session, tmp_path):
    data, name = sound(tmp_path)
    session.put(name, data)
    model = session.open(name, threads=2)
    told = model.description
    assert told["threads"] == 2 and told["manifest"]["model"] == "tiny ☃"
    assert told["inputs"] == [{"name": "x", "dtype": "float32", "shape": [8, 64]}]
    assert [task["source"] for task in told["tasks"]][1:3] == ['net/"square"\n?', "net/größe"]
    for output, right in tiny.evaluate(X).items():
        np.testing.assert_allclose(run(session, model.handle)[output], right, rtol=1e-5)
    session.close_model(model.handle)


def test_it_is_looked_into(session, tmp_path):
    handle = opened(session, sound(tmp_path))
    session.set_inputs(handle, [X])
    seen: dict[str, np.ndarray] = {}
    session.observe(handle, seen.__setitem__)
    np.testing.assert_allclose(seen["z"], tiny.evaluate(X)["z"], rtol=1e-5)
    assert list(seen) == ["a", "b", "y", "z"]
    assert [calls for _, calls, _ in session.profile(handle, 7)[0]] == [7] * 4
    report = session.selftest(handle)
    assert report.wrong == 0 and report.compared > 100


def test_a_benchmark_ends_by_runs_or_by_time_and_keeps_to_its_pace(session, tmp_path):
    handle = opened(session, sound(tmp_path))
    session.set_inputs(handle, [X])
    times: list[np.ndarray] = []
    session.bench(handle, seconds=9, runs=50, part=lambda found, state: times.append(found))
    assert sum(map(len, times)) == 50 and min(t.min() for t in times) > 0
    times.clear()
    began = time.monotonic()
    session.bench(handle, seconds=0.7, rate=50, part=lambda found, state: times.append(found))
    assert 0.6 < time.monotonic() - began < 5
    assert 5 <= sum(map(len, times)) <= 36 and len(times) >= 2


def test_a_crash_names_signal_address_and_layer(session, tmp_path):
    handle = opened(session, faulty("crash", tmp_path), threads=1)
    told = r"segmentation fault \(signal 11\) at address 0x10 in layer 'net/increment'"
    with pytest.raises(DeviceCrashError, match=told):
        run(session, handle)
    with pytest.raises(NotOnDeviceError, match="closed, or has ended"):
        run(session, handle)
    check(session, tmp_path)


def test_an_endless_loop_ends_at_its_deadline_and_is_named(session, tmp_path):
    handle = opened(session, faulty("loop", tmp_path), threads=1)
    began = time.monotonic()
    with pytest.raises(DeviceTimeoutError, match="longer than its deadline in layer 'net/incr"):
        run(session, handle, seconds=0.3)
    assert 0.3 <= time.monotonic() - began < 5
    check(session, tmp_path)


def test_a_limit_on_memory_is_met(session, tmp_path):
    handle = opened(session, faulty("hog", tmp_path), threads=1, memory_limit=64 << 20)
    with pytest.raises(DeviceMemoryError, match="limit on memory in layer 'net/increment'"):
        run(session, handle)
    check(session, tmp_path)


def test_a_process_that_ends_by_itself_is_told(session, tmp_path):
    handle = opened(session, faulty("exit", tmp_path), threads=1)
    with pytest.raises(DeviceCrashError, match="ended the process with status 3"):
        run(session, handle)
    check(session, tmp_path)


def test_what_is_no_artifact_is_refused_by_the_loader(session):
    data = b"not a library"
    name = hashlib.sha256(data).digest()
    session.put(name, data)
    with pytest.raises(ExecutionError, match=r"file too short|invalid ELF"):
        session.open(name)
    with pytest.raises(NotOnDeviceError, match="not on the device"):
        session.open(bytes(32))


def test_wrong_arguments_are_refused(session, tmp_path):
    handle = opened(session, sound(tmp_path))
    with pytest.raises(DeviceRefusedError, match="input 0 has 2048 bytes"):
        session.set_inputs(handle, [np.zeros(600, np.float32)])
    with pytest.raises(DeviceRefusedError, match="no input 1: the model has 1"):
        session.set_inputs(handle, [X, X])
    with pytest.raises(DeviceRefusedError, match="bench is malformed"):
        session.bench(handle, seconds=float("nan"))
    with pytest.raises(ExecutionError, match="pinned"):
        opened(session, sound(tmp_path), cpus=[1023])
    with pytest.raises(NotOnDeviceError, match="handle"):
        session.close_model(handle + (1 << 8))


def test_a_second_session_waits_and_then_is_told_who_holds_the_device(agent, session, tmp_path):
    handle = opened(session, sound(tmp_path))
    with agent.connect(wait=0.1) as other:
        with pytest.raises(DeviceBusyError, match=r"held by .+ at "):
            opened(other, sound(tmp_path))
        assert other.state().free_bytes > 0
        session.close_model(handle)
        check(other, tmp_path)


def test_a_session_that_goes_leaves_no_process(agent, tmp_path):
    session = agent.connect(wait=10)
    handle = opened(session, faulty("fork", tmp_path), threads=1)
    with host(agent), session:
        assert len(agent.children()) == 3
        with pytest.raises(DeviceTimeoutError):
            run(session, handle, seconds=0.2)
        assert len(agent.children()) >= 2
    wait_until(lambda: not agent.children())


def test_only_so_many_models_are_open_at_once(session, tmp_path):
    handles = [opened(session, sound(tmp_path), threads=1) for _ in range(16)]
    with pytest.raises(DeviceRefusedError, match="16 models are open"):
        opened(session, sound(tmp_path))
    assert len(set(handles)) == 16
    for handle in handles:
        session.close_model(handle)
    check(session, tmp_path)
