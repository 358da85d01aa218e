"""TFLite files that are broken in some way: one clear error each, soon, of the right class."""

from __future__ import annotations

import random as dice
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tflite

from armlet import frontends
from armlet.errors import ArmletError, InternalError, ModelFileError, UnsupportedModelError
from armlet.frontends.tflite import reader
from armlet.frontends.tflite.importer import Importer

from .builder import Graph, file_of
from .harness import random
from .random_graphs import random_model


def sound() -> Graph:
    graph = Graph()
    x = graph.input((1, 6, 6, 3), name="x")
    w, bias = graph.constant(random(4, 3, 3, 3), name="w"), graph.constant(random(4), name="b")
    (y,) = graph.op(
        "CONV_2D", [x, w, bias], options=tflite.Conv2DOptions, padding=0, stride_h=1, stride_w=1,
        dilation_h_factor=1, dilation_w_factor=1,
    )  # fmt: skip
    graph.outputs = graph.op("RELU", [y])
    return graph


def refused(path: Path, error: type[ArmletError], text: str) -> ArmletError:
    """Loading and checking fail alike, with exactly this class."""
    for entry in (frontends.load, frontends.check):
        with pytest.raises(ArmletError) as caught:
            entry(path)
        assert type(caught.value) is error, caught.value
        assert text in str(caught.value)
    return caught.value


def test_the_content_names_the_format_whatever_the_name(tmp_path: Path) -> None:
    for name in ("model.tflite", "model.onnx", "model.bin", "model"):
        (tmp_path / name).write_bytes(file_of(sound()))
        assert frontends.format_of(tmp_path / name) == "tflite"
        assert frontends.load(tmp_path / name).metadata["format"] == "tflite"


CONTENTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "the file is empty"),
    "text": (lambda: b"<!DOCTYPE html><html><body>404</body></html>", "not a TFLite model"),
    "zeros": (lambda: bytes(1000), "not a TFLite model"),
    "lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
    "the head alone": (lambda: file_of(sound())[:8], "truncated or damaged"),
    "half": (lambda: file_of(sound())[: len(file_of(sound())) // 2], "truncated or damaged"),
    "no graph": (lambda: file_of(), "it has no graph"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_contents_that_are_no_model(name: str, tmp_path: Path) -> None:
    make, text = CONTENTS[name]
    (tmp_path / "m.tflite").write_bytes(make())
    refused(tmp_path / "m.tflite", ModelFileError, text)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    refused(tmp_path / "none.tflite", ModelFileError, "there is no such file")
    (tmp_path / "folder.tflite").mkdir()
    refused(tmp_path / "folder.tflite", ModelFileError, "name the .tflite file in it")


def _unmade(graph: Graph) -> None:
    graph.operators[1].inputs = [graph.tensor((2,), name="lost")]


def _bare_output(graph: Graph) -> None:
    graph.outputs = [graph.tensor((2,), name="lost")]


EDITS: dict[str, tuple[Callable[[Graph], object], str]] = {
    "a tensor that is not there": (
        lambda g: g.operators[0].inputs.__setitem__(0, 99), "tensor 99 of 5 is named",
    ),
    "an output that is not there": (lambda g: setattr(g, "outputs", [-1]), "tensor -1 of 5"),
    "no outputs": (lambda g: setattr(g, "outputs", []), "no outputs"),
    "an input twice": (lambda g: g.inputs.append(g.inputs[0]), "is listed twice"),
    "a tensor made twice": (
        lambda g: setattr(g.operators[1], "outputs", g.operators[0].outputs), "is made twice",
    ),
    "a cycle": (
        lambda g: g.operators[0].inputs.__setitem__(0, g.outputs[0]), "before it is made",
    ),
    "the wrong order": (lambda g: g.operators.reverse(), "before it is made"),
    "a tensor without a source": (_unmade, "'lost' before it is made"),
    "an output without a source": (_bare_output, "nothing makes its output 'lost'"),
    "a negative size": (lambda g: setattr(g.tensors[1], "shape", (4, 3, -3, 3)), "negative size"),
    "too many elements": (
        lambda g: setattr(g.tensors[1], "shape", (1 << 20, 1 << 20)), "more than 2^31 elements",
    ),
    "too many axes": (lambda g: setattr(g.tensors[1], "shape", (1,) * 40), "has 40 axes"),
    "data that is too short": (
        lambda g: setattr(g.tensors[1], "shape", (4, 3, 3, 4)), "needs 576 bytes, but has 432",
    ),
    "two shapes": (
        lambda g: setattr(g.tensors[0], "signature", (-1, 6)), "has two shapes",
    ),
    "zero points that do not fit": (
        lambda g: setattr(g.tensors[1], "quantization", ([1.0, 2.0], [1, 2, 3], 0)),
        "2 scales, but 3 zero points",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_models_that_are_not_sound(name: str, tmp_path: Path) -> None:
    edit, text = EDITS[name]
    graph = sound()
    edit(graph)
    (tmp_path / "m.tflite").write_bytes(file_of(graph))
    refused(tmp_path / "m.tflite", ModelFileError, text)


def test_another_version_of_the_schema(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(file_of(sound(), version=4))
    refused(tmp_path / "m.tflite", UnsupportedModelError, "schema version 4")


def test_graphs_that_call_one_another_without_end(tmp_path: Path) -> None:
    graph = Graph()
    c, x = graph.input((), "bool", name="c"), graph.input((2,), name="x")
    graph.outputs = graph.op(
        "IF", [c, c, x], options=tflite.IfOptions, then_subgraph_index=0, else_subgraph_index=0
    )
    (tmp_path / "m.tflite").write_bytes(file_of(graph))
    refused(tmp_path / "m.tflite", ModelFileError, "too deeply")


def _changed(data: bytes, seed: int) -> bytes:
    """Some bytes changed, cut out, or written over by others of the file."""
    rng = dice.Random(seed)
    found = bytearray(data)
    for _ in range(rng.choice([1, 2, 8])):
        kind, at = rng.randrange(4), rng.randrange(8, len(found))
        if kind == 0:
            found[at] = rng.randrange(256)
        elif kind == 1:
            found[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"])
        elif kind == 2:
            start = rng.randrange(len(found))
            found[at : at + 8] = found[start : start + 8]
        elif rng.random() < 0.3:
            del found[at:]
        if len(found) < 16:
            break
    return bytes(found)


def _survives(data: bytes) -> None:
    """Whatever the bytes are: a model, or an error of ours that is no bug, and soon."""
    start = time.process_time()
    try:
        importer = Importer(reader.parse(data, Path("m.tflite")), Path("m.tflite"), {})
        importer.run()
        importer.module()
    except InternalError:
        raise
    except ArmletError as error:
        assert "\n" not in error.what or isinstance(error, UnsupportedModelError)
    assert time.process_time() - start < 10


def test_files_changed_at_random_give_errors_of_ours() -> None:
    data = file_of(sound())
    for seed in range(300):
        _survives(_changed(data, seed))


@pytest.mark.slow
@pytest.mark.parametrize("graph", range(20))
def test_many_files_changed_at_random_give_errors_of_ours(graph: int) -> None:
    data, _ = random_model(graph, 10)
    for seed in range(1000):
        _survives(_changed(data, seed))


def test_vectors_that_overlap_cost_no_more_than_the_file_warrants() -> None:
    """A million tables that are all the same one are not read one by one, again and again."""
    graphs = [sound()] * 3
    data = bytearray(file_of(*graphs))
    # every length of a vector of offsets is made as large as it can be
    words = np.frombuffer(bytes(data[: len(data) // 4 * 4]), np.uint32)
    for place in np.flatnonzero((words >= 1) & (words <= 5)):
        changed = data.copy()
        changed[4 * place : 4 * place + 4] = (len(data) // 8).to_bytes(4, "little")
        _survives(bytes(changed))
