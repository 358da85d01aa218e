"""The Python front door: what it promises, on small models."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time

import numpy as np
import onnxruntime
import pytest

import armlet
from armlet.compare import difference
from armlet.compiler.passes import pipeline
from armlet.compiler.passes.pipeline import CANONICALIZE
from armlet.errors import InputError, ModelShapeError, VerificationError


def random_input(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def onnx_answer(path, feeds):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip((o.name for o in session.get_outputs()), session.run(None, feeds)))


@pytest.mark.parametrize("target", ["host", "linux-x86_64", "linux-x86_64-v3"])
def test_the_answer_is_onnx_runtimes(small_cnn, target):
    model = armlet.compile(small_cnn, target)
    feeds = {"x": random_input((1, 3, 14, 11))}
    right = onnx_answer(small_cnn, feeds)["y"]
    assert difference("y", right, model.run(feeds)["y"]).within(1e-5)


def test_a_batch_is_compiled_for_when_its_shape_is_given(small_cnn):
    model = armlet.compile(small_cnn, shapes={"x": (3, 3, 14, 11)})
    feeds = {"x": random_input((3, 3, 14, 11))}
    assert difference("y", onnx_answer(small_cnn, feeds)["y"], model.run(feeds)["y"]).within(1e-5)


def test_an_artifact_is_saved_and_opened_quickly(small_cnn, tmp_path):
    model = armlet.compile(small_cnn)
    model.save(tmp_path / "m.so")
    feeds = {"x": random_input((1, 3, 14, 11))}
    begun = time.perf_counter()
    opened = armlet.open(tmp_path / "m.so")
    assert time.perf_counter() - begun < 0.1
    np.testing.assert_array_equal(opened.run(feeds)["y"], model.run(feeds)["y"])
    assert opened.selftest().passed
    assert opened.manifest["source"]["file"] == "small.onnx"


def test_compiling_again_reuses_kernels_and_gives_the_same_bytes(small_cnn, tmp_path):
    armlet.compile(small_cnn).save(tmp_path / "a.so")
    begun = time.perf_counter()
    armlet.compile(small_cnn).save(tmp_path / "b.so")
    assert time.perf_counter() - begun < 3
    assert (tmp_path / "a.so").read_bytes() == (tmp_path / "b.so").read_bytes()


def test_layers_keep_the_source_models_names(small_cnn):
    layers = {layer.source for layer in armlet.compile(small_cnn).profile(runs=1)}
    assert {"stem", "depthwise", "pool", "head"} <= layers


def test_importing_armlet_costs_nothing():
    code = "import armlet, sys; print(any(m in sys.modules for m in ('tvm', 'onnx', 'numpy')))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_a_free_dimension_is_refused_with_a_way_out(one_node, tmp_path):
    import onnx

    path = one_node("Relu", (2, 3))
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "length"
    onnx.save(model, path)
    with pytest.raises(ModelShapeError, match=r"--shape x0=2x\?"):
        armlet.compile(path)


def test_unknown_sample_data_is_refused(small_cnn):
    with pytest.raises(InputError, match="no input 'z'"):
        armlet.compile(small_cnn, data={"z": np.zeros(3, "f")})


def scale_the_wrong_constant(function):
    """A bug: one bias is off by half."""
    from armlet.compiler.ir import Const

    bindings = list(function.bindings)
    at = next(i for i, c in enumerate(bindings) if c.op.name == "add")
    call = bindings[at]
    wrong = tuple(Const(v.name, v.data + 0.5) if isinstance(v, Const) else v for v in call.operands)
    bindings[at] = dataclasses.replace(call, operands=wrong)
    return dataclasses.replace(function, bindings=tuple(bindings))


def test_a_bug_planted_in_a_pass_is_caught_with_its_group_and_pass(small_cnn, monkeypatch):
    planted = [
        (name, lambda f, run=run: scale_the_wrong_constant(run(f)))
        if name == "fold_batch_norm"
        else (name, run)
        for name, run in CANONICALIZE
    ]
    monkeypatch.setattr(pipeline, "CANONICALIZE", planted)
    with pytest.raises(VerificationError) as caught:
        armlet.compile(small_cnn)
    assert "pass fold_batch_norm changed the meaning" in str(caught.value)
    assert "group conv2d_blocked" in str(caught.value)
    assert "'stem.bn'" in str(caught.value) or "'stem'" in str(caught.value)


def test_a_bug_planted_in_a_kernel_is_caught_with_its_group(one_node, monkeypatch):
    from armlet.compiler.ops.activation import Relu

    right = Relu.scalar
    monkeypatch.setattr(Relu, "scalar", lambda self, x: right(self, x) * 1.01)
    with pytest.raises(VerificationError, match=r"kernel of group relu \(layer 'node'"):
        armlet.compile(one_node("Relu", (2, 37)))
