"""``run``, ``bench``, ``diff``, ``selftest``: what they print and answer."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

import armlet

TIMES = {"median", "p90", "p99", "min", "runs"}


def answer(model, feeds):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


@pytest.mark.parametrize("given", ["x=FILE.npy", "FILE.npy", "x=FILE.npz"])
def test_run_reads_an_array(given, shell, artifact, small_cnn, picture, tmp_path):
    np.save(tmp_path / "a.npy", picture)
    np.savez(tmp_path / "a.npz", x=picture)
    output = tmp_path / "o.npz"
    shell("run", artifact, "--input", given.replace("FILE", str(tmp_path / "a")), "-o", output)
    right = answer(small_cnn, {"x": picture})
    np.testing.assert_allclose(np.load(output)["y"], right, rtol=1e-4, atol=1e-5)


def test_run_reads_all_inputs_from_one_file(shell, artifact, picture, tmp_path):
    np.savez(tmp_path / "all.npz", x=picture)
    shell("run", artifact, "--inputs", tmp_path / "all.npz", "-o", tmp_path / "o.npy")
    assert np.load(tmp_path / "o.npy").shape == (1, 5)


def test_run_shows_shapes_ranges_and_the_largest(shell, artifact):
    text = shell("run", artifact, "--input", "random", "--top", "2")
    assert "1x5" in text and "mean" in text
    assert len([line for line in text.splitlines() if line.strip()]) == 7


def test_run_in_json(document, artifact):
    (found,) = document("run", artifact, "--input", "zeros", "--threads", "1")["outputs"]
    assert (found["name"], found["shape"], found["dtype"]) == ("y", [1, 5], "float32")
    assert found["min"] <= found["mean"] <= found["max"]
    assert len(found["top"]) == 5
    assert found["top"][0][1] == found["max"]


@pytest.mark.parametrize("channels_last", [False, True])
def test_run_makes_an_input_of_a_picture(channels_last, shell, tmp_path, one_node):
    from PIL import Image

    shape = (1, 4, 6, 3) if channels_last else (1, 3, 4, 6)
    armlet.compile(one_node("Identity", shape)).save(tmp_path / "m.so")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    options = ["--mean", "0.5", "--std", "0.1,0.2,0.3", "--bgr", "-o", tmp_path / "o.npy"]
    shell("run", tmp_path / "m.so", "--image", tmp_path / "a.png", *options)
    right = (pixels[:, :, ::-1] / 255 - 0.5) / np.array([0.1, 0.2, 0.3])
    right = right if channels_last else right.transpose(2, 0, 1)
    np.testing.assert_allclose(np.load(tmp_path / "o.npy")[0], right, rtol=1e-4, atol=1e-4)


def test_outputs_of_any_name_are_written(shell, tmp_path, one_node):
    path = one_node("Relu", (2, 3))
    model = onnx.load(path)
    model.graph.node[0].output[0] = model.graph.output[0].name = "file/scale:0"
    onnx.save(model, path)
    armlet.compile(path).save(tmp_path / "m.so")
    shell("run", tmp_path / "m.so", "--input", "random", "-o", tmp_path / "o.npz")
    assert np.load(tmp_path / "o.npz")["file/scale:0"].shape == (2, 3)


# -- bench ----------------------------------------------------------------------------------------

QUICK = ["--seconds", "0.02", "--warmup", "0"]


def test_bench_shows_percentiles(shell, artifact):
    text = shell("bench", artifact, *QUICK, "--threads", "1,2")
    assert all(word in text for word in ("median", "p90", "p99", "min", "runs"))
    assert text.count("armlet") == 2


def test_bench_by_layer_in_json(document, artifact):
    found = document("bench", artifact, *QUICK, "--threads", "1", "--per-layer")
    (result,) = found["results"]
    assert result["armlet"].keys() == TIMES | {"temperature", "mhz"}
    layers = result["layers"]
    assert sum(layer["share"] for layer in layers) == pytest.approx(1)
    losses = [layer["loss"] for layer in layers]
    assert losses == sorted(losses, reverse=True)
    stem = next(layer for layer in layers if layer["layer"] == "stem")
    assert stem["macs"] > 0 and stem["gflops"] > 0
    assert {"value", "operators", "template", "threads"} <= stem.keys()


def test_bench_by_layer_names_the_layers(shell, artifact):
    text = shell("bench", artifact, *QUICK, "--per-layer")
    assert "stem" in text and "GFLOP/s" in text


def test_bench_beside_onnxruntime_from_the_model_alone(document, small_cnn):
    found = document("bench", small_cnn, *QUICK, "--threads", "1,2", "--vs", "onnxruntime")
    assert [r["threads"] for r in found["results"]] == [1, 2]
    for result in found["results"]:
        assert result["onnxruntime"].keys() == TIMES
        assert result["ratio"] == pytest.approx(
            result["armlet"]["median"] / result["onnxruntime"]["median"]
        )
        assert result["relative_error"] < 1e-4


def test_bench_beside_onnxruntime_from_an_artifact(shell, artifact, small_cnn):
    options = [*QUICK, "--vs", "onnxruntime", "--model", small_cnn]
    text = shell("bench", artifact, *options)
    assert "ratio" in text and "answers differ by at most" in text


# -- diff, selftest -------------------------------------------------------------------------------


def test_diff_compares_layers_and_outputs(shell, artifact, small_cnn):
    text = shell("diff", small_cnn, artifact)
    assert "stem" in text and "none differs" in text


def test_diff_compiles_where_no_artifact_is_given(document, small_cnn):
    found = document("diff", small_cnn)
    assert found["first_different"] is None
    assert found["reference"] == "ONNX Runtime"
    kinds = [layer["kind"] for layer in found["layers"]]
    assert kinds.count("output") == 1 and kinds.count("layer") >= 3
    stem = next(layer for layer in found["layers"] if layer["layer"] == "stem")
    assert {"value", "absolute", "relative", "allowed", "flagged"} <= stem.keys()


def test_diff_names_the_first_layer_that_differs(document, shell, artifact, small_cnn):
    model = onnx.load(small_cnn)
    depthwise = next(n for n in model.graph.node if n.name == "depthwise")
    depthwise.attribute.remove(next(a for a in depthwise.attribute if a.name == "pads"))
    weight = next(t for t in model.graph.initializer if t.name == "w2")
    centre = np.zeros((12, 1, 1, 1), np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(centre, "w2"))
    onnx.save(model, small_cnn)
    found = document("diff", small_cnn, artifact, status=1)
    assert found["first_different"]["layer"] == "depthwise"
    text = shell("diff", small_cnn, artifact, "--all", status=1)
    assert "first difference: layer 'depthwise'" in text and "DIFFERS" in text


def test_diff_takes_samples(document, artifact, small_cnn, picture, tmp_path):
    np.save(tmp_path / "x.npy", picture)
    document("diff", small_cnn, artifact, "--data", tmp_path / "x.npy")


def test_diff_takes_the_shapes_of_the_artifact(shell, small_cnn, tmp_path):
    path = tmp_path / "two.so"
    shell("compile", small_cnn, "-o", path, "--shape", "x=2x3x14x11")
    shell("diff", small_cnn, path)


def test_selftest(shell, document, artifact):
    assert "passed" in shell("selftest", artifact)
    report = document("selftest", artifact, "--threads", "2")
    assert report["passed"] is True
    assert report["compared"] == 5 and report["wrong"] == 0
