"""The roofline: what this machine can do, and the least time that a kernel needs here."""

import pytest

from armlet.roofline import Machine, measure

MACHINE = Machine(1, flops=100e9, cache_bandwidth=50e9, memory_bandwidth=10e9, cache_bytes=1000)


@pytest.mark.parametrize(
    ("macs", "moved", "seconds", "limit"),
    [
        (50, 10, 1e-9, "compute"),
        (0, 1000, 20e-9, "cache"),
        (0, 2000, 200e-9, "memory"),
        (50_000, 2000, 1e-6, "compute"),
    ],
)
def test_the_busiest_resource_bounds(macs, moved, seconds, limit):
    found, name = MACHINE.bound(macs, moved)
    assert (found, name) == (pytest.approx(seconds), limit)


def test_this_machine_is_measured():
    machine = measure()
    assert 1e9 < machine.flops < 1e13
    assert 1e8 < machine.memory_bandwidth < 1e13
    assert 1e8 < machine.cache_bandwidth < 1e13
