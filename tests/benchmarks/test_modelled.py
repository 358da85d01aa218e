"""The modelled meter: kernels run in the emulator; a stand-in for the simulator counts laps."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from armlet import emulator
from armlet.compiler.tune.tasks import points_of
from armlet.targets import target
from benchmarks.modelled import ModelledMeter
from tests.compiler.tune.fake import convolution

A55 = target("linux-arm64-cortex-a55")

pytestmark = pytest.mark.skipif(bool(emulator.find(A55).missing), reason="no emulator")


class Emulated:
    """Runs programs without a model: a lap takes what ``laps`` says."""

    core = SimpleNamespace(name="cortex-a55", mhz=1000)

    def __init__(self, laps):
        self.given, self.commands = laps, []

    def learn(self, library):
        return {}

    def laps(self, command, learnt):
        self.commands.append(command[1:])
        subprocess.run([*emulator.find(A55).command, *command], check=True)
        return self.given, ""


def measured(simulator, lanes=4, **race):
    with ModelledMeter(A55, simulator) as meter:
        return meter.measure(list(points_of(convolution(32, 9, lanes=lanes), A55))[:1], **race)


def test_a_kernel_is_checked_and_its_cycles_are_seconds_that_say_who_modelled_them():
    simulator = Emulated([7, 2000])
    (record,) = measured(simulator)
    assert record.seconds == 2000 / 1e9 and record.modelled == "armsim cortex-a55 at 1000 MHz"
    (arguments,) = simulator.commands
    extent, steps = arguments[2:4]
    assert extent == steps
    assert [a[0] for a in arguments[-2:]] == ["+", "="]  # the weights are cold


def test_of_a_long_kernel_two_parts_are_run(monkeypatch):
    monkeypatch.setattr("benchmarks.modelled.PART", 1e4)
    simulator = Emulated([7, 500, 300])
    (record,) = measured(simulator)
    extent, steps = map(int, simulator.commands[0][2:4])
    assert 1 <= steps <= extent / 2 and not record.failure
    assert record.seconds == pytest.approx((500 + 300 * (extent - steps) / steps) / 1e9, rel=1e-5)
    (record,) = measured(simulator, turns=3)
    assert simulator.commands[1][2] == simulator.commands[1][3]


def test_a_wrong_answer_does_not_count(monkeypatch):
    monkeypatch.setattr("benchmarks.modelled.difference", lambda got, want: "it differs")
    (record,) = measured(Emulated([7, 2000]))
    assert record.seconds is None and record.failure == "wrong: it differs"
