"""Files that are broken in some way: one clear error each, of the right class."""

from __future__ import annotations

import os
import random as dice
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from armlet import frontends
from armlet.errors import (
    ArmletError,
    ExternalDataError,
    InternalError,
    ModelFileError,
    ModelShapeError,
    UnsupportedModelError,
)

from .harness import info, model, node, random


def sound() -> onnx.ModelProto:
    nodes = [
        node("Conv", "x w", "c", name="conv", pads=[1, 1, 1, 1]),
        node("Shape", "c", "s"),
        node("Gather", "s zero", "n"),
        node("Concat", "n minus", "to", axis=0),
        node("Reshape", "c to", "r"),
        node("Softmax", "r", "y"),
    ]
    constants = {
        "w": random(4, 3, 3, 3), "zero": np.array([0]), "minus": np.array([-1]),
    }  # fmt: skip
    return model(nodes, [info("x", ["N", 3, 6, 6])], constants=constants)


def refused(path: Path | str, error: type[ArmletError], text: str) -> ArmletError:
    """Loading and checking fail alike, with exactly this class."""
    for entry in (frontends.load, frontends.check):
        with pytest.raises(ArmletError) as caught:
            entry(path)
        assert type(caught.value) is error, caught.value
        assert text in str(caught.value)
    return caught.value


# -- what is no model -----------------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.onnx", ModelFileError, "there is no such file")


