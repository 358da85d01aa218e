"""Measuring on devices: as here, whatever becomes of the device, its agent or the connection."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import subprocess
import threading
import time

import pytest

from armlet import emulator
from armlet.compiler.tune.tasks import points_of
from armlet.errors import DeviceConnectionError, DeviceRefusedError, NotOnDeviceError, TargetError
from armlet.rpc.batch import Batch, Outcome
from armlet.rpc.device import session_with
from armlet.rpc.meter import DeviceMeter
from armlet.rpc.registry import Entry
from armlet.rpc.session import MEASURE, STATUS
from armlet.targets import target
from tests.compiler.tune.fake import convolution
from tests.compiler.tune.test_measure import BODIES, HOST, RIGHT, ByHand, point, workload

from .local import Agent, Network, entry
from .test_tvm_tracker import Tracker

CC = shutil.which("gcc")
ARM = emulator.find(target("linux-arm64"))
#: seconds of a call of the simulated kernel, and its turns, which a check and a warm-up precede
CALL, TURNS = 4e-3, 5


BODIES["simulated"] = f"int usleep(unsigned); usleep({CALL * 1e6:.0f}); {RIGHT}"


class Simulated(ByHand):
    """Right kernels that take a time on the device, but none of its processor's."""

    def __init__(self):
        super().__init__([])

    def build(self, points, target):
        self.names = ["simulated"] * len(points)
        return super().build(points, target)


@pytest.fixture
def agent(tmp_path):
    with Agent(tmp_path / "agent") as agent:
        yield agent


@pytest.fixture
def steady(monkeypatch):
    """Tests that take times do not wait for a busy machine's clock."""
    monkeypatch.setattr("armlet.rpc.batch.BASELINE", 0)


def meter_of(entries, builders) -> DeviceMeter:
    meter = DeviceMeter(HOST, entries)
    meter.builders = builders
    return meter


