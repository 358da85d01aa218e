"""Compiling for another kind of machine than this one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import armlet
from armlet import api, emulator
from armlet import emulated as emulated_model
from armlet.compiler.link.elf import MACHINES, Elf
from armlet.emulated import EmulatedModel
from armlet.errors import ArtifactError, ExecutionError, TargetError, VerificationError
from armlet.model import TensorInfo
from armlet.reference import reference_of
from armlet.targets import FAMILIES, is_native, target

FOREIGN = [t for t in FAMILIES.values() if t.system == "linux" and not is_native(t)]
OTHER = FOREIGN[0]
WHY_NOT = emulator.find(OTHER).missing
emulated = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
SHAPES = {"x": (1, 3, 14, 11)}
ACOSH = np.linspace(1, 9, 36, dtype=np.float32).reshape(4, 9)


def wide_convolution() -> onnx.ModelProto:
    """3x3, of enough channels for Winograd's, and of a size that its tiles do not divide."""
    weight = np.random.default_rng(0).standard_normal((72, 64, 3, 3)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Relu", ["c"], ["y"]),
    ]
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 64, 17, 14])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    constants = [onnx.numpy_helper.from_array(weight, "w")]
    graph = onnx.helper.make_graph(nodes, "wide", [x], [y], constants)
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )


@pytest.fixture
def without_emulator(monkeypatch):
    monkeypatch.setattr("armlet.emulator.shutil.which", lambda _: None)


@pytest.mark.parametrize(
    "chosen",
    [
        "linux-arm64",
        "linux-arm64-cortex-a55",
        "linux-armv7",
        "linux-riscv64",
        "linux-riscv64+zvl256b",
        "android-arm64",
        "android-armv7",
        "android-x86_64",
        "wasm32",
        "wasm32+relaxed",
    ],
)
def test_answers_are_right_on_an_emulated_machine(chosen, small_cnn):
    if why_not := emulator.find(target(chosen)).missing:
        pytest.skip(why_not)
    made = api.compile(small_cnn, chosen, shapes=SHAPES)
    assert made.manifest["verified_by"]
    assert made.differences and not made.not_run
    x = np.random.default_rng(0).standard_normal(SHAPES["x"]).astype(np.float32)
    right = reference_of(api.load(small_cnn, SHAPES)).run({"x": x})
    np.testing.assert_allclose(made.run({"x": x})["y"], right["y"], rtol=1e-4, atol=1e-5)


@emulated
@pytest.mark.parametrize("core", ["cortex-a76", "cortex-a55"])
def test_winograds_convolution_is_right_on_an_emulated_arm(core, tmp_path):
    onnx.save(wide_convolution(), tmp_path / "wide.onnx")
    made = api.compile(tmp_path / "wide.onnx", f"linux-arm64-{core}")
    assert made.manifest["verified_by"]
    assert "conv2d_winograd" in {k["template"] for k in made.manifest["kernels"]}


@pytest.mark.parametrize("chosen", ["linux-riscv64", "linux-arm64+sve2"])
def test_vectors_stay_of_one_length_where_registers_may_be_of_any(chosen, one_node):
    if why_not := emulator.find(target(chosen)).missing:
        pytest.skip(why_not)
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    made = api.compile(one_node("ArgMax", (2, 3, 4), axis=1), chosen, data={"x0": x})
    np.testing.assert_array_equal(made.run({"x0": x})["y"], x.argmax(1)[:, None])


@emulated
def test_every_value_can_be_observed_there(small_cnn):
    made = api.compile(small_cnn, OTHER, shapes=SHAPES)
    seen = {}
    with made.observe(lambda name, data: seen.__setitem__(name, data)):
        found = made.run({"x": np.ones(SHAPES["x"], np.float32)})
    assert len(seen) == made.manifest["tasks"]
    np.testing.assert_array_equal(seen["y"].reshape(found["y"].shape), found["y"])


@emulated
def test_an_artifact_that_cannot_start_is_told(small_cnn, tmp_path):
    made = api.compile(small_cnn, OTHER, shapes=SHAPES)
    assert isinstance(made, EmulatedModel)
    made.inputs = (*made.inputs, TensorInfo("z", "float32", (1,)))
    made.path = tmp_path / "absent.so"
    with pytest.raises(ExecutionError, match=r"absent\.so"):
        made.run({"x": np.ones(SHAPES["x"], np.float32), "z": np.zeros(1, np.float32)})


