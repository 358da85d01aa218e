"""Models on a device: the agent of this machine, and one that an emulator runs as the phone."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import armlet
from armlet import modes
from armlet.compare import difference
from armlet.errors import (
    ArtifactError,
    DeviceBusyError,
    DeviceConnectionError,
    DeviceError,
    DeviceKeyError,
    DeviceTimeoutError,
    ExecutionError,
    InputError,
    NotOnDeviceError,
)
from armlet.here import Here
from armlet.rpc.channel import write_key
from armlet.rpc.device import Device
from armlet.rpc.registry import Entry
from armlet.targets import target

from .local import Agent, Network

QEMU = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "key"
    write_key(path)
    return path


@pytest.fixture(scope="module")
def agent(tmp_path_factory, key):
    with Agent(tmp_path_factory.mktemp("agent"), "--key", str(key)) as made:
        yield made


def entry_of(agent: Agent, key: Path | None) -> Entry:
    return Entry("phone", "tcp", f"127.0.0.1:{agent.port}", key=str(key or ""))


@pytest.fixture
def device(agent, key):
    with Device(entry_of(agent, key)) as made:
        yield made


@pytest.fixture
def compiled(small_cnn):
    with armlet.compile(small_cnn) as made:
        yield made


def test_a_model_runs_there_as_here(device, compiled):
    feeds = compiled.example_inputs()
    with device.open(compiled, threads=1) as model:
        assert (model.inputs, model.outputs) == (compiled.inputs, compiled.outputs)
        assert model.manifest == compiled.manifest
        assert [t.value for t in model.tasks] == [t.value for t in compiled.tasks]
        (name,) = (o.name for o in model.outputs)
        np.testing.assert_array_equal(model.run(feeds)[name], compiled.run(feeds)[name])
        mine = np.zeros(model.outputs[0].shape, np.float32)
        assert model.run(feeds, {name: mine})[name] is mine and mine.any()
        assert 0 < model.run_seconds < 1 and model.open_seconds > 0


def test_it_is_timed_profiled_observed_and_tested_there(device, compiled):
    with device.open(compiled, threads=1) as model:
        assert len(model.benchmark(runs=7).seconds) == 7
        watched = []
        found = model.benchmark(seconds=0.3, warmup=0, watch=lambda t, s: watched.append((t, s)))
        assert sum(len(t) for t, _ in watched) == len(found.seconds) > 1
        assert watched[-1][1].free_bytes > 0
        assert len(model.benchmark(seconds=0.5, warmup=0, rate=10).seconds) <= 6
        assert [t.value for t in model.profile(runs=2)] == [t.value for t in compiled.tasks]
        assert all(t.calls == 2 and t.seconds > 0 for t in model.profile(runs=2))
        assert model.selftest().passed
        feeds, there, here = model.example_inputs(), {}, {}
        for one, kept in ((model, there), (compiled, here)):
            with one.observe(lambda n, d, kept=kept: kept.__setitem__(n, d.copy())):
                one.run(feeds)
        assert there.keys() == here.keys()
        # the lanes beyond a blocked tensor's channels hold anything
        for name in (n for n in here if here[n].ndim != 5):
            np.testing.assert_array_equal(there[name], here[name])


def test_wrong_inputs_are_told_before_anything_is_sent(device, compiled):
    with device.open(compiled, threads=1) as model:
        with pytest.raises(InputError, match="has no input"):
            model.run({"z": np.zeros(1)})
        with pytest.raises(InputError, match="shape"):
            model.run({"x": np.zeros((1, 3, 14, 12), np.float32)})


def test_what_is_there_is_not_sent_again(device, compiled):
    sent: list[int] = []
    assert device.upload(compiled) == hashlib.sha256(compiled.path.read_bytes()).digest()
    device.upload(compiled, lambda present, total: sent.append(present))
    assert sent == []


def test_an_upload_goes_on_after_the_connection_was_cut(agent, key, tmp_path, compiled):
    data = bytearray(compiled.path.read_bytes() + os.urandom(24 << 20))
    path = tmp_path / "large.so"
    path.write_bytes(data)
    network = Network(agent.port)
    with Device(Entry("phone", "tcp", f"127.0.0.1:{network.port}", key=str(key))) as device:
        seen: list[int] = []

        def progress(present: int, total: int) -> None:
            seen.append(present)
            if len(seen) in (1, 3) and present < total:
                network.cut()

        device.upload(path, progress)
        assert device.session.have([hashlib.sha256(data).digest()]) == [None]
    assert seen[-1] == len(data) and seen == sorted(seen)
    network.close()


def test_an_artifact_for_another_machine_is_told_before_it_is_sent(device, small_cnn, tmp_path):
    other = tmp_path / "arm.so"
    armlet.compile(small_cnn, "linux-arm64").save(other)
    with pytest.raises(ArtifactError, match="made for aarch64, and phone is x86_64"):
        device.open(other)
    other.write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="not an artifact"):
        device.open(other)
    with pytest.raises(ArtifactError, match="cannot be read"):
        device.open(tmp_path / "missing.so")


def test_a_library_that_is_no_artifact_is_one_sentence(device, compiled, tmp_path):
    damaged = tmp_path / "damaged.so"
    damaged.write_bytes(compiled.path.read_bytes()[:5000])
    with pytest.raises((ExecutionError, DeviceError, ArtifactError)) as caught:
        device.open(damaged)
    assert "\n" not in caught.value.what


def test_an_agent_killed_in_a_run_is_one_sentence(tmp_path, compiled):
    with Agent(tmp_path / "files") as agent, Device(agent.entry) as device:
        model = device.open(compiled, threads=1)
        threading.Timer(0.3, agent.kill).start()
        begun = time.monotonic()
        with pytest.raises(DeviceConnectionError, match="connection broke"):
            model.benchmark(seconds=20)
        assert time.monotonic() - begun < 5
        with pytest.raises(DeviceConnectionError, match="closed"):
            model.run(model.example_inputs())
        model.close()


def test_what_takes_too_long_is_stopped_and_long_measurements_are_cut_up(tmp_path, compiled):
    options = ("--deadline", "1")
    with Agent(tmp_path / "files", *options) as agent, Device(agent.entry) as device:
        with device.open(compiled, threads=1) as model, pytest.raises(DeviceTimeoutError):
            model.benchmark(runs=10**8)
        with device.open(compiled, threads=1) as model:
            ends: list[float] = []
            model.benchmark(seconds=1.5, warmup=0, watch=lambda _, s: ends.append(s.seconds))
    assert ends[-1] - ends[0] > 0.7


def test_keys_that_differ_or_are_missing(agent, key, tmp_path):
    with pytest.raises(DeviceKeyError, match="demands a key"):
        Device(entry_of(agent, None))
    other = tmp_path / "other"
    write_key(other)
    with pytest.raises(DeviceKeyError, match="another than this machine's"):
        Device(entry_of(agent, other))
    with Agent(tmp_path / "files") as open_agent, pytest.raises(DeviceKeyError, match="without"):
        Device(entry_of(open_agent, key))


def test_closed_models_are_gone_and_devices_are_shared(agent, key, device, compiled):
    with device.open(compiled, threads=1) as model:
        feeds = model.example_inputs()
        with Device(entry_of(agent, key)) as other, pytest.raises(DeviceBusyError):
            other.open(compiled, threads=1)
    with pytest.raises(NotOnDeviceError):
        model.run(feeds)
    with Device(entry_of(agent, key), wait=5) as other, other.open(compiled, threads=1) as model:
        model.run(feeds)


@pytest.mark.parametrize("there", [False, True])
def test_every_way_of_timing_works_here_and_there(there, device, compiled):
    place = device if there else Here()
    path, options = compiled.path, {"seconds": 0.2, "warmup": 0.0}
    found = modes.cold(place, path, 1, lambda m: m.example_inputs())
    assert found["open"]["runs"] == found["first_run"]["runs"] == modes.COLD_TIMES
    rows = modes.sweep(place, path, lambda m: m.example_inputs(), **options)
    every = sorted(cpu for c in place.clusters for cpu in c.cpus)
    assert max(r["threads"] for r in rows) <= len(every)
    assert {1, len(place.clusters[0].cpus)} <= {r["threads"] for r in rows}
    assert all(r["cpus"] and set(r["cpus"]) <= set(every) and r["median"] > 0 for r in rows)
    with place.open(path, threads=1) as model:
        found = modes.sustained(model, model.example_inputs(), seconds=1.2, warmup=0.0)
    assert sum(w["runs"] for w in found["timeline"]) == found["runs"]
    ats = [w["at"] for w in found["timeline"]]
    assert len(ats) > 1 and ats == sorted(ats)


def _window(median: float, *mhz: int) -> dict:
    return {"median": median, "mhz": [*mhz]}


def test_throttling_is_told_by_time_or_by_clock():
    steady = [_window(1.0 + 0.02 * (i % 2), 2000) for i in range(20)]
    assert modes.throttled(steady) == ""
    slower = steady[:10] + [_window(1.3, 2000)] * 10
    assert "late runs take" in modes.throttled(slower)
    cooler = steady[:10] + [_window(1.0, 1500)] * 10
    assert "clock of cluster 0 fell from 2000 to 1500" in modes.throttled(cooler)
    unknown = [_window(1.0, 0)] * 4
    assert modes.throttled(unknown) == ""


@pytest.mark.skipif(shutil.which(QEMU[0]) is None, reason="qemu-aarch64 is not installed")
def test_a_phone(tmp_path, small_cnn, key):
    """An agent for Arm, in an emulator, runs a model that was compiled for its own target."""
    chosen = target("linux-arm64")
    made = armlet.compile(small_cnn, chosen)
    feeds = {"x": np.random.default_rng(1).random((1, 3, 14, 11), np.float32)}
    right = armlet.compile(small_cnn).run(feeds)
    with (
        Agent(tmp_path / "files", "--key", str(key), chosen=chosen, command=QEMU) as agent,
        Device(entry_of(agent, key)) as phone,
        phone.open(made.path, threads=1) as model,
    ):
        assert phone.target.architecture == "arm64"
        assert model.selftest().passed
        found = model.run(feeds)
    assert difference("y", right["y"], found["y"]).within(1e-4)