def points(count: int, races: int = 1):
    """Points of so many workloads in turns, each of which is a race of its own."""
    shared = [workload() for _ in range(races)]
    return [point(shared[i * races // count], i) for i in range(count)]


def left_behind(agent: Agent) -> list[str]:
    """Files of batches on the device: operands and answers stay, for the next batch."""
    files = [p for p in agent.folder.rglob("*") if p.is_file()]
    return [p.name for p in files if "batches" in p.parts or p.read_bytes()[:4] == b"\x7fELF"]


def test_each_failure_is_named_and_the_others_are_measured(agent):
    names = ["right", "crash", "wrong", "hang", "compile", "forgets", "beyond", "slow"]
    with meter_of([agent.entry], ByHand(names)) as meter:
        found = dict(zip(names, meter.measure(points(len(names)), patience=1.0)))
    for name, failure in {
        "crash": "crash: it ended with a segmentation fault (signal 11) at address 0x8",
        "hang": "timeout: it ran for 1 s",
        "wrong": "wrong: its answer differs by 1 of the range",
        "forgets": "wrong: its answer differs",
        "beyond": "wrong: it writes beyond its buffers",
        "compile": "compile: no such loop",
    }.items():
        assert found[name].failure.startswith(failure), found[name]
        assert found[name].seconds is None
    assert not (found["right"].failure or found["slow"].failure), found
    assert found["right"].seconds < found["slow"].seconds
    assert {r.device for r in found.values() if "compile" not in r.failure} == {"agent"}
    assert not left_behind(agent)


def test_what_is_surely_slower_is_given_up_early(agent):
    with meter_of([agent.entry], ByHand(["right", "slow"])) as meter:
        (_, right), (_, slow) = meter.start(points(2)).result()
        assert 0 < len(slow) < len(right)
        (_, right), (_, slow) = meter.start(points(2), races=False, most=1.0).result()
        assert len(slow) == len(right) == 9
        # what was known before is to be beaten, too
        ((_, right), (_, slow)) = meter.start(points(2), best=[1e-9, 1e-9]).result()
        assert len(slow) == len(right) == 2


class Watched:
    """Starts batches; ``busy`` and ``rate`` are of the time from the first outcome to the last."""

    def __init__(self, meter: DeviceMeter, batches: int, count: int, races: int) -> None:
        self.told: list[float] = []
        self._first = count // races  # which are told together
        rules = {"races": False, "turns": TURNS, "most": 1.0}
        self._going = [
            meter.start(points(count, races), self._keep, **rules) for _ in range(batches)
        ]
        turns = [seconds for going in self._going for _, seconds in going.result()]
        assert all(len(seconds) == TURNS for seconds in turns)
        self._kernels = sum(map(sum, turns[self._first :])) * (TURNS + 2) / TURNS

    def _keep(self, record) -> None:
        self.told.append(time.monotonic())

    @property
    def _taken(self) -> float:
        return self.told[-1] - self.told[0]

    @property
    def busy(self) -> float:
        return self._kernels / self._taken

    @property
    def rate(self) -> float:
        return len(self.told[self._first :]) / self._taken


def test_a_batch_takes_two_round_trips_and_the_device_does_not_wait(agent, steady):
    """With 40 ms there and back; the kernels' time is simulated."""
    network = Network(agent.port, delay=0.02)
    with meter_of([entry(network.port)], Simulated()) as meter:
        before = network.trips
        meter.start(points(64, races=8), races=False, turns=TURNS).result()
        assert network.trips - before <= 2
        watched = Watched(meter, 2, 64, races=8)
    network.close()
    assert watched.busy >= 0.9, watched.busy


def test_two_devices_measure_nearly_twice_as_much(tmp_path, steady):
    """Two cores are too few for two devices and a compiler: the kernels' time is simulated."""

    def rate(entries):
        with meter_of(entries, Simulated()) as meter:
            return Watched(meter, 10, 16, races=2).rate

    with Agent(tmp_path / "a") as a, Agent(tmp_path / "b") as b:
        one, two = rate([a.entry]), rate([a.entry, b.entry])
    assert two / one >= 1.8, (one, two)


class Interrupted:
    """Calls ``break_it`` once so many records are kept, in a thread of its own."""

    def __init__(self, after: int, break_it) -> None:
        self.kept = []
        self._after, self._break = after, break_it

    def __call__(self, record) -> None:
        self.kept.append(record.config["number"])
        if len(self.kept) == self._after:
            threading.Thread(target=self._break).start()


def measured_in_spite_of(meter: DeviceMeter, break_it, count: int = 32, races: int = 8):
    keep = Interrupted(3 * count // races, break_it)
    with meter:
        found = meter.start(points(count, races), keep).result()
    assert all(r.seconds and not r.failure for r, _ in found), found
    assert sorted(keep.kept) == list(range(count)), "each is told once"


def test_a_batch_goes_on_when_the_connection_breaks(agent, steady):
    network = Network(agent.port)
    measured_in_spite_of(meter_of([entry(network.port)], Simulated()), network.cut)
    network.close()
    assert not left_behind(agent)


@pytest.mark.parametrize("most", [0, 1, 60, 400, 1500])
def test_a_batch_goes_on_wherever_the_connection_is_cut(agent, steady, most):
    network = Network(agent.port)
    with meter_of([entry(network.port)], Simulated()) as meter:
        network.most = most
        found = meter.start(points(16, races=4)).result()
    network.close()
    assert network.most == float("inf"), "it was cut"
    assert all(r.seconds and not r.failure for r, _ in found)


def test_a_batch_goes_on_when_the_agent_is_killed_and_started_again(agent, steady):
    def break_it():
        agent.kill()
        time.sleep(0.3)
        agent.start()

    measured_in_spite_of(meter_of([agent.entry], Simulated()), break_it)
    assert not left_behind(agent)


#: stands in for the C library's wall clock; steady clocks are left alone
CLOCK = r"""
#include <stdio.h>
#include <time.h>
int clock_gettime(clockid_t, struct timespec *);
static time_t now(void) {
    long years = 0;
    FILE *file = fopen(YEARS, "r");
    if (file && fscanf(file, "%ld", &years) != 1) years = 0;
    if (file) fclose(file);
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + (time_t)years * 365 * 24 * 60 * 60;
}
time_t time(time_t *to) {
    if (to) *to = now();
    return now();
}"""


@pytest.mark.skipif(CC is None, reason="no C compiler on this machine")
@pytest.mark.parametrize("jump", [(0, 60), (60, 0)], ids=["forward", "back"])
def test_a_batch_goes_on_when_the_clock_jumps(tmp_path, steady, jump):
    before, after = jump
    years, shim = tmp_path / "years", tmp_path / "clock.so"
    (tmp_path / "clock.c").write_text(CLOCK)
    command = [CC, "-shared", "-fPIC", f'-DYEARS="{years}"', tmp_path / "clock.c", "-o", shim]
    subprocess.run(command, check=True)
    years.write_text(f"{before}\n")
    with Agent(tmp_path / "agent", command=["env", f"LD_PRELOAD={shim}"]) as agent:
        network = Network(agent.port)

        def break_it():
            years.write_text(f"{after}\n")
            network.cut()

        measured_in_spite_of(meter_of([entry(network.port)], Simulated()), break_it)
        network.close()
        assert not left_behind(agent)


def test_what_a_device_leaves_undone_another_does(tmp_path, steady, monkeypatch, caplog):
    monkeypatch.setattr("armlet.rpc.meter.GONE", 0.5)
    with (
        Agent(tmp_path / "a") as a,
        Agent(tmp_path / "b") as b,
        meter_of([a.entry, b.entry], Simulated()) as meter,
    ):
        meter.start(points(2)).result()
        keep = Interrupted(4, a.kill)
        going = [meter.start(points(16, races=4), keep) for _ in range(6)]
        assert all(r.seconds for each in going for r, _ in each.result())
    assert len(keep.kept) == 96
    assert "a is left out from now on" in caplog.text


def test_a_trackers_agents_tune_together_and_it_may_be_restarted(tmp_path, steady):
    with contextlib.ExitStack() as stack:
        tracker = Tracker()
        stack.callback(tracker.stop)
        place = f"127.0.0.1:{tracker.port}/board"
        agents = [stack.enter_context(Agent(tmp_path / n, "--tracker", place)) for n in ("a", "b")]
        pool = Entry("pool", "tracker", place)

        def break_it():
            tracker.stop()
            for session in [lane._session for lane in meter._lanes]:
                session.close()
            tracker.start()

        keep = Interrupted(8, break_it)
        with meter_of([pool, pool], Simulated()) as meter:
            going = [meter.start(points(16, races=4), keep) for _ in range(4)]
            assert all(r.seconds for each in going for r, _ in each.result())
        assert len(keep.kept) == 64
        assert all(any((a.folder / "blobs").iterdir()) for a in agents), "both have measured"


def test_a_device_that_is_gone_for_good_is_told(agent, steady, monkeypatch):
    monkeypatch.setattr("armlet.rpc.meter.GONE", 0.2)
    with meter_of([agent.entry], Simulated()) as meter:
        agent.kill()
        with pytest.raises(DeviceConnectionError):
            meter.start(points(2)).result()


def test_leaving_ends_what_is_going_on(agent, steady):
    with meter_of([agent.entry], Simulated()) as meter:
        meter.start(points(16, races=4), turns=1).result()
        # minutes
        going = [meter.start(points(16, races=4), turns=1000, most=1e9) for _ in range(3)]
        time.sleep(1)
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    assert not any(t.is_alive() for t in meter._threads)
    assert isinstance(going[0].exception(timeout=0), DeviceConnectionError)


def test_a_device_of_another_kind_is_refused(agent):
    meter = DeviceMeter(target("linux-arm64"), [agent.entry])
    with (
        pytest.raises(TargetError, match="on the device agent: it is linux on x86"),
        meter,
    ):
        pass
    chosen = dataclasses.replace(HOST, features=(*HOST.features, "mmx_of_tomorrow"))
    meter = DeviceMeter(chosen, [agent.entry])
    with pytest.raises(TargetError, match="its processor lacks mmx_of_tomorrow"), meter:
        pass


@pytest.mark.skipif(bool(ARM.missing), reason=ARM.missing)
def test_real_kernels_are_measured_on_another_machine(tmp_path, steady):
    chosen = target("linux-arm64")
    some = [*points_of(convolution(32, 9, lanes=4), chosen)][:40:13]
    with (
        Agent(tmp_path / "agent", chosen=chosen, command=ARM.command) as agent,
        DeviceMeter(chosen, [agent.entry]) as meter,
    ):
        records = meter.measure(some)
    assert all(r.seconds and not r.failure and r.device == "agent" for r in records), records


def test_a_malformed_batch_is_refused_and_the_agent_lives(agent):
    kernels = ByHand(["right"] * 2).build(points(2), HOST)
    batch = Batch(points(2), list(enumerate(kernels)), b"no library", {})
    request = batch.request(0.0).fields
    with session_with(agent.entry) as session:
        for hash, make in batch.blobs().items():
            session.put(hash, make())
        for size in range(0, len(request), 7):
            with pytest.raises(DeviceRefusedError, match="malformed"):
                session.ask(MEASURE, request[:size])
        with pytest.raises(DeviceRefusedError, match="malformed"):
            session.ask(MEASURE, request + b"-")
        session.ask(MEASURE, request, part=batch._read)
        assert not batch.left
        session.remove(batch.library_hash)
        with pytest.raises(NotOnDeviceError, match="the library is not here"):
            session.ask(MEASURE, request)


def test_outcomes_stay_until_they_are_removed(agent):
    kernels = ByHand(["right"] * 2).build(points(2), HOST)
    batch = Batch(points(2), list(enumerate(kernels)), b"no library", {})
    request = batch.request(0.0).fields

    def ask(session):
        told = []
        session.ask(MEASURE, request, part=lambda fields: told.append(Outcome.read(fields)))
        assert [o.number for o in told] == [0, 1]
        assert {(STATUS[o.status], o.reason) for o in told} == {("failed", "file too short")}
        return [o.state.seconds for o in told]

    with session_with(agent.entry) as session:
        for hash, make in batch.blobs().items():
            session.put(hash, make())
        first = ask(session)
    with session_with(agent.entry) as session:
        assert ask(session) == first
        session.remove(batch.id)
        assert ask(session) > first, "measured again"
    assert [p.name for p in (agent.folder / "batches").iterdir()] == [batch.id.hex()]
