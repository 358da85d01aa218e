"""Models that cannot be compiled: one clear error each, from ``compile`` and ``check`` alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest

from . import models
from .harness import Refusals
from .models import calling, cut, edited, external, info, model, node, of_dtype, one

COMPLEX, FLOAT8 = onnx.TensorProto.COMPLEX64, onnx.TensorProto.FLOAT8E4M3FN


@dataclass(frozen=True)
class Case:
    """``made`` is a file's content, a model, or a function that writes one to a folder."""

    name: str
    id: str
    mentions: tuple[str, ...]
    made: bytes | onnx.ModelProto | Callable[[Path], Path] | None
    file: str = "bad.onnx"
    options: tuple[str, ...] = ()

    def write(self, folder: Path) -> Path:
        path = folder / self.file
        if isinstance(self.made, onnx.ModelProto):
            path.write_bytes(self.made.SerializeToString())
        elif isinstance(self.made, bytes):
            path.write_bytes(self.made)
        elif self.made is not None:
            return self.made(folder)
        return path


def given(shape: str) -> tuple[str, str]:
    return ("--shape", shape)


FILES = [
    Case("a missing file", "AL101", ("bad.onnx", "no such file"), None),
    Case("a folder", "AL101", ("folder",), None, file=""),
    Case("a path through a file", "AL101", (), None, file="sound.onnx/bad.onnx"),
    Case("an empty file", "AL101", ("bad.onnx", "empty"), b""),
    *(
        Case(f"a file cut at {part:.0%}", "AL101", ("bad.onnx",), cut(part))
        for part in (0.02, 0.1, 0.5, 0.9, 1.0)
    ),
    Case("random bytes", "AL101", ("not an ONNX model",), models.random_bytes()),
    Case("zeros", "AL101", ("not an ONNX model",), bytes(512)),
    Case("a web page", "AL101", ("not an ONNX model",), b"<!DOCTYPE html><html></html>"),
    Case("a text", "AL101", ("not an ONNX model",), b"git clone the model first\n"),
    Case("a Git LFS pointer", "AL101", ("git lfs pull",), b"version https://git-lfs.x\n"),
    Case("another protobuf", "AL101", ("not an ONNX model",), models.another_protobuf()),
    Case("no TFLite file", "AL101", ("not a TFLite model",), b"TFL3", "m.tflite"),
    Case("a cut TFLite file", "AL101", ("truncated or damaged",), b"\x20\0\0\0TFL3", "m.bin"),
    Case("a PyTorch file", "AL101", ("PyTorch",), b"PK", "m.pt"),
    Case("no graph", "AL101", ("graph",), edited(lambda m: m.ClearField("graph"))),
    Case("no outputs", "AL101", ("outputs",), edited(lambda m: m.graph.ClearField("output"))),
    Case("no opset", "AL101", ("opset",), edited(lambda m: m.ClearField("opset_import"))),
    Case("a cycle", "AL101", ("cycle", "the_Add"), models.cyclic()),
    Case("an undefined tensor", "AL101", ("the_Relu", "'q'"), model([node("Relu", "q")])),
    Case("an undefined output", "AL101", ("'z'",), model([node("Relu", "x")], outputs="z")),
    Case("a tensor made twice", "AL101", ("'y'", "twice"), models.made_twice()),
    Case("an input listed twice", "AL101", ("'x'", "twice"), models.listed_twice()),
    Case("a weight of wrong size", "AL101", ("'w'", "[4, 3, 3, 3, 7]"), models.long_weight()),
    Case("a weight without data", "AL101", ("'w'",), models.without_data()),
    Case("a negative weight shape", "AL101", ("'w'",), models.negative_weight()),
]

EXTERNAL = [
    Case("missing", "AL104", ("weights.bin", "'w'"), external(size=0)),
    Case("truncated", "AL104", ("weights.bin", "'w'"), external(size=100, length="432")),
    Case("too short", "AL104", ("'w'",), external(length="40")),
    Case("beyond the end", "AL104", ("'w'",), external(offset="4096", length="432")),
    Case("a negative offset", "AL104", ("'w'",), external(offset="-4", length="432")),
    Case("an offset of text", "AL104", ("'w'",), external(offset="here", length="432")),
    Case("above the folder", "AL104", ("outside",), external("../weights.bin")),
    Case("anywhere", "AL104", ("outside",), external("/etc/passwd")),
    Case("a folder", "AL104", ("'w'",), external(".")),
]

