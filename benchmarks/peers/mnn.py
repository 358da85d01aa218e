"""MNN's CPU back end. Its converter is called below its command, which uploads usage logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import Opened

PACKAGES = ("MNN==3.6.1", "numpy==2.4.6", "onnx==1.23.2")


def convert(model: Path, feeds: dict[str, np.ndarray], folder: Path) -> None:
    import MNN  # noqa: F401 - loads the library that _tools needs
    import onnx

    import _tools  # isort: skip

    target = folder / "model.mnn"
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", str(model),
                       "--MNNModel", str(target), "--bizCode", "none"])  # fmt: skip
    if not target.exists():
        raise RuntimeError("mnnconvert fails")
    names = [output.name for output in onnx.load(model).graph.output]
    (folder / "outputs.txt").write_text("\n".join(names))


class Model(Opened):
    def __init__(self, folder: Path, feeds: dict[str, np.ndarray], threads: int) -> None:
        import MNN

        self.mnn = MNN
        self.interpreter = MNN.Interpreter(str(folder / "model.mnn"))
        self.session = self.interpreter.createSession(
            {"backend": "CPU", "numThread": threads, "precision": "high"}
        )
        for name, data in feeds.items():
            kind = MNN.Halide_Type_Float if data.dtype.kind == "f" else MNN.Halide_Type_Int
            data = data.astype(np.float32 if data.dtype.kind == "f" else np.int32)
            host = MNN.Tensor(data.shape, kind, data, MNN.Tensor_DimensionType_Caffe)
            self.interpreter.getSessionInput(self.session, name).copyFrom(host)
        self.names = (folder / "outputs.txt").read_text().splitlines()

    def run(self) -> None:
        self.interpreter.runSession(self.session)

    def outputs(self) -> list[np.ndarray]:
        return [self._array(name) for name in self.names]

    def _array(self, name: str) -> np.ndarray:
        mnn = self.mnn
        found = self.interpreter.getSessionOutput(self.session, name)
        empty = np.zeros(found.getShape(), np.float32)
        host = mnn.Tensor(
            found.getShape(), mnn.Halide_Type_Float, empty, mnn.Tensor_DimensionType_Caffe
        )
        found.copyToHostTensor(host)
        return np.array(host.getNumpyData()).reshape(found.getShape())
