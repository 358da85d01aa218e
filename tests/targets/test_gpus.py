"""GPUs by name."""

from __future__ import annotations

import pytest

from armlet.errors import TargetError
from armlet.targets import DEVICES
from armlet.targets.gpu import GPUS, gpu


def test_makers_names_are_known():
    assert gpu("Adreno 660") == GPUS["adreno-660"]
    assert gpu("Immortalis-G720 MC12").family == "mali-valhall"


def test_a_number_of_cores_may_follow():
    assert gpu("mali-g76-mp12").cores == 12
    assert gpu("mali-g76").cores == GPUS["mali-g76"].cores


def test_unknown_name_suggests_close_ones():
    with pytest.raises(TargetError) as error:
        gpu("adreno-661")
    assert "adreno-660" in str(error.value)


def test_phones_name_known_gpus():
    phones = [d for d in DEVICES.values() if d.gpu.startswith(("Adreno", "Mali", "Immortalis"))]
    assert len(phones) > 20
    for device in phones:
        assert gpu(device.gpu).cores > 0


def test_keys_differ():
    assert len(GPUS) >= 20
    assert len({g.key for g in GPUS.values()}) == len(GPUS)
    assert len({g.fingerprint for g in GPUS.values()}) == len(GPUS)
