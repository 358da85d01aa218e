"""Every verb on a TFLite model: its format is nobody's concern but the front end's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import armlet
from armlet import reference
from armlet.errors import MissingPackageError, SettingError
from tests.frontends.tflite.random_graphs import small_network


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two convolutions with a residual, channels last."""
    path = tmp_path_factory.mktemp("tflite") / "network.tflite"
    path.write_bytes(small_network())
    return path


@pytest.fixture(scope="module")
def library(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("library") / "network.so"
    armlet.compile(network).save(output)
    return output


def test_check_and_compile(shell, document, network, tmp_path):
    assert "decomposed" in shell("check", network)
    assert document("check", network)["supported"]
    shell("compile", network, "-o", tmp_path / "m.so")
    assert "pass" in shell("selftest", tmp_path / "m.so").lower()


def test_the_artifact_says_who_verified_it(document, library):
    assert armlet.open(library).manifest["verified_by"] == "LiteRT"


def test_bench_beside_litert(document, network):
    quick = ("--seconds", "0.05", "--warmup", "0.01", "--threads", "1")
    (result,) = document("bench", network, *quick, "--vs", "litert")["results"]
    assert result["ratio"] == pytest.approx(result["armlet"]["median"] / result["litert"]["median"])
    assert result["relative_error"] < 1e-4


def test_a_peer_that_does_not_read_the_format_is_refused(network, small_cnn):
    from armlet.cli.bench import _check_peer

    with pytest.raises(SettingError, match="onnxruntime does not read") as caught:
        _check_peer("onnxruntime", network)
    assert caught.value.way_out == "use --vs litert"
    with pytest.raises(SettingError, match="litert does not read"):
        _check_peer("litert", small_cnn)


def test_diff_finds_the_layers_whose_values_lie_channels_first(document, network, library):
    found = document("diff", network, library)
    assert found["reference"] == "LiteRT"
    assert found["first_different"] is None
    inner = [layer for layer in found["layers"] if layer["kind"] == "layer"]
    assert inner and all(layer["relative"] < 1e-4 for layer in inner)


def test_without_litert_numpy_answers(network, monkeypatch):
    monkeypatch.setattr(reference, "is_installed", lambda runtime: False)
    assert reference.reference_of(armlet.load(network)).name == "NumPy"
    with pytest.raises(MissingPackageError, match="comparing needs LiteRT") as caught:
        reference.require(reference.LiteRT)
    assert caught.value.way_out == "python -m pip install 'armlet[litert]'"


def test_litert_says_nothing_on_the_standard_error(network, capfd):
    capfd.readouterr()
    model = reference.reference_of(armlet.load(network))
    x = np.zeros(armlet.load(network).main.params[0].type.static_shape, np.float32)
    model.run({"t0": x})
    assert capfd.readouterr().err == ""
