"""The example page in a browser, beside the answers of the same model on this machine."""

from __future__ import annotations

import functools
import re
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import armlet
from armlet.compiler.link import runtime

ROOT = Path(__file__).parent.parent
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HEIGHT, WIDTH = 24, 20


def classifier(path: Path) -> Path:
    rng = np.random.default_rng(5)
    shapes = {"w": (16, 3, 3, 3), "d": (12, 16)}
    tensors = [
        numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n)
        for n, s in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "d"], ["y"], transB=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, HEIGHT, WIDTH))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 12))
    graph = helper.make_graph(nodes, "classifier", [x], [y], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def copy_page(folder: Path) -> None:
    binding = runtime.HEADER.parents[1] / "bindings/js/armlet.mjs"
    for path in (ROOT / "examples/web/index.html", binding):
        shutil.copy(path, folder)


@pytest.fixture
def served(tmp_path):
    """The folder of a site and its address."""

    class Quiet(SimpleHTTPRequestHandler):
        extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}

        def log_message(self, *_: object) -> None:
            pass

    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_page_says_what_the_host_says(served, tmp_path, rendered):
    image = pytest.importorskip("PIL.Image")
    folder, address = served
    model = classifier(tmp_path / "m.onnx")
    armlet.compile(model, "wasm32").save(folder / "model.wasm")
    for path in (
        ROOT / "examples/web/index.html",
        runtime.HEADER.parents[1] / "bindings/js/armlet.mjs",
    ):
        shutil.copy(path, folder)
    (folder / "labels.txt").write_text("\n".join(f"label {i}" for i in range(12)))
    pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    image.fromarray(pixels).save(folder / "picture.png")

    page = rendered(f"{address}/index.html?image=picture.png")
    shown = re.findall(r"<li>label (\d+) \((-?[\d.]+)\)</li>", page)

    x = ((pixels / 255 - MEAN) / DEVIATION).transpose(2, 0, 1)[None].astype(np.float32)
    scores = armlet.compile(model).run({"x": x})["y"][0]
    best = np.argsort(-scores)[:5]
    assert [int(i) for i, _ in shown] == best.tolist()
    np.testing.assert_allclose([float(s) for _, s in shown], scores[best], atol=2e-4)


def test_a_missing_model_is_told(served, rendered):
    folder, address = served
    for path in (
        ROOT / "examples/web/index.html",
        runtime.HEADER.parents[1] / "bindings/js/armlet.mjs",
    ):
        shutil.copy(path, folder)
    assert "the server answers 404" in rendered(f"{address}/index.html")


def test_the_page_is_short():
    assert len((ROOT / "examples/web/index.html").read_text().splitlines()) < 100
