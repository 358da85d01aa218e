"""A float model to integers and to an artifact: files, other tools, and other machines."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import armlet
from armlet import api, emulator, quantization
from armlet.errors import InputError, QuantizationError, SettingError
from armlet.quantization import Options
from armlet.reference import OnnxRuntime
from armlet.targets import is_native, target

RNG = np.random.default_rng(0)
SHAPES = {"x": (1, 3, 14, 11)}
DATA = {"x": RNG.standard_normal((9, 3, 14, 11)).astype("f")}
ARM = "linux-arm64+dotprod"


@pytest.fixture
def network(tmp_path):
    """Convolutions in a row, of integers only between its ends, at an old opset."""
    shapes = {"w1": (16, 3, 3, 3), "w2": (16, 1, 3, 3), "w3": (12, 16, 1, 1)}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], name="stem", strides=[2, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="depthwise", group=16),
        helper.make_node("BatchNormalization", ["c2", "g", "b2", "m", "v"], ["n2"], name="bn"),
        helper.make_node("Relu", ["n2"], ["r2"]),
        helper.make_node("Identity", ["r2"], ["i2"]),
        helper.make_node("Conv", ["i2", "w3"], ["y"], name="pointwise"),
    ]
    constants = {k: RNG.standard_normal(s) / np.sqrt(np.prod(s[1:])) for k, s in shapes.items()}
    constants |= {k: RNG.random(16) + 0.5 for k in ("g", "m", "v", "b2")}
    initial = [numpy_helper.from_array(v.astype("f"), k) for k, v in constants.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 14, 11])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 12, None, None])
    graph = helper.make_graph(nodes, "network", [x], [y], initial)
    opsets = [helper.make_opsetid("", 11)]
    path = tmp_path / "network.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=7), str(path))
    return path


def require(chosen: str) -> None:
    """Skips where nothing runs what is compiled for that target."""
    machine = target(chosen)
    if not is_native(machine) and (why_not := emulator.find(machine).missing):
        pytest.skip(why_not)


def run(path, data) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path))
    return np.concatenate([session.run(None, {"x": x[None]})[0] for x in data["x"]])


def literally(path, data) -> np.ndarray:
    reference = OnnxRuntime(path, literal=True)
    return np.concatenate([*(reference.run({"x": x[None]}).popitem()[1] for x in data["x"])])


@pytest.mark.parametrize("name", ["network", "small_cnn"])
def test_other_tools_read_what_is_written_and_agree(name, request, tmp_path):
    path = request.getfixturevalue(name)
    made = quantization.quantize(path, tmp_path / "q.onnx", DATA, shapes=SHAPES)
    assert {layer.precision for layer in made.report.layers} == {"int8"}
    model = onnx.load(tmp_path / "q.onnx")
    onnx.checker.check_model(model, full_check=True)
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("QuantizeLinear") == len(made.recipe.tensors)
    assert not {"BatchNormalization", "Gemm"} & set(operators)
    right, found = run(path, DATA), literally(tmp_path / "q.onnx", DATA)
    error = np.linalg.norm(found - right) / np.linalg.norm(right)
    assert error == pytest.approx(made.report.drop, rel=0.1) and error < 0.05


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("network", "host"),
        *(
            pytest.param(*names, marks=pytest.mark.slow)
            for names in (("small_cnn", "host"), ("network", ARM), ("small_cnn", ARM))
        ),
    ],
)
def test_the_file_and_the_model_itself_give_the_same_answers(name, chosen, request, tmp_path):
    require(chosen)
    path = request.getfixturevalue(name)
    quantization.quantize(path, tmp_path / "q.onnx", DATA, shapes=SHAPES)
    options = {"shapes": SHAPES, "data": DATA, "precision": "int8-only"}
    through = api.compile(tmp_path / "q.onnx", chosen, shapes=SHAPES)
    direct = api.compile(path, chosen, **options)
    for x in DATA["x"][:3]:
        answers = [model.run({"x": x[None]})["y"] for model in (through, direct)]
        np.testing.assert_array_equal(*answers)


@pytest.mark.slow
@pytest.mark.parametrize("chosen", [ARM, "linux-armv7", "wasm32"])
def test_another_machines_answers_are_this_ones_bit_for_bit(chosen, network):
    require(chosen)
    options = {"shapes": SHAPES, "data": DATA, "precision": "int8-only"}
    here, there = (api.compile(network, t, **options) for t in ("host", chosen))
    for x in DATA["x"][:3]:
        np.testing.assert_array_equal(*(m.run({"x": x[None]})["y"] for m in (here, there)))


def test_an_artifact_tells_what_is_where_and_why(small_cnn):
    made = armlet.compile(small_cnn, shapes=SHAPES, data=DATA, precision="int8")
    told = made.manifest["quantization"]
    assert made.manifest["precision"] == "int8"
    for layer in told["layers"]:
        assert (layer["precision"] == "float32") == (layer["gain"] < 1)


def test_a_layer_without_its_tensors_in_the_file_stays_as_it_is(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="line"),
        helper.make_node("MatMul", ["a", "v"], ["y"], name="product"),
    ]
    initial = [
        numpy_helper.from_array(RNG.standard_normal(s).astype("f"), n)
        for n, s in (("w", (4, 3, 3)), ("v", (7, 5)))
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 9])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 5])
    graph = helper.make_graph(nodes, "line", [x], [y], initial)
    path = tmp_path / "line.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    data = {"x": RNG.standard_normal((4, 1, 3, 9)).astype("f")}
    made = quantization.quantize(path, tmp_path / "q.onnx", data)
    assert [layer.layer for layer in made.report.layers] == ["product"]
    lines = {"x": data["x"][:, 0]}
    right, found = run(path, lines), literally(tmp_path / "q.onnx", lines)
    assert 0 < np.linalg.norm(found - right) < 0.05 * np.linalg.norm(right)


def test_equalised_weights_are_written_for_layers_in_floats_too(network, tmp_path):
    options = Options(equalize=True, max_drop=0.0)
    made = quantization.quantize(network, tmp_path / "q.onnx", DATA, shapes=SHAPES, options=options)
    assert made.report.integer == 0
    right, found = run(network, DATA), run(tmp_path / "q.onnx", DATA)
    np.testing.assert_allclose(found, right, atol=1e-5)
    assert "w2_quantized" not in {i.name for i in onnx.load(tmp_path / "q.onnx").graph.initializer}


@pytest.fixture
def wide(tmp_path):
    """A convolution and a product with many weights."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["y"], name="product"),
    ]
    shapes = {"w": (256, 64, 3, 3), "b": (256,), "v": (256, 300)}
    initial = [
        numpy_helper.from_array(RNG.standard_normal(s).astype("f"), n) for n, s in shapes.items()
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 300])
    graph = helper.make_graph(nodes, "wide", [x], [y], initial)
    path = tmp_path / "wide.onnx"
    opsets = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


