"""``armlet quantize``, and ``compile --precision int8``: what they print, and data from files."""

from __future__ import annotations

import numpy as np
import pytest

from armlet.cli import main

SHAPE = ("--shape", "x=1x3x14x11")


@pytest.fixture
def samples(tmp_path):
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.random.default_rng(0).standard_normal((6, 3, 14, 11)).astype("f"))
    return path


@pytest.fixture
def pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(4):
        data = rng.integers(0, 256, (20, 30, 3)).astype("uint8")
        image.fromarray(data).save(folder / f"{index}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_layers_are_told_and_the_file_is_smaller(small_cnn, samples, tmp_path, shell, document):
    arguments = ("quantize", small_cnn, "-o", tmp_path / "q.onnx", *SHAPE, "--data", samples)
    text = shell(*arguments)
    assert "3 of 3 in int8" in text and "SQNR" in text and "depthwise" in text
    found = document(*arguments)
    assert [layer["layer"] for layer in found["layers"]] == ["stem", "depthwise", "head"]
    assert found["samples"] == 6 and found["bytes"] == (tmp_path / "q.onnx").stat().st_size
    assert found["max_drop"] is None and 0 < found["drop"] < 0.1
    assert all(layer["gain"] is None for layer in found["layers"])


def test_the_worst_layers_are_named_where_there_is_a_limit(small_cnn, samples, tmp_path, shell):
    text = shell(
        "quantize", small_cnn, "-o", tmp_path / "q.onnx", *SHAPE, "--data", samples,
        "--max-drop", "0", "--target", "linux-arm64-cortex-a76",
    )  # fmt: skip
    assert "0 of 3 in int8" in text and "culprits" in text
    assert "int8 is too inaccurate" in text or "float32 is" in text


def test_a_folder_of_pictures_is_data(small_cnn, pictures, tmp_path, document):
    found = document(
        "quantize", small_cnn, "-o", tmp_path / "q.onnx", *SHAPE, "--data", pictures,
        "--mean", "0.5", "--std", "0.5,0.5,0.25", "--bgr", "--method", "minmax", "--equalize",
    )  # fmt: skip
    assert found["samples"] == 4 and found["integer_layers"] == 3


def test_compile_takes_the_same_options(small_cnn, pictures, tmp_path, document):
    found = document(
        "compile", small_cnn, "-o", tmp_path / "m.so", *SHAPE, "--precision", "int8",
        "--data", pictures, "--metric", "top1", "--max-drop", "0.5",
    )  # fmt: skip
    assert found["precision"] == "int8" and found["quantization"]["max_drop"] == 0.5
    assert {layer["why"] for layer in found["quantization"]["layers"]} <= {"", "slow"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "best"), "method 'best' is unknown"),
        (("--metric", "best"), "metric 'best' is unknown"),
        (("--max-drop", "-1"), "not possible"),
        (("--data", "/nowhere.npz"), "/nowhere.npz"),
        (("--data", "."), "no pictures"),
        (("--precision", "int4"), "precision 'int4' is unknown"),
        (("--precision", "int8-weights"), "takes no data"),
    ],
)
def test_what_cannot_be_is_told(options, message, small_cnn, samples, tmp_path, capsys):
    output = tmp_path / "q.onnx"
    data = () if "--data" in options else ("--data", samples)
    arguments = ("quantize", small_cnn, "-o", output, *SHAPE, *data, *options)
    assert main([str(a) for a in arguments]) == 2
    assert message in capsys.readouterr().err and not output.exists()


def test_weights_alone_need_no_data(small_cnn, tmp_path, document, shell):
    arguments = ("quantize", small_cnn, "-o", tmp_path / "q.onnx", *SHAPE)
    found = document(*arguments, "--precision", "int8-weights")
    assert found["rounded_layers"] == 1
    assert "weights of 1" in shell(*arguments, "--precision", "int16-weights")
    assert main([str(a) for a in arguments]) == 2
