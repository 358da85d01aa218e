"""Whether models keep their answers in int8: armlet's quantiser and ONNX Runtime's, side by side.

    python benchmarks/quantizers.py --images DIR mobilenet_v2.onnx:1x3x224x224:class \\
        rec.onnx:1x3x48x320:text:words.npz

A model has one input: pictures of a folder, scaled to its size, or of a file of arrays. 32 of
them are data to quantise by; the others are compared with the float model's answers. What counts
is the first output: "class" where its last axis is largest; "text" the letters that are largest in
places, without repetitions and blanks (0); "map" the pixels above 0.3, which agree where the
intersection is 0.9 of the union. Both quantisers make every layer integers that they can, with a
scale for each output channel, and both files are evaluated by ONNX Runtime without its optimiser,
whose kernels saturate on processors without VNNI.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from armlet import api, quantization
from armlet.cli.image import Pixels
from armlet.cli.samples import read_data
from armlet.compiler.ir import Module
from armlet.frontends.onnx.quantized import read
from armlet.quantization import Options
from armlet.reference import OnnxRuntime

#: samples to quantise by
DATA = 32
BLANK, TEXT = 0, 0.3


@dataclass(frozen=True)
class Result:
    size: float
    agreeing: int
    #: the root mean square of the difference, relative to that of the right outputs
    error: float


def _class(output: np.ndarray) -> object:
    return output.argmax(-1).tolist()


def _text(output: np.ndarray) -> object:
    letters = output.argmax(-1).reshape(-1)
    kept = np.append(True, letters[1:] != letters[:-1]) & (letters != BLANK)
    return letters[kept].tolist()


def _same_map(right: np.ndarray, found: np.ndarray) -> bool:
    a, b = right > TEXT, found > TEXT
    union = int((a | b).sum())
    return union == 0 or int((a & b).sum()) >= 0.9 * union


AGREE: dict[str, Callable[[np.ndarray, np.ndarray], bool]] = {
    "class": lambda a, b: _class(a) == _class(b),
    "text": lambda a, b: _text(a) == _text(b),
    "map": _same_map,
}


def by_armlet(module: Module, name: str, data: np.ndarray, output: Path, options: Options) -> None:
    quantization.quantize(module, output, {name: data}, options=options)


def by_onnx_runtime(module: Module, name: str, data: np.ndarray, output: Path) -> None:
    """As its documentation says: after its own preparation, with its defaults but for channels."""
    from onnxruntime import quantization as ort

    class Reader(ort.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter([{name: x[None]} for x in data])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    source, prepared = output.with_name("source.onnx"), output.with_name("prepared.onnx")
    # scales of channels need a newer version than some models have
    onnx.save(read(Path(str(module.metadata["path"]))), str(source))
    try:
        ort.shape_inference.quant_pre_process(str(source), str(prepared))
    except Exception:  # shapes that it cannot infer
        ort.shape_inference.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    ort.quantize_static(str(prepared), str(output), Reader(), per_channel=True)


def compared(path: Path, right: list[np.ndarray], name: str, tests: np.ndarray, kind: str,
             size: int) -> Result:  # fmt: skip
    runtime = OnnxRuntime(path, literal=True)
    found = [next(iter(runtime.run({name: x[None]}).values())) for x in tests]
    noise = sum(float(np.square(a - b).sum()) for a, b in zip(right, found))
    signal = sum(float(np.square(a).sum()) for a in right)
    agreeing = sum(AGREE[kind](a, b) for a, b in zip(right, found))
    return Result(path.stat().st_size / size, agreeing, (noise / signal) ** 0.5)


def row(text: str, images: Path, pixels: Pixels, options: Options) -> str:
    path, shape, kind, file = [*text.split(":"), ""][:4]
    sizes = tuple(int(n) for n in shape.split("x"))
    module = api.load(path, {onnx.load(path).graph.input[0].name: sizes})
    (x,) = module.main.params
    (every,) = read_data(Path(file) if file else images, module, pixels).values()
    every = np.random.default_rng(0).permutation(every)
    data, tests = every[:DATA], every[DATA:]
    reference, size = OnnxRuntime(Path(path)), Path(path).stat().st_size
    right = [next(iter(reference.run({x.name: t[None]}).values())) for t in tests]
    cells = [Path(path).stem, kind, f"{len(tests)}", f"{size / 2**20:.2f} MiB"]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "q.onnx")
        for make in (
            lambda: by_armlet(module, x.name, data, output, options),
            lambda: by_onnx_runtime(module, x.name, data, output),
        ):
            make()
            found = compared(output, right, x.name, tests, kind, size)
            cells += [f"{found.agreeing / len(tests):.1%}", f"{found.error:.3f}",
                      f"{found.size:.0%}"]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL:SHAPE:KIND[:FILE]")
    parser.add_argument("--images", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--scale", type=float, default=1 / 255)
    parser.add_argument("--mean", default="0.485,0.456,0.406")
    parser.add_argument("--std", default="0.229,0.224,0.225")
    parser.add_argument("--bgr", action="store_true")
    parser.add_argument("--method", default="mse")
    parser.add_argument("--max-drop", type=float)
    parser.add_argument("--metric", default="error")
    asked = parser.parse_args()
    pixels = Pixels(asked.scale, asked.mean, asked.std, asked.bgr)
    options = Options(asked.method, asked.metric, asked.max_drop)
    logging.disable(logging.WARNING)
    print("| model | answer | pictures | float32 | armlet | error | size | ORT | error | size |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for text in asked.models:
        print(row(text, asked.images, pixels, options), flush=True)


if __name__ == "__main__":
    main()
