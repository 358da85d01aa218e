"""ncnn, converted by pnnx. It knows no batch: outputs come without their first axis."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import numpy as np

from . import Opened

PACKAGES = ("ncnn==1.0.20261020", "numpy==2.4.6")
#: its program is whole; only its Python half asks for PyTorch
STANDALONE = ("pnnx==20261020",)


def convert(model: Path, feeds: dict[str, np.ndarray], folder: Path) -> None:
    types = {"float32": "", "int64": "i64", "int32": "i32"}
    shapes = ",".join(
        f"[{','.join(map(str, x.shape))}]{types[x.dtype.name]}" for x in feeds.values()
    )
    unwanted = ("pnnxparam", "pnnxbin", "pnnxpy", "pnnxonnx", "ncnnpy")
    program = Path(sysconfig.get_path("purelib")) / "pnnx" / "pnnx"
    done = subprocess.run(
        [program, model, f"inputshape={shapes}", "fp16=0", "ncnnparam=model.param",
         "ncnnbin=model.bin", *(f"{kind}=rest" for kind in unwanted)],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    (folder / "rest").unlink(missing_ok=True)
    if done.returncode or not (folder / "model.param").exists():
        raise RuntimeError(f"pnnx: {(done.stderr.strip() or 'failed').splitlines()[-1]}")


class Model(Opened):
    def __init__(self, folder: Path, feeds: dict[str, np.ndarray], threads: int) -> None:
        import ncnn

        self.net = ncnn.Net()
        options = self.net.opt
        options.num_threads = threads
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        if self.net.load_param(str(folder / "model.param")):
            raise RuntimeError("ncnn knows not all layers of the converted model")
        self.net.load_model(str(folder / "model.bin"))
        whole = {"int64": np.int32}
        arrays = [x[0].astype(whole.get(x.dtype.name, x.dtype)) for x in feeds.values()]
        self.arrays = [np.ascontiguousarray(x) for x in arrays]
        self.inputs = [(f"in{i}", ncnn.Mat(x)) for i, x in enumerate(self.arrays)]
        self.names = sorted(self.net.output_names(), key=lambda name: int(name[3:]))

    def run(self) -> None:
        extractor = self.net.create_extractor()
        for name, data in self.inputs:
            extractor.input(name, data)
        self.found = []
        for name in self.names:
            status, data = extractor.extract(name)
            if status:
                raise RuntimeError(f"ncnn stops with status {status} at {name}")
            self.found.append(data)

    def outputs(self) -> list[np.ndarray]:
        return [np.array(data)[None] for data in self.found]