@emulated
def test_wrong_answers_are_found(small_cnn, monkeypatch):
    right = emulated_model._arrays
    monkeypatch.setattr(
        emulated_model, "_arrays", lambda *a: {k: v + 1 for k, v in right(*a).items()}
    )
    with pytest.raises(VerificationError, match="every kernel agrees"):
        api.compile(small_cnn, OTHER, shapes=SHAPES)


def test_without_an_emulator_the_artifact_is_made_and_says_so(
    small_cnn, tmp_path, without_emulator
):
    made = api.compile(small_cnn, OTHER, shapes=SHAPES)
    assert "not installed" in made.not_run
    assert made.manifest["verified_by"] == ""
    made.save(tmp_path / "m.so")
    with pytest.raises(ArtifactError, match="another machine"):
        armlet.open(tmp_path / "m.so")
    with pytest.raises(ExecutionError, match="not installed"):
        made.run({})


@pytest.mark.parametrize("chosen", [FOREIGN[0], FOREIGN[-1]], ids=str)
def test_code_is_for_that_machine_and_the_same_each_time(
    chosen, small_cnn, tmp_path, without_emulator
):
    paths = [tmp_path / "a.so", tmp_path / "b.so"]
    for path in paths:
        api.compile(small_cnn, chosen, shapes=SHAPES).save(path)
    first, second = map(Path.read_bytes, paths)
    assert first == second
    assert Elf(first).machine == MACHINES[chosen.machine]


def test_what_does_not_run_here_is_not_timed_here():
    from armlet.cli.options import run_here

    with pytest.raises(TargetError, match="does not run on this machine"):
        run_here(OTHER.name)
    run_here("host")


@emulated
@pytest.mark.parametrize("extension", ["dotprod", "fp16"])
def test_a_processor_that_lacks_an_extension_is_told(small_cnn, monkeypatch, extension):
    made = api.compile(small_cnn, f"linux-arm64+{extension}", shapes=SHAPES)
    x = np.ones(SHAPES["x"], np.float32)
    assert np.isfinite(made.run({"x": x})["y"]).all()
    monkeypatch.setenv("QEMU_CPU", "cortex-a53")
    lacking = {"dotprod": "asimddp", "fp16": "fphp"}[extension]
    with pytest.raises(ExecutionError, match=lacking):
        made.run({"x": x})


@pytest.mark.parametrize(
    "chosen", ["android-arm64", "android-armv7", "linux-armv7", "linux-riscv64"]
)
def test_functions_of_the_c_library_take_their_arguments_as_its_abi_says(chosen, one_node):
    if why_not := emulator.find(target(chosen)).missing:
        pytest.skip(why_not)
    made = api.compile(one_node("Acosh", (4, 9)), chosen, data={"x0": ACOSH})
    assert {"libm.so", "libm.so.6"} & set(Elf(made.path.read_bytes()).needed)
    np.testing.assert_allclose(made.run({"x0": ACOSH})["y"], np.arccosh(ACOSH), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_integers_are_divided_where_the_processor_does_not(dtype, tmp_path):
    chosen = target("linux-armv7")
    if why_not := emulator.find(chosen).missing:
        pytest.skip(why_not)
    x = np.arange(15, dtype=dtype).reshape(3, 5) * np.array(-(1 << 20)).astype(dtype)
    z = np.arange(1, 16, dtype=dtype).reshape(3, 5)
    code = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    info = {n: onnx.helper.make_tensor_value_info(n, code, [3, 5]) for n in ("x", "z", "y")}
    node = onnx.helper.make_node("Div", ["x", "z"], ["y"], name="div")
    graph = onnx.helper.make_graph([node], "divide", [info["x"], info["z"]], [info["y"]])
    opsets = [onnx.helper.make_opsetid("", 17)]
    path = tmp_path / "divide.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    made = api.compile(path, chosen, data={"x": x, "z": z})
    y = made.run({"x": x, "z": z})["y"]
    np.testing.assert_array_equal(y, (x.astype("i8") / z).astype("i8").astype(dtype))
