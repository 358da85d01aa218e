"""OpenVINO's CPU plugin, on its own format; fp32, for it would choose bf16 where it can."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import Opened

PACKAGES = ("openvino==2026.4.1",)


def convert(model: Path, feeds: dict[str, np.ndarray], folder: Path) -> None:
    import openvino

    converted = openvino.convert_model(model)
    openvino.save_model(converted, folder / "model.xml", compress_to_fp16=False)


class Model(Opened):
    def __init__(self, folder: Path, feeds: dict[str, np.ndarray], threads: int) -> None:
        import openvino

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
        }
        self.compiled = openvino.Core().compile_model(folder / "model.xml", "CPU", settings)
        self.request = self.compiled.create_infer_request()
        self.feeds = feeds  # the request reads them where they are
        for name, data in feeds.items():
            self.request.set_tensor(name, openvino.Tensor(data, shared_memory=True))

    def run(self) -> None:
        self.request.infer()

    def outputs(self) -> list[np.ndarray]:
        return [self.request.get_tensor(o).data for o in self.compiled.outputs]
