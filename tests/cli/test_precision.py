"""``compile --precision fp16``: what it prints of layers that float16 is too small for."""

from __future__ import annotations

import numpy as np
import pytest

import armlet
from armlet import emulator
from armlet.errors import RangeError
from armlet.finite import run_finite
from armlet.targets import target

A76 = "linux-arm64-cortex-a76"
WHY_NOT = emulator.find(target(A76)).missing


@pytest.fixture
def compile_half(document, small_cnn, tmp_path, picture):
    """Compiles with a picture of that brightness as sample data."""

    def run(brightness: float, *options: str, status: int = 0):
        np.savez(tmp_path / "x.npz", x=picture * np.float32(brightness))
        return document(
            "compile", small_cnn, "-o", tmp_path / "m.so", "--target", A76, "--precision", "fp16",
            "--shape", "x=1x3x14x11", "--data", tmp_path / "x.npz", *options, status=status,
        )  # fmt: skip

    return run


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_answers_are_near_and_weights_are_half(compile_half, document, small_cnn, tmp_path):
    found = compile_half(1)
    assert (found["precision"], found["float32_layers"]) == ("fp16", [])
    assert 1e-5 < found["outputs"][0]["relative_error"] < 1e-2
    other = document("compile", small_cnn, "-o", tmp_path / "s.so", "--shape", "x=1x3x14x11")
    assert found["weight_bytes"] < 0.7 * other["weight_bytes"]
    assert (other["precision"], other["float32_layers"]) == ("fp32", [])


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_layers_out_of_range_are_in_float32(compile_half, small_cnn, shell, tmp_path):
    found = compile_half(1e5)
    assert "stem" in found["float32_layers"]
    assert found["outputs"][0]["relative_error"] < 1e-2
    text = shell(
        "compile", small_cnn, "-o", tmp_path / "m.so", "--target", A76, "--precision", "fp16",
        "--shape", "x=1x3x14x11", "--data", tmp_path / "x.npz",
    )  # fmt: skip
    assert "layer 'stem' is in float32, as it leaves the range of float16" in text


@pytest.mark.parametrize("name", ["linux-x86_64-v3", "linux-arm64-cortex-a53"])
def test_processors_without_such_arithmetic_store_weights(name, small_cnn, tmp_path, document):
    arguments = ("compile", small_cnn, "-o", tmp_path / "m.so", "--target", name)
    single, half = document(*arguments), document(*arguments, "--precision", "fp16")
    assert half["weight_bytes"] < 0.75 * single["weight_bytes"]
    if not half["not_run"]:
        assert 1e-6 < half["outputs"][0]["relative_error"] < 1e-3


def test_or_an_error_that_names_the_first(small_cnn, picture):
    data = {"x": picture * np.float32(1e5)}
    with pytest.raises(RangeError, match=r"layer 'stem' .* reaches") as caught:
        armlet.compile(small_cnn, A76, precision="fp16", data=data, check_range=True)
    assert "--check-range" in caught.value.way_out


@pytest.mark.parametrize(
    "options",
    [
        ("--precision", "fp8"),
        ("--check-range",),
        ("--precision", "fp16", "--target", "linux-x86_64"),
    ],
)
def test_impossible_choices_are_refused(shell, small_cnn, tmp_path, options):
    shell("compile", small_cnn, "-o", tmp_path / "m.so", *options, status=2)


def test_a_run_names_the_layer_where_numbers_stop_being_finite(shell, artifact, picture):
    model = armlet.open(artifact)
    assert run_finite(model, {"x": picture})["y"].shape == (1, 5)
    with pytest.raises(RangeError, match="the first layer with such numbers is 'stem'"):
        run_finite(model, {"x": picture * np.float32(np.inf)})
    shell("run", artifact, "--input", "random", "--check-finite")
