"""QNN: the shim against a library that stands for Qualcomm's, and, where that is installed
(``pip install armlet[qnn]``), regions in its emulator of the HTP."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from armlet import api
from armlet.compiler.build import build
from armlet.compiler.ir import Function, Module, TensorType, Var
from armlet.compiler.link import runtime
from armlet.compiler.ops.interpreter import evaluate
from armlet.errors import MissingPackageError
from armlet.targets import target
from armlet.targets.npu import back_end
from armlet.targets.npu.qnn import Qnn, pack

from ..runtime.test_c_interface import CC, compile_c
from .byte_nets import Net, residual

HERE = Path(__file__).parent
FACTS = {"graph": "net", "inputs": {"input_0": 7}, "outputs": {"output_0": 9}}


def through(dtype: str) -> Function:
    type = TensorType((1, 3, 4, 5), dtype)
    return Function((Var("x", type),), (), (Var("y", type),))


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """(program, library, folder with the blobs), with the sanitizers."""
    if CC is None:
        pytest.skip("no C compiler on this machine")
    folder = tmp_path_factory.mktemp("qnn")
    flags = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    library, program = folder / "libQnnHtp.so", folder / "shim"
    compile_c([*flags, "-shared", "-fPIC", HERE / "qnn_library.c", "-o", library])
    parts = [f"-I{runtime.HEADER.parent}", "-DAPI=armlet_npu_qnn", HERE / "shim_driver.c"]
    compile_c([*flags, *parts, *Qnn.shim, "-ldl", "-o", program])
    for dtype in ("uint8", "int8"):
        (folder / dtype).write_bytes(pack(through(dtype), FACTS, b"binary"))
    (folder / "short").write_bytes(pack(through("int8"), FACTS, b"binary")[:-1])
    (folder / "other").write_bytes(pack(through("int8"), FACTS | {"graph": "x"}, b"binary"))
    return program, library, folder


@pytest.mark.parametrize(
    "blob, environment, told",
    [
        ("uint8", {"QNN_FIRST": "1"}, "0 right"),
        ("int8", {"QNN_FIRST": "129"}, "0 right"),
        ("short", {}, "10 the program for QNN is damaged"),
        ("other", {}, "10 QNN does not find the graph in the program"),
        ("int8", {"QNN_MAJOR": "3"}, "10 libQnnHtp.so is of another version than QNN 2"),
        ("int8", {"QNN_FAIL": "backend"}, "10 QNN finds no HTP"),
        ("int8", {"QNN_FAIL": "context"},
         "10 QNN refuses the program; another chip, or older"),
        ("int8", {"QNN_FAIL": "graph"}, "10 QNN does not find the graph in the program"),
        ("int8", {"QNN_FAIL": "execute"}, "10 QNN failed in a run"),
        ("int8", {"ARMLET_QNN_LIBRARY": "libc.so.6"}, "10 libQnnHtp.so has no QNN interface"),
        ("int8", {"ARMLET_QNN_LIBRARY": "/nowhere"}, "10 libQnnHtp.so cannot be opened"),
    ],
)  # fmt: skip
def test_the_shim_hands_tensors_over_and_says_what_fails(shim, blob, environment, told):
    program, library, folder = shim
    given = {"ARMLET_QNN_LIBRARY": str(library), "QNN_MAJOR": "2", "QNN_FIRST": "129"}
    done = subprocess.run(
        [program, folder / blob], capture_output=True, text=True,
        env={**os.environ, **given, **environment},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == told


def test_the_way_out_without_the_compiler_is_told(monkeypatch):
    monkeypatch.setattr(Qnn, "missing", lambda self: "Qualcomm's compiler is missing")
    with pytest.raises(MissingPackageError, match=r"armlet\[qnn\]"):
        Qnn().compile(residual())


# -- in the emulator --------------------------------------------------------------------------


@pytest.fixture
def emulator(monkeypatch):
    qnn = pytest.importorskip("onnxruntime_qnn")
    monkeypatch.setenv("ARMLET_QNN_LIBRARY", str(qnn.get_qnn_htp_path()))


def opened(function: Function):
    made = build(
        Module(function, ("y",)), target(), back_ends=[back_end("qnn:v73")], require_devices=True
    )
    return api.linked(made)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_the_emulator_computes_a_region_within_steps(emulator, dtype):
    function = residual(dtype)
    shape = function.params[0].type.static_shape
    x = np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8).view(dtype)
    with opened(function) as model:
        assert [(r.live, r.reason) for r in model.regions] == [(True, "")]
        found = model.run({"x": x})["y"].astype(int)
        with api.on_cpu(model) as cpu:
            right = cpu.run({"x": x})["y"].astype(int)
    np.testing.assert_array_equal(right, evaluate(function, {"x": x})[0])
    assert np.abs(found - right).max() <= 2


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["conv", "depthwise", "add", "pool"])
def test_the_emulator_computes_a_layer_within_a_step(emulator, layer):
    net = Net((1, 16, 24, 20))
    made = {
        "conv": lambda: net.conv(net.x, 24, 3, zero=7, pads=(1, 1, 1, 1), strides=(2, 2)),
        "depthwise": lambda: net.conv(net.x, 16, 3, group=16, pads=(1, 1, 1, 1)),
        "add": lambda: net.add(net.x, net.x, zeros=(4, 4), scales=(0.02, 0.02)),
        "pool": lambda: net.pool(net.x),
    }
    function = net.function(made[layer]())
    x = np.random.default_rng(4).integers(0, 256, (1, 16, 24, 20)).astype(np.uint8)
    with opened(function) as model:
        assert model.regions[0].live
        steps = np.abs(model.run({"x": x})["y"].astype(int) - evaluate(function, {"x": x})[0])
    assert steps.max() <= 1
    assert (steps > 0).mean() < 0.05
