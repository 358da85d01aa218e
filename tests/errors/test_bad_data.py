"""Arrays, pictures and options that do not fit: one clear error each."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from .harness import Refusals

PICTURE = np.zeros((1, 3, 8, 8), np.float32)


@pytest.fixture
def arrays(shell: Refusals) -> Path:
    """A folder of arrays, most of them wrong for the sound model's ``x``: f32[1,3,8,8]."""
    folder = shell.folder / "arrays"
    folder.mkdir()
    np.save(folder / "right.npy", PICTURE)
    np.save(folder / "double.npy", PICTURE.astype(np.float64))
    np.save(folder / "flat.npy", PICTURE.ravel())
    np.save(folder / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez(folder / "other.npz", z=PICTURE)
    np.savez(folder / "more.npz", x=PICTURE, z=PICTURE)
    whole = (folder / "right.npy").read_bytes()
    (folder / "cut.npy").write_bytes(whole[:-8])
    (folder / "head.npy").write_bytes(whole[:20])
    (folder / "cut.npz").write_bytes((folder / "more.npz").read_bytes()[:300])
    (folder / "text.npy").write_text("1 2 3\n")
    (folder / "empty.npy").touch()
    (folder / "text.jpg").write_text("no picture\n")
    (folder / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8))
    return folder


#: name -> (id, what the message mentions, options of ``run``)
RUN = {
    "no input at all": ("AL201", ["x", "missing"], []),
    "an input of no such name": ("AL201", ["'z'", "x"], ["--input", "z=right.npy"]),
    "one input too many": ("AL201", ["'z'"], ["--inputs", "more.npz"]),
    "a wrong dtype": ("AL201", ["'x'", "float64", "float32"], ["--input", "x=double.npy"]),
    "a wrong shape": ("AL201", ["'x'", "[192]", "[1, 3, 8, 8]"], ["--input", "x=flat.npy"]),
    "a missing file": ("AL201", ["none.npy"], ["--input", "x=none.npy"]),
    "a folder": ("AL201", ["arrays"], ["--input", "x=."]),
    "an empty file": ("AL201", ["empty.npy"], ["--input", "x=empty.npy"]),
    "a text": ("AL201", ["text.npy"], ["--input", "x=text.npy"]),
    "pickled objects": ("AL201", ["objects.npy"], ["--input", "x=objects.npy"]),
    "a cut array": ("AL201", ["cut.npy"], ["--input", "x=cut.npy"]),
    "a cut header": ("AL201", ["head.npy"], ["--input", "x=head.npy"]),
    "a cut archive": ("AL201", ["cut.npz"], ["--inputs", "cut.npz"]),
    "an archive without the name": ("AL201", ["'x'", "other.npz", "z"], ["--input", "x=other.npz"]),
    "an archive of other names": ("AL201", ["'z'"], ["--inputs", "other.npz"]),
    "no picture": ("AL201", ["text.jpg", "no picture"], ["--image", "x=text.jpg"]),
    "a cut picture": ("AL201", ["cut.png"], ["--image", "x=cut.png"]),
    "a missing picture": ("AL201", ["none.png"], ["--image", "x=none.png"]),
    "a picture for no input": ("AL201", ["'z'", "x"], ["--image", "z=cut.png"]),
    "a mean of words": ("AL801", ["--mean", "grey"], ["--image", "x=PICTURE", "--mean", "grey"]),
    "a mean of two": ("AL801", ["--mean", "1,2"], ["--image", "x=PICTURE", "--mean", "1,2"]),
    "a division by zero": ("AL801", ["--std"], ["--image", "x=PICTURE", "--std", "0"]),
    "a scale of words": ("AL801", ["--scale"], ["--scale", "big"]),
    "negative threads": ("AL801", ["--threads"], ["--threads", "-1"]),
    "an output of unknown kind": ("AL801", [".npz"], ["--input", "random", "-o", "out.txt"]),
    "an output in no folder": ("AL401", ["nowhere"], ["--input", "random", "-o", "nowhere/o.npz"]),
    "an unknown option": ("AL801", ["--fast", "--help"], ["--fast"]),
}


@pytest.mark.parametrize("name", RUN)
def test_run_refuses(name, shell, arrays, artifact, monkeypatch):
    id, mentions, options = RUN[name]
    from PIL import Image

    Image.new("RGB", (4, 4)).save(arrays / "right.png")
    monkeypatch.chdir(arrays)
    options = [o.replace("PICTURE", "right.png") for o in options]
    shell.refused(id, mentions, "run", artifact, *options)


def test_run_refuses_a_picture_where_the_input_is_none(shell, arrays, compiled):
    shell.refused(
        "AL201", ["x0", "picture"], "run", compiled["two"], "--image", f"x0={arrays}/cut.png"
    )