def test_a_folder(tmp_path: Path) -> None:
    refused(tmp_path, ModelFileError, "this is a folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    (tmp_path / "m.onnx").chmod(0)
    refused(tmp_path / "m.onnx", ModelFileError, "cannot be read")


def test_a_name_with_a_null_byte() -> None:
    refused("a\0b.onnx", ModelFileError, "cannot be read")


CONTENTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "the file is empty"),
    "random": (lambda: dice.Random(1).randbytes(5000), "not an ONNX model"),
    "zeros": (lambda: bytes(1000), "not an ONNX model"),
    "text": (lambda: b"<!DOCTYPE html><html><body>404</body></html>", "not an ONNX model"),
    "lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
    "truncated": (lambda: sound().SerializeToString()[:-40], "not an ONNX model"),
    "half": (lambda: sound().SerializeToString()[:300], "not an ONNX model"),
    "a tensor": (lambda: numpy_helper.from_array(random(3)).SerializeToString(), "not an ONNX"),
    "a graph": (lambda: sound().graph.SerializeToString(), "not an ONNX model"),
    "doubled": (lambda: sound().SerializeToString() * 2, "is listed twice"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_contents_that_are_no_model(name: str, tmp_path: Path) -> None:
    make, text = CONTENTS[name]
    (tmp_path / "m.onnx").write_bytes(make())
    refused(tmp_path / "m.onnx", ModelFileError, text)


@pytest.mark.parametrize("suffix", [".keras", ".pt", ".pb", ".safetensors"])
def test_other_formats_are_named(suffix: str, tmp_path: Path) -> None:
    error = refused(tmp_path / f"m{suffix}", ModelFileError, "cannot be read")
    assert error.way_out == "export the model as ONNX or TFLite"


def test_a_model_of_any_name_is_known_by_its_content(tmp_path: Path) -> None:
    onnx.save(sound(), tmp_path / "weights.bin")
    assert frontends.load(tmp_path / "weights.bin").outputs == ("y",)


# -- models that are not sound --------------------------------------------------------------------


def _edited(edit: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    proto = sound()
    edit(proto)
    return proto


def _set_weights(proto: onnx.ModelProto, **fields: object) -> None:
    for tensor in proto.graph.initializer:
        if tensor.name == "w":
            for name, value in fields.items():
                if isinstance(value, list):
                    del tensor.dims[:]
                    tensor.dims.extend(value)
                else:
                    setattr(tensor, name, value)


def _cycle(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].input[0] = "r"


BROKEN: dict[str, tuple[Callable[[onnx.ModelProto], object], type[ArmletError], str]] = {
    "no graph": (lambda p: p.ClearField("graph"), ModelFileError, "it has no graph"),
    "no outputs": (lambda p: p.graph.ClearField("output"), ModelFileError, "has no outputs"),
    "no opset": (lambda p: p.ClearField("opset_import"), ModelFileError, "which opset"),
    "opset too old": (lambda p: setattr(p.opset_import[0], "version", 6), UnsupportedModelError,
                      "opset 6; known are 7 to"),
    "opset too new": (lambda p: setattr(p.opset_import[0], "version", 99), UnsupportedModelError,
                      "opset 99; known are 7 to"),
    "negative opset": (lambda p: setattr(p.opset_import[0], "version", -1), UnsupportedModelError,
                       "opset -1"),
    "IR version 0": (lambda p: setattr(p, "ir_version", 0), UnsupportedModelError, "IR version 0"),
    "IR version 9999": (lambda p: setattr(p, "ir_version", 9999), UnsupportedModelError,
                        "IR version 9999"),
    "no opset of ONNX": (lambda p: setattr(p.opset_import[0], "domain", "other"),
                         UnsupportedModelError, "does not import the operator's opset"),
    "cycle": (_cycle, ModelFileError, "a cycle through 'conv'"),
    "undefined input": (lambda p: p.graph.node[5].input.__setitem__(0, "ghost"), ModelFileError,
                        "'y' reads 'ghost'"),
    "undefined output": (lambda p: setattr(p.graph.output[0], "name", "ghost"), ModelFileError,
                         "the graph returns 'ghost'"),
    "tensor defined twice": (lambda p: p.graph.node[4].output.__setitem__(0, "c"), ModelFileError,
                             "'c' is defined twice"),
    "input defined twice": (lambda p: p.graph.input.append(p.graph.input[0]), ModelFileError,
                            "'x' is listed twice"),
    "output listed twice": (lambda p: p.graph.output.append(p.graph.output[0]), ModelFileError,
                            "'y' is listed twice"),
    "input without a name": (lambda p: p.graph.input.add(), ModelFileError, "one has no name"),
    "weights of the wrong size": (lambda p: _set_weights(p, dims=[4, 3, 3, 4]), ModelFileError,
                                  "needs 144 elements of float32, but has 432 bytes"),
    "weights of negative size": (lambda p: _set_weights(p, dims=[-4, 3, 3, 3]), ModelFileError,
                                 "negative size"),
    "weights of huge size": (lambda p: _set_weights(p, dims=[1 << 40, 1 << 40]), ModelFileError,
                             "but has 432 bytes"),
    "weights of no type": (lambda p: _set_weights(p, data_type=0), UnsupportedModelError,
                           "data type is not given"),
    "weights of an unknown type": (lambda p: _set_weights(p, data_type=99), UnsupportedModelError,
                                   "tensors of type number 99"),
    "weights twice, differing": (
        lambda p: p.graph.initializer.append(numpy_helper.from_array(random(2), "w")),
        ModelFileError, "'w' is given twice"),
    "node writes a weight": (lambda p: p.graph.node[0].output.__setitem__(0, "w"), ModelFileError,
                             "'w' is defined twice"),
    "huge dimension": (
        lambda p: p.graph.input[0].type.tensor_type.shape.dim[2].__setattr__("dim_value", 1 << 40),
        ModelShapeError, "more than 2^31 elements"),
    "negative dimension": (
        lambda p: p.graph.input[0].type.tensor_type.shape.dim[2].__setattr__("dim_value", -5),
        ModelShapeError, "has the size -5"),
    "input without a shape": (lambda p: p.graph.input[0].type.tensor_type.ClearField("shape"),
                              UnsupportedModelError, "how many axes"),
    "input without a type": (lambda p: p.graph.input[0].ClearField("type"), UnsupportedModelError,
                             "inputs of kind unknown"),
    "operator without a name": (lambda p: setattr(p.graph.node[0], "op_type", ""),
                                UnsupportedModelError, "the operator is not supported"),
    "strides of zero": (lambda p: p.graph.node[0].attribute.append(
        helper.make_attribute("strides", [0, 0])), UnsupportedModelError, "not all positive"),
    "huge pads": (lambda p: p.graph.node[0].attribute[0].ints.__setitem__(0, 1 << 40),
                  UnsupportedModelError, "more than 2^31 elements"),
    "attribute of no type": (lambda p: setattr(p.graph.node[0].attribute[0], "type", 0),
                             UnsupportedModelError, "attributes of type UNDEFINED"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_models_that_are_not_sound(name: str, tmp_path: Path) -> None:
    edit, error, text = BROKEN[name]
    path = tmp_path / "m.onnx"
    path.write_bytes(_edited(edit).SerializeToString())
    if error is UnsupportedModelError and "version" not in name and "opset t" not in name:
        problems = frontends.check(path).problems if name != "negative opset" else None
        if problems is not None:
            assert any(text in str(p) for p in problems)
        with pytest.raises(UnsupportedModelError, match=re.escape(text)):
            frontends.load(path)
    else:
        refused(path, error, text)


# -- models that look odd, but are sound ----------------------------------------------------------


def test_nodes_may_come_in_any_order() -> None:
    proto = sound()
    nodes = list(reversed(proto.graph.node))
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    module = frontends.onnx.load(proto)
    assert [c.op.name for c in module.main] == ["conv2d", "reshape", "softmax"]


def test_weights_may_be_inputs_too() -> None:
    proto = sound()
    proto.ir_version = 3
    proto.graph.input.append(info("w", [4, 3, 3, 3]))
    module = frontends.onnx.load(proto)
    assert [p.name for p in module.main.params] == ["x"]


def test_weights_may_be_given_twice_alike() -> None:
    proto = sound()
    proto.graph.initializer.append(proto.graph.initializer[0])
    frontends.onnx.load(proto)


def test_an_output_may_be_an_input_or_a_weight() -> None:
    proto = model([node("Relu", "x", "y")], [info("x", [2])], "y x w", {"w": random(3)})
    module = frontends.onnx.load(proto)
    assert module.outputs == ("y", "x", "w")
    assert module.main.results[1] is module.main.params[0]


def test_a_model_may_have_no_nodes() -> None:
    assert frontends.onnx.load(model([], [info("x", [2])], "x")).main.bindings == ()


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32",
              "uint32", "int64", "uint64", "bool"],
)  # fmt: skip
@pytest.mark.parametrize("raw", [True, False])
def test_weights_of_every_dtype(dtype: str, raw: bool) -> None:
    data = np.array([[0, 1, 2], [3, 100, 7]]).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(data.dtype)
    values = data.tobytes() if raw else data.ravel()
    proto = model([node("Identity", "w", "y")], [info("x", [1])])
    proto.graph.initializer.append(helper.make_tensor("w", kind, data.shape, values, raw=raw))
    (result,) = frontends.onnx.load(proto).main.results
    np.testing.assert_array_equal(result.data, data)
    assert result.data.dtype == data.dtype


def test_metadata_says_where_a_model_comes_from() -> None:
    proto = sound()
    proto.producer_name, proto.producer_version = "pytorch", "2.4"
    proto.metadata_props.add(key="classes", value="cat dog")
    metadata = frontends.onnx.load(proto).metadata
    assert metadata["producer"] == "pytorch 2.4"
    assert metadata["opset"] == {"ai.onnx": 17}
    assert metadata["properties"] == {"classes": "cat dog"}
    assert len(metadata["notes"]) == 1


# -- external data --------------------------------------------------------------------------------


@pytest.fixture
def external(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(sound(), path, save_as_external_data=True, location="m.data", size_threshold=100)
    return path


def _relocate(path: Path, **entries: str) -> None:
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            entry.value = entries.get(entry.key, entry.value)
    path.write_bytes(proto.SerializeToString())


def test_external_weights_are_mapped(external: Path) -> None:
    weights = next(c for c in frontends.load(external).main.constants if c.name == "w")
    np.testing.assert_array_equal(weights.data, random(4, 3, 3, 3))
    base = weights.data
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_external_weights_need_not_be_aligned(external: Path) -> None:
    data = external.with_name("m.data")
    data.write_bytes(b"abc" + random(4, 3, 3, 3).tobytes())
    _relocate(external, offset="3")
    weights = next(c for c in frontends.load(external).main.constants if c.name == "w")
    np.testing.assert_array_equal(weights.data, random(4, 3, 3, 3))


def test_external_weights_that_are_missing(external: Path) -> None:
    external.with_name("m.data").unlink()
    error = refused(external, ExternalDataError, "which does not exist")
    assert error.way_out == "put m.data beside the model"


@pytest.mark.parametrize("size", [0, 100])
def test_external_weights_that_are_truncated(external: Path, size: int) -> None:
    os.truncate(external.with_name("m.data"), size)
    refused(external, ExternalDataError, f"which has {size}")


@pytest.mark.parametrize(
    "location", ["../m.data", "/etc/passwd", "a/../../m.data", "", "a\0b", "..", "."]
)
def test_external_weights_outside_the_folder(external: Path, location: str) -> None:
    (external.parent.parent / "m.data").write_bytes(bytes(1000))
    _relocate(external, location=location)
    text = "does not exist" if location == "." else "outside the model's folder"
    refused(external, ExternalDataError, text)


def test_external_weights_behind_a_link_that_leads_outside(external: Path) -> None:
    secret = external.parent.parent / "secret"
    secret.write_bytes(bytes(1000))
    external.with_name("m.data").unlink()
    external.with_name("m.data").symlink_to(secret)
    refused(external, ExternalDataError, "outside the model's folder")


@pytest.mark.parametrize(
    "entries", [{"length": "7"}, {"offset": "-8"}, {"offset": "x"}, {"length": "1e3"}]
)
def test_external_weights_with_impossible_places(external: Path, entries: dict[str, str]) -> None:
    _relocate(external, **entries)
    refused(external, ExternalDataError, "weight 'w'")


# -- chance ---------------------------------------------------------------------------------------


def _mutated(data: bytes, seed: int) -> bytes:
    """A few bytes changed, cut out or repeated."""
    rng, mutable = dice.Random(seed), bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(mutable))
        action = rng.random()
        if action < 0.6:
            mutable[place] = rng.choice([0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        elif action < 0.8:
            del mutable[place : place + rng.randint(1, 8)]
        else:
            mutable[place:place] = mutable[place : place + rng.randint(1, 16)]
    return bytes(mutable)


def many_operators() -> onnx.ModelProto:
    """A small model with attributes, constants and subgraphs of many kinds."""
    branch = helper.make_graph(
        [node("Relu", "r", "inner")], "b", [], [helper.make_empty_tensor_value_info("inner")]
    )
    nodes = [
        node("Resize", "x _ scales", "a", mode="linear"),
        node("Slice", "a one two axes", "s"),
        node("Split", "s", "p q", axis=3, num_outputs=2),
        node("Pad", "p pads", "r", mode="reflect"),
        node("If", "true", "i", then_branch=branch, else_branch=branch),
        node("Reshape", "i rows", "m"),
        node("Transpose", "m", "t", perm=[1, 0, 2]),
        node("LSTM", "t w k", "y h c", hidden_size=2, direction="forward"),
        node("Einsum", "h h", "e", equation="dbh,dbk->hk"),
        node("Clip", "e low", "z"),
    ]
    constants = {
        "scales": np.array([1, 1, 2, 2], "f"), "one": np.array([0]), "two": np.array([2]),
        "axes": np.array([2]), "pads": np.array([0, 0, 0, 1, 0, 0, 0, 1]), "true": np.array(True),
        "rows": np.array([0, -1, 4]), "w": random(1, 8, 4), "k": random(1, 8, 2),
        "low": np.float32(0),
    }  # fmt: skip
    return model(nodes, [info("x", [1, 2, 2, 2])], "y z", constants, 18)


def _fuzz(seeds: range, path: Path) -> None:
    models = [sound().SerializeToString(), many_operators().SerializeToString()]
    for seed in seeds:
        path.write_bytes(_mutated(models[seed % 2], seed))
        try:
            frontends.load(path)
        except InternalError as error:
            pytest.fail(f"seed {seed}: {error}")
        except ArmletError:
            pass


def test_models_changed_at_random_give_errors_of_ours(tmp_path: Path) -> None:
    _fuzz(range(1500), tmp_path / "m.onnx")


@pytest.mark.slow
def test_many_models_changed_at_random_give_errors_of_ours(tmp_path: Path) -> None:
    _fuzz(range(1500, 60_000), tmp_path / "m.onnx")
