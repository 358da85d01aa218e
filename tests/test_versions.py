"""Artifacts with versions of kernels for better processors than they must meet."""

from __future__ import annotations

import numpy as np
import pytest

import armlet
from armlet import api, emulator
from armlet.errors import SettingError, SizeError, TargetError
from armlet.reference import reference_of
from armlet.targets import cpu_flags, is_native, target

SHAPES = {"x": (1, 3, 14, 11)}
ARM = emulator.find(target("linux-arm64")).missing
on_x86 = pytest.mark.skipif(
    not is_native(target("linux-x86_64"))
    or not cpu_flags().issuperset(target("linux-x86_64-v3").features),
    reason="needs a processor of x86-64-v3",
)


@on_x86
def test_an_artifact_of_the_family_has_faster_kernels_for_better_processors(small_cnn, tmp_path):
    made = api.compile(small_cnn, "linux-x86_64", shapes=SHAPES, multiversion=True)
    manifest = made.manifest
    assert manifest["features"] == []
    assert {v["target"] for v in manifest["versions"]} == {"linux-x86_64-v3", "linux-x86_64-v4"}
    assert all(v["gain"] > 0 for v in manifest["versions"])
    made.save(tmp_path / "m.so")
    x = np.random.default_rng(0).standard_normal(SHAPES["x"]).astype(np.float32)
    right = reference_of(api.load(small_cnn, SHAPES)).run({"x": x})
    with armlet.open(tmp_path / "m.so") as opened:
        np.testing.assert_allclose(opened.run({"x": x})["y"], right["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(bool(ARM), reason=ARM)
def test_the_processor_found_at_open_chooses(small_cnn, monkeypatch):
    # float16 shows which code ran: with and without its arithmetic roundings differ
    made = api.compile(small_cnn, "linux-arm64", shapes=SHAPES, multiversion=True, precision="fp16")
    assert made.manifest["versions"]
    x = np.random.default_rng(0).standard_normal(SHAPES["x"]).astype(np.float32)
    answers = {}
    for processor in ("cortex-a53", "cortex-a76", "max"):
        monkeypatch.setenv("QEMU_CPU", processor)
        answers[processor] = made.run({"x": x})["y"]
    right = reference_of(api.load(small_cnn, SHAPES)).run({"x": x})["y"]
    for answer in answers.values():
        np.testing.assert_allclose(answer, right, rtol=2e-2, atol=2e-2)
    assert (answers["cortex-a76"] != answers["cortex-a53"]).any()


@on_x86
def test_versions_are_left_out_to_fit(small_cnn):
    def compiled(limit):
        return api.compile(
            small_cnn, "linux-x86_64", shapes=SHAPES, multiversion=True, max_bytes=limit
        )

    whole = compiled(None)
    size = whole.path.stat().st_size
    smaller = compiled(size - 1)
    assert smaller.path.stat().st_size < size
    assert len(smaller.manifest["versions"]) < len(whole.manifest["versions"])
    with pytest.raises(SizeError, match="weights") as error:
        compiled(9000)
    assert "largest" in str(error.value)


def test_one_processor_needs_one_version(small_cnn):
    with pytest.raises(TargetError, match="one kind of processor"):
        api.compile(small_cnn, "linux-x86_64-v3", shapes=SHAPES, multiversion=True)


def test_sizes_are_read():
    from armlet.cli.options import bytes_of

    assert [bytes_of("--max-so", t) for t in ("900k", "2M", "1.5MiB", "77")] == [
        921600, 2 << 20, 3 << 19, 77,
    ]  # fmt: skip
    with pytest.raises(SettingError, match="900k"):
        bytes_of("--max-so", "many")