def test_run_refuses_an_array_without_a_name_where_inputs_are_two(shell, arrays, compiled):
    array = arrays / "right.npy"
    shell.refused("AL201", ["x0, x1"], "run", compiled["two"], "--input", array)


def test_run_without_pillow_says_what_to_install(shell, arrays, artifact, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    image = f"x={arrays}/cut.png"
    shell.refused("AL702", ["Pillow", "armlet[images]"], "run", artifact, "--image", image)


#: name -> (id, what the message mentions, options of ``compile``)
COMPILE = {
    "an unknown target": ("AL301", ["toaster"], ["--target", "toaster"]),
    "a target with a slip": ("AL301", ["linux-x86_64-v3"], ["--target", "linux-x86_64-v33"]),
    "an empty target": ("AL301", ["''", "host"], ["--target", ""]),
    "a tolerance of words": ("AL801", ["--tolerance"], ["--tolerance", "little"]),
    "a negative tolerance": ("AL801", ["-1"], ["--tolerance", "-1"]),
    "a tolerance that is no number": ("AL801", ["nan"], ["--tolerance", "nan"]),
    "an endless tolerance": ("AL801", ["inf"], ["--tolerance", "inf"]),
    "samples that are missing": ("AL201", ["none.npz"], ["--data", "none.npz"]),
    "samples that are cut": ("AL201", ["cut.npz"], ["--data", "cut.npz"]),
    "samples for no input": ("AL201", ["'z'", "x"], ["--data", "other.npz"]),
    "samples of a wrong shape": ("AL201", ["[192]"], ["--data", "flat.npy"]),
    "samples of a wrong dtype": ("AL201", ["float64"], ["--data", "double.npy"]),
    "stages into a file": ("AL401", ["text.npy"], ["--dump-passes", "text.npy"]),
}


@pytest.mark.parametrize("name", COMPILE)
def test_compile_refuses(name, shell, arrays, sound, monkeypatch):
    id, mentions, options = COMPILE[name]
    monkeypatch.chdir(arrays)
    shell.refused(id, mentions, "compile", sound, "-o", "m.so", *options)


#: name -> (id, what the message mentions, options of ``bench``)
BENCH = {
    "no threads": ("AL801", ["--threads", "'0'"], ["--threads", "0"]),
    "threads of words": ("AL801", ["'1,many'"], ["--threads", "1,many"]),
    "negative seconds": ("AL801", ["--seconds"], ["--seconds", "-1"]),
    "an unknown peer": ("AL801", ["'abacus'", "onnxruntime"], ["--vs", "abacus"]),
    "a peer without its model": ("AL801", ["--model"], ["--vs", "onnxruntime"]),
    "a peer's model that is missing": (
        "AL101",
        ["none.onnx"],
        ["--vs", "onnxruntime", "--model", "none.onnx"],
    ),
    "a peer's model that is none": (
        "AL101",
        ["text.npy"],
        ["--vs", "onnxruntime", "--model", "text.npy"],
    ),
}


@pytest.mark.parametrize("name", BENCH)
def test_bench_refuses(name, shell, arrays, artifact, monkeypatch):
    id, mentions, options = BENCH[name]
    monkeypatch.chdir(arrays)
    shell.refused(id, mentions, "bench", artifact, *options)


def test_bench_refuses_to_time_another_model(shell, compiled, sound):
    options = ["--vs", "onnxruntime", "--model", sound]
    shell.refused("AL201", ["not the model"], "bench", compiled["two"], *options)


def test_bench_refuses_to_time_wrong_answers(shell, sound, artifact):
    import onnx

    model = onnx.load(sound)
    model.graph.node[1].op_type = "Sigmoid"
    onnx.save(model, sound)
    options = ["--vs", "onnxruntime", "--model", sound]
    shell.refused("AL601", ["y:", "armlet diff"], "bench", artifact, *options)


def test_bench_without_onnxruntime_says_what_to_install(shell, artifact, sound, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    options = ["--vs", "onnxruntime", "--model", sound]
    shell.refused("AL702", ["ONNX Runtime", "armlet[verify]"], "bench", artifact, *options)


def test_diff_refuses_an_artifact_of_another_model(shell, compiled, sound):
    shell.refused("AL201", ["not the model"], "diff", sound, compiled["two"])


@pytest.mark.parametrize(
    ("arguments", "mention"),
    [
        (["fly"], "fly"),
        (["compile"], "MODEL"),
        (["compile", "m.onnx"], "--output"),
        (["run"], "M.so"),
        (["check", "a.onnx", "b.onnx"], "b.onnx"),
        (["doctor", "--fast"], "--fast"),
    ],
)
def test_wrong_usage_names_the_help(arguments, mention, shell):
    shell.refused("AL801", [mention, "--help"], *arguments)
