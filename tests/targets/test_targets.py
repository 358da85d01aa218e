"""Targets by name, and this machine."""

from __future__ import annotations

import itertools

import pytest

from armlet.errors import TargetError
from armlet.targets import CORES, DEVICES, EXTENSIONS, FAMILIES, NAMED, cpu_flags, target


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


def test_a_core_is_one_under_every_system():
    for name in ("linux-arm64-cortex-a76", "android-arm64-cortex-a76"):
        assert target(name).fingerprint == NAMED["linux-arm64-cortex-a76"].fingerprint


def test_an_extension_adds_what_the_processor_must_have():
    plain, more = target("linux-arm64"), target("linux-arm64+dotprod+fp16")
    assert set(more.features) - set(plain.features) == {"asimddp", "fphp", "asimdhp"}
    assert {"+dotprod", "+fullfp16"} <= set(more.attributes)
    assert target("linux-arm64-cortex-a76+dotprod") == target("linux-arm64-cortex-a76")


def test_longer_vectors_have_more_lanes():
    assert target("linux-riscv64+zvl256b").lanes == 2 * target("linux-riscv64").lanes


@pytest.mark.parametrize("name", ["linux-arm64+dotprd", "linux-x86_64+fp16", "host+"])
def test_an_unknown_extension_is_told_with_the_known_ones(name):
    with pytest.raises(TargetError, match="has no extension") as error:
        target(name)
    assert "use one of" in str(error.value)


def test_every_core_says_only_what_its_architectures_have():
    for core in CORES.values():
        known = {e for a in core.architectures for e in EXTENSIONS.get(a, {})}
        assert set(core.extensions) <= known, core.name
        assert any(f.architecture in core.architectures for f in FAMILIES.values()), core.name


def test_a_devices_code_runs_on_its_little_cores():
    for device in DEVICES.values():
        needed = set(device.target.features)
        for cluster in device.clusters:
            has = cluster.core.on(NAMED[f"{device.system}-{device.target.architecture}"])
            assert needed <= set(has.features), device.name


def test_a_device_is_tuned_for_its_big_cores():
    phone = target("snapdragon-855")
    assert (phone.cpu, phone.cores, phone.l2_bytes) == ("cortex-a76", 4, 256 << 10)
    assert (phone.system, phone.architecture) == ("android", "arm64")
