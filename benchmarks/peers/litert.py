"""LiteRT with XNNPACK, its default; models by TensorFlow's converter, pictures in NHWC."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import Opened

PACKAGES = ("ai-edge-litert==2.3.0", "tensorflow-cpu==2.21.0", "onnx==1.23.2")


def convert(model: Path, feeds: dict[str, np.ndarray], folder: Path) -> None:
    from .litert_converter import flatbuffer

    (folder / "model.tflite").write_bytes(flatbuffer(model))


class Model(Opened):
    def __init__(self, folder: Path, feeds: dict[str, np.ndarray], threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(str(folder / "model.tflite"), num_threads=threads)
        self.interpreter.allocate_tensors()
        for details, data in zip(self.interpreter.get_input_details(), feeds.values()):
            data = data.transpose(0, 2, 3, 1) if data.ndim == 4 else data
            self.interpreter.set_tensor(details["index"], data)

    def run(self) -> None:
        self.interpreter.invoke()

    def outputs(self) -> list[np.ndarray]:
        indices = [d["index"] for d in self.interpreter.get_output_details()]
        found = [self.interpreter.get_tensor(i) for i in indices]
        return [x.transpose(0, 3, 1, 2) if x.ndim == 4 else x for x in found]