@pytest.mark.parametrize(
    ("precision", "share", "allowed"),
    [
        ("int8-weights", 0.27, 0.02),
        pytest.param("int16-weights", 0.52, 1e-4, marks=pytest.mark.slow),
    ],
)
def test_weights_alone_are_small_in_files_and_artifacts(precision, share, allowed, wide, tmp_path):
    output = tmp_path / "q.onnx"
    assert quantization.round_weights(wide, output, precision) == 2
    onnx.checker.check_model(onnx.load(output), full_check=True)
    assert output.stat().st_size <= share * wide.stat().st_size
    x = {"x": RNG.standard_normal((1, 64, 8, 8)).astype("f")}
    right, rounded = (OnnxRuntime(p, literal=True).run(x)["y"] for p in (wide, output))
    through, direct = api.compile(output), api.compile(wide, precision=precision)
    floats = 4 * sum(np.prod(i.dims) for i in onnx.load(wide).graph.initializer)
    for made in (through, direct):
        assert made.manifest["constant_bytes"] <= share * floats
        found = made.run(x)["y"]
        assert np.linalg.norm(found - rounded) <= 1e-5 * np.linalg.norm(right)
        assert 1e-7 < np.linalg.norm(found - right) / np.linalg.norm(right) < allowed
    assert direct.manifest["precision"] == precision and direct.manifest["quantization"] is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "no data for input 'x'"),
        ({"z": DATA["x"]}, "no input 'z'"),
        ({"x": DATA["x"][:, :2]}, r"samples are float32\[1, 3, 14, 11\]"),
        ({"x": DATA["x"].astype("d")}, "float64"),
        ({"x": DATA["x"][:0]}, "no samples"),
        ({"x": np.full_like(DATA["x"], np.nan)}, "NaN or infinities"),
    ],
)
def test_data_that_do_not_fit_are_an_error(data, message, small_cnn, tmp_path):
    with pytest.raises(InputError, match=message):
        quantization.quantize(small_cnn, tmp_path / "q.onnx", data, shapes=SHAPES)
    assert not (tmp_path / "q.onnx").exists()


def test_integers_need_data(small_cnn):
    with pytest.raises(SettingError, match="int8 needs data"):
        armlet.compile(small_cnn, shapes=SHAPES, precision="int8")


@pytest.mark.slow
def test_a_model_of_another_format_is_compiled_and_not_written(tmp_path):
    from tests.frontends.tflite.random_graphs import small_network

    path = tmp_path / "m.tflite"
    path.write_bytes(small_network())
    module = api.load(path)
    data = {
        p.name: RNG.standard_normal((3, *p.type.static_shape)).astype("f")
        for p in module.main.params
    }
    with pytest.raises(QuantizationError, match="this model is tflite"):
        quantization.quantize(path, tmp_path / "q.onnx", data)
    made = armlet.compile(path, data=data, precision="int8-only")
    assert made.manifest["quantization"]["integer_layers"] > 0
