"""Targets by name, and this machine."""

from __future__ import annotations

import itertools

import pytest

from armlet.errors import TargetError
from armlet.targets import NAMED, cpu_flags, target


def test_unknown_name_suggests_close_ones():
    with pytest.raises(TargetError) as error:
        target("linux-x86_64-v5")
    assert "linux-x86_64-v4" in str(error.value)


def test_host_needs_nothing_that_it_lacks():
    assert cpu_flags().issuperset(target("host").features)


def test_levels_grow():
    levels = [NAMED[n] for n in NAMED if n.startswith("linux-x86_64")]
    for lower, higher in itertools.pairwise(levels):
        assert set(lower.features) < set(higher.features)
        assert lower.lanes <= higher.lanes


def test_a_target_names_itself():
    assert all(target(name).name == name for name in NAMED)
    assert target(target("host")) is target("host") or target(target("host")) == target("host")


def test_keys_differ():
    assert len({t.key for t in NAMED.values()}) == len(NAMED)
