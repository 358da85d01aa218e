"""``check``, ``compile``, ``inspect``: what they print, write and answer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

import armlet
from armlet import emulator
from armlet.targets import target

MANIFEST = {
    "armlet", "target", "features", "precision", "float32_layers", "source", "macs", "parameters",
    "arena_bytes", "arena_lower_bound", "constant_bytes", "kernels", "tasks", "verified_by",
}  # fmt: skip


def test_check_lists_every_operator(shell, small_cnn):
    text = shell("check", small_cnn)
    assert "Conv" in text and "HardSwish" in text and "native" in text
    assert "supported: all 8 nodes" in text
    assert "the free leading dimension of input 'x' is taken as 1" in text


def test_check_answers_no_with_status_1(shell, one_node):
    text = shell("check", one_node("Frobnicate", (2, 3)), status=1)
    assert "not supported" in text and "Frobnicate" in text


def test_check_in_json(document, small_cnn):
    report = document("check", small_cnn)
    assert report["supported"] is True
    assert report["inputs"] == {"x": "f32[1,3,14,11]"}
    assert {"path", "counts", "outputs", "notes", "problems", "nodes"} <= report.keys()


def test_check_and_compile_agree_on_free_dimensions(document, shell, small_cnn):
    model = onnx.load(small_cnn)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    onnx.save(model, small_cnn)
    report = document("check", small_cnn, status=1)
    assert report["problems"][0]["node"] == "x"
    assert document("check", small_cnn, "--shape", "x=1x3x14x11")["supported"]


def test_compile_writes_an_artifact_that_runs(shell, small_cnn, tmp_path):
    text = shell("compile", small_cnn, "-o", tmp_path / "m.so")
    for word in ("wrote", "size", "arena", "kernels", "MACs", "output y: largest error"):
        assert word in text
    assert armlet.open(tmp_path / "m.so").selftest().passed


def test_compile_in_json(document, small_cnn, tmp_path):
    found = document("compile", small_cnn, "-o", tmp_path / "m.so")
    assert found["bytes"] == (tmp_path / "m.so").stat().st_size
    assert found["bytes"] == found["code_bytes"] + found["weight_bytes"]
    assert found["outputs"][0]["name"] == "y"
    assert found["outputs"][0]["relative_error"] < 1e-4
    assert {"seconds", "target", "arena_bytes", "kernels", "tasks", "macs"} <= found.keys()


def test_compile_for_a_shape_and_a_target(document, small_cnn, tmp_path):
    options = ["--shape", "x=2x3x14x11", "--target", "linux-x86_64"]
    found = document("compile", small_cnn, "-o", tmp_path / "m.so", *options)
    assert found["target"] == "linux-x86_64"
    assert armlet.open(tmp_path / "m.so").inputs[0].shape == (2, 3, 14, 11)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_compile_compares_on_given_samples(suffix, shell, small_cnn, picture, tmp_path):
    data = tmp_path / f"data{suffix}"
    np.save(data, picture) if suffix == ".npy" else np.savez(data, x=picture)
    shell("compile", small_cnn, "-o", tmp_path / "m.so", "--data", data)


def test_without_onnxruntime_numpy_is_the_judge(document, small_cnn, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    found = document("compile", small_cnn, "-o", tmp_path / "m.so")
    assert found["verified_by"] == "NumPy"
    assert found["outputs"][0]["relative_error"] < 1e-4
    assert document("diff", small_cnn, tmp_path / "m.so")["reference"] == "NumPy"


def test_compile_replaces_an_artifact_that_is_open(shell, small_cnn, artifact, picture):
    opened = armlet.open(artifact)
    before = opened.run({"x": picture})["y"]
    shell("compile", small_cnn, "-o", artifact, "--target", "linux-x86_64")
    np.testing.assert_array_equal(opened.run({"x": picture})["y"], before)
    assert armlet.open(artifact).manifest["target"] == "linux-x86_64"


def test_stages_are_dumped_in_order(shell, small_cnn, tmp_path):
    shell("compile", small_cnn, "-o", tmp_path / "m.so", "--dump-passes", tmp_path / "stages")
    names = sorted(p.name for p in (tmp_path / "stages").iterdir())
    assert names[0] == "00-import.txt"
    stages = [name[3:] for name in names[:-2]]
    assert stages.index("fold_batch_norm.txt") < stages.index("select.txt") < len(stages) - 1
    assert names[-2:] == ["groups.txt", "plan.txt"]
    assert "conv2d_blocked" in (tmp_path / "stages" / "groups.txt").read_text()
    assert "arena" in (tmp_path / "stages" / "plan.txt").read_text()


def test_inspecting_an_artifact(shell, artifact):
    text = shell("inspect", artifact)
    for word in ("input x", "float32 1x3x14x11", "verified by", "arena", "lower bound", "kernels"):
        assert word in text
    assert "stem" in text


def test_inspecting_an_artifact_in_json(document, artifact):
    found = document("inspect", artifact)
    assert found["kind"] == "artifact"
    assert found.keys() >= MANIFEST
    assert found["inputs"] == {"x": {"dtype": "float32", "shape": [1, 3, 14, 11]}}
    assert (
        sum(found["bytes"][k] for k in ("code", "tables", "weights", "rest"))
        == (found["bytes"]["file"])
    )
    assert sum(k["tasks"] for k in found["kernels"]) == found["tasks"] == len(found["layers"])
    assert all(k["code_bytes"] > 0 and k["template"] for k in found["kernels"])
    stem = next(la for la in found["layers"] if la["layer"] == "stem" and la["macs"])
    assert stem["macs"] == 12 * 3 * 9 * 14 * 11
    assert stem["weight_bytes"] >= 12 * 3 * 9 * 4


def test_inspecting_a_model(shell, document, small_cnn):
    assert "conv2d" in shell("inspect", small_cnn)
    found = document("inspect", small_cnn)
    assert found["operators"]["conv2d"] == 2
    assert found["parameters"] == 12 * 27 + 4 * 12 + 12 * 9 + 5 * 12 + 5
    assert found["macs"] == 12 * 27 * 154 + 12 * 9 * 154 + 60


def test_inspecting_a_model_of_free_dimensions(document, shell, one_node):
    path = one_node("Relu", (2, 3))
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "length"
    onnx.save(model, path)
    assert document("inspect", path)["inputs"] == {"x0": "f32[2,length]"}


def test_the_graph_is_printed_as_text_that_can_be_parsed(shell, one_node):
    from armlet.compiler.ir import parse_function, print_function

    text = shell("inspect", one_node("Relu", (2, 3)), "--graph")
    from armlet.compiler.ops import OPERATORS

    assert print_function(parse_function(text, OPERATORS)) == text


def test_passes_are_dumped_without_compiling(shell, small_cnn, tmp_path: Path):
    shell("inspect", small_cnn, "--dump-passes", tmp_path / "stages")
    assert (tmp_path / "stages" / "00-import.txt").exists()
    assert not (tmp_path / "stages" / "plan.txt").exists()


def test_a_web_module_is_inspected_as_any_artifact(shell, document, small_cnn, artifact, tmp_path):
    if why_not := emulator.find(target("wasm32")).missing:
        pytest.skip(why_not)
    path = tmp_path / "m.wasm"
    document("compile", small_cnn, "-o", path, "--target", "wasm32", "--shape", "x=1x3x14x11")
    found, native = document("inspect", path), document("inspect", artifact)
    assert found["inputs"] == {"x": {"dtype": "float32", "shape": [1, 3, 14, 11]}}
    assert found["outputs"].keys() == native["outputs"].keys()
    assert all(layer["template"] for layer in found["layers"])
    assert found["bytes"]["file"] == path.stat().st_size
    assert found["bytes"]["weights"] == found["constant_bytes"]
    path.write_bytes(path.read_bytes()[:-1])
    shell("inspect", path, status=2)