UNSUPPORTED = [
    Case("an unknown operator", "AL102", ("Frobnicate", "the_Frobnicate"), calling("Frobnicate")),
    Case("an unknown domain", "AL102", ("com.example",), calling("Relu", "com.example")),
    Case("an unknown attribute", "AL102", ("speed", "the_Relu"), calling("Relu", speed=3)),
    Case("an attribute of wrong type", "AL102", ("strides",), models.wrong_attribute_type()),
    Case("a missing attribute", "AL102", ("axis",), one("Concat", (2, 2), (2, 2))),
    Case("too few inputs", "AL102", ("the_Add",), one("Add", (2, 2))),
    Case("too many inputs", "AL102", ("the_Relu",), one("Relu", (2,), (2,))),
    Case("an old opset", "AL102", ("opset 3",), model([node("Relu", "x")], opset=3)),
    Case("an opset of the future", "AL102", ("opset 99",), model([node("Relu", "x")], opset=99)),
    Case("a file of the future", "AL102", ("99",), edited(lambda m: setattr(m, "ir_version", 99))),
    Case("a branch chosen at run time", "AL102", ("the_If",), models.condition()),
    Case("a loop", "AL102", ("the_Loop",), models.loop()),
    Case("a sequence", "AL102", ("'x'", "sequence"), models.sequence_input()),
    Case("strings", "AL102", ("'x'", "STRING"), of_dtype(onnx.TensorProto.STRING)),
    Case("8-bit floats", "AL102", ("'x'", "FLOAT8"), of_dtype(FLOAT8)),
    Case("complex numbers", "AL102", ("'x'", "COMPLEX"), of_dtype(COMPLEX)),
    Case("a sparse weight", "AL102", ("'s'", "sparse"), models.sparse()),
    Case("unlike dtypes", "AL102", ("the_Add",), models.unlike_dtypes()),
    Case("channels that differ", "AL102", ("the_Conv",), one("Conv", (1, 3, 8, 8), (4, 5, 3, 3))),
    Case(
        "groups that do not divide",
        "AL102",
        ("the_Conv",),
        one("Conv", (1, 4, 8, 8), (3, 2, 3, 3), group=2),
    ),
    Case(
        "a kernel larger than the picture",
        "AL102",
        ("the_Conv",),
        one("Conv", (1, 3, 2, 2), (4, 3, 5, 5)),
    ),
    Case(
        "a stride of 0",
        "AL102",
        ("the_Conv",),
        one("Conv", (1, 3, 8, 8), (4, 3, 3, 3), strides=[0, 1]),
    ),
    Case("matrices that do not fit", "AL102", ("the_MatMul",), one("MatMul", (2, 3), (4, 5))),
    Case("shapes that do not broadcast", "AL102", ("the_Add",), one("Add", (2, 3), (2, 4))),
    Case("a reshape of another size", "AL102", ("the_Reshape",), models.reshape_count()),
    Case("a wrong permutation", "AL102", ("the_Transpose",), one("Transpose", (2, 3), perm=[0, 0])),
    Case("an axis out of range", "AL102", ("the_Softmax",), one("Softmax", (2, 3), axis=5)),
    Case("a result too large", "AL102", ("the_Expand",), models.too_large()),
    Case("an unknown operator inside", "AL102", ("Frobnicate",), models.unknown_inside()),
]

FREE = model([node("Relu", "x")], [info("x", ("N", 3, "H", "W"))])

SHAPES = [
    Case("free dimensions", "AL103", ("H", "--shape x=1x3x"), FREE),
    Case("a negative dimension", "AL103", ("'x'", "-3"), models.of_shape(1, -3, 8, 8)),
    Case("a huge dimension", "AL103", ("'x'",), models.of_shape(1, 1 << 40)),
    Case("a shape beyond 64 bits", "AL103", ("'x'",), models.of_shape(1 << 40, 1 << 40, 1 << 40)),
    Case("a shape for no input", "AL103", ("'z'", "'x'"), FREE, options=given("z=1x3x4x4")),
    Case("too few axes", "AL103", ("1x3", "4 axes"), FREE, options=given("x=1x3")),
    Case("too many axes", "AL103", ("'x'",), FREE, options=given("x=1x3x4x4x4")),
    Case("a size of 0", "AL103", ("0",), FREE, options=given("x=1x3x0x4")),
    Case("a negative size", "AL103", ("-4",), FREE, options=given("x=1x3x-4x4")),
    Case("a size that the model fixes", "AL103", ("fixes",), FREE, options=given("x=1x5x4x4")),
    Case("a huge size", "AL103", ("'x'",), FREE, options=given("x=1x3x100000000x100000000")),
    Case("a shape without a name", "AL801", ("'1x3x4x4'",), FREE, options=given("1x3x4x4")),
    Case("a shape of words", "AL801", ("'x=1xaxbx4'",), FREE, options=given("x=1xaxbx4")),
    Case("an empty shape", "AL801", ("'x='",), FREE, options=given("x=")),
    Case("a shape given twice", "AL801", ("twice",), FREE, options=given("x=1x3x4x4") * 2),
]

CASES = [*FILES, *EXTERNAL, *UNSUPPORTED, *SHAPES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_compile_refuses(case: Case, shell: Refusals, sound: Path) -> None:
    path = case.write(shell.folder)
    output = shell.folder / "out" / "m.so"
    where = () if case.id == "AL801" else (path,)
    mentions = (*case.mentions, *where)
    shell.refused(case.id, mentions, "compile", path, "-o", output, *case.options)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_check_says_what_compile_says(case: Case, shell: Refusals, sound: Path) -> None:
    path = case.write(shell.folder)
    status, out, err = shell.run("check", path, *case.options)
    assert "Traceback" not in out + err
    if status == 2:
        assert case.id in err
        return
    assert status == 1
    assert "not supported" in out
    assert all(text in out for text in case.mentions)
