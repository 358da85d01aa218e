"""ONNX Runtime's CPU provider, on the ONNX file itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from . import Opened

PACKAGES = ("onnxruntime==1.32.0",)


def convert(model: Path, feeds: dict[str, np.ndarray], folder: Path) -> None:
    shutil.copy(model, folder / "model.onnx")


class Model(Opened):
    def __init__(self, folder: Path, feeds: dict[str, np.ndarray], threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.binding = self.session.io_binding()
        self.feeds = feeds  # bound where they are
        for name, data in feeds.items():
            self.binding.bind_cpu_input(name, data)
        for output in self.session.get_outputs():
            self.binding.bind_output(output.name)

    def run(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def outputs(self) -> list[np.ndarray]:
        return self.binding.copy_outputs_to_cpu()
