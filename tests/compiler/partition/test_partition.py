"""Who takes what, at which price, and what is said of it."""

from __future__ import annotations

import pytest

from armlet.compiler.ops import parse
from armlet.compiler.partition.partition import partition, require_all
from armlet.compiler.records import Records
from armlet.errors import PartitionError, SettingError
from armlet.targets import target
from armlet.targets.npu import BackEnd, Estimate, Rejected, Supported, back_end, boundary_bytes

V3 = target("linux-x86_64-v3")


class Fake(BackEnd):
    """Takes the operators of its chip's name, at prices of its own."""

    name, api, shim, version = "fake", "armlet_npu_fake", (), "1"
    chips = ("relu", "relu+add", "tanh", "relu+tanh", "pairs")
    launch, byte = 0.0, 0.0

    def query(self, call):
        taken = call.op.name in self.chip.split("+")
        return Supported() if taken else Rejected(f"no {call.op.name}")

    def patterns(self, function):
        if self.chip == "pairs":
            for call in function:
                if call.op.name == "tanh":
                    yield function.producers[call.operands[0]], call

    def estimate(self, region):
        return Estimate(self.byte * boundary_bytes(region), self.launch, 0.0)

    def compile(self, region):
        return region.name.encode()


class Dear(Fake):
    name, launch = "dear", 1.0


class Choosy(Fake):
    name, least_macs = "choosy", 1


TEXT = """\
def main(%x: f32[1,64,32,32]) -> f32[1,64,32,32] {
  %a = relu(%x) : f32[1,64,32,32]  # "a"
  %b = tanh(%a) : f32[1,64,32,32]  # "b"
  %c = relu(%b) : f32[1,64,32,32]  # "c"
  %d = add(%c, %a) : f32[1,64,32,32]  # "d"
  return %d
}
"""


def parted(*back_ends):
    return partition(parse(TEXT), back_ends, V3, Records())


def places(found):
    return [p.place for p in found.report.calls]


def test_a_call_goes_to_the_first_back_end_that_takes_it():
    found = parted(Fake("relu"), Fake("relu+tanh"))
    assert places(found) == ["fake:relu", "fake:relu+tanh", "fake:relu", "cpu"]
    assert found.report.calls[3].reasons == ("fake:relu: no add", "fake:relu+tanh: no add")


def test_each_region_is_a_part_of_its_own():
    found = parted(Fake("relu+add"))
    marks = [(p.region and p.region.name, len(p.calls)) for p in found.parts.parts]
    assert marks == [("a", 1), (None, 1), ("c .. d", 2)]
    assert [*map(str, found.parts.parts[2].region.function.params)] == ["%b", "%a"]


def test_a_region_that_loses_is_refused_with_both_prices():
    found = parted(Dear("relu+tanh"))
    assert places(found) == ["cpu"] * 4
    (step,) = found.report.steps
    assert step.device.seconds == 1.0
    assert 0 < step.cpu_seconds < 1e-3
    assert "it would take 1e+03 ms there" in found.report.calls[0].reasons[0]


def test_a_region_with_too_little_work_is_refused():
    found = parted(Choosy("relu"))
    assert places(found) == ["cpu"] * 4
    assert "0 multiply-adds, and 1 are the least" in found.report.calls[0].reasons[0]


def test_what_one_back_end_refuses_another_may_take_apart():
    assert places(parted(Dear("relu+tanh"), Fake("tanh"))) == ["cpu", "fake:tanh", "cpu", "cpu"]


def test_a_pattern_is_taken_whole():
    found = parted(Fake("pairs"))
    assert places(found) == ["fake:pairs", "fake:pairs", "cpu", "cpu"]


def test_all_reasons_are_told_at_once():
    with pytest.raises(PartitionError) as caught:
        require_all(parted(Fake("tanh")).report)
    assert [f"'{name}'" in str(caught.value) for name in "abcd"] == [True, False, True, True]
    require_all(parted(Fake("relu+add"), Fake("tanh")).report)


def test_shares_are_of_multiply_adds():
    assert parted(Fake("relu")).report.share() == 0.0


def test_unknown_back_ends_and_chips_are_refused():
    with pytest.raises(SettingError, match="no back end 'nobody'"):
        back_end("nobody:x")
    with pytest.raises(SettingError, match="no chip 'v9'"):
        Fake("v9")
