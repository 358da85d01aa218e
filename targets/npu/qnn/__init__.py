"""Qualcomm's HTP (the Hexagon NPU of Snapdragons) by QNN (Qualcomm AI Engine Direct).

Regions are layers of bytes. They become a QDQ model, and Qualcomm's library, as the package
``onnxruntime-qnn`` brings it, prepares a context binary for a version of Hexagon
(``worker.py``). On the device the shim needs Qualcomm's ``libQnnHtp.so``. Executed in the vendor's
simulator: on x86 the same library emulates the HTP. Nothing of Qualcomm's is in artifacts but the
binary that its library made.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from armlet.compiler.ir import Call, Function
from armlet.errors import MissingPackageError, ToolchainError

from ..base import Estimate, boundary_bytes
from ..int8 import Graph, Int8BackEnd, Layer

WORKER = Path(__file__).parent / "worker.py"
#: seconds of a start over FastRPC, of a byte, and of a multiply-add. Assumed, as the emulator's
#: cycles say nothing of a device: 0.4 tera-multiply-adds a second, a tenth of the least that
#: Qualcomm tells of these chips, and memory of 10 GB/s
LAUNCH, BYTE, MAC = 300e-6, 1e-10, 2.5e-12


class Qnn(Int8BackEnd):
    name = "qnn"
    #: versions of Hexagon: v73 is in the Snapdragon 8 Gen 2, v75 in the 8 Gen 3, v79 in the 8 Elite
    chips = ("v73", "v68", "v69", "v75", "v79", "v81")
    api = "armlet_npu_qnn"
    shim = (Path(__file__).parent / "armlet_npu_qnn.c",)
    least_macs = 1_000_000
    #: one step of a byte in each layer, which a deep network amplifies
    tolerance = 0.2

    @property
    def version(self) -> str:
        return f"1, onnxruntime-qnn {importlib.metadata.version('onnxruntime-qnn')}"

    def missing(self) -> str:
        if importlib.util.find_spec("onnxruntime_qnn") is None:
            return "Qualcomm's compiler is missing: pip install armlet[qnn]"
        return ""

    def refuses(self, layer: Layer) -> str:
        low, high = layer.limits
        if (low, high) != (-128, 127) and (low, high) != (layer.zeros.get(layer.output), 127):
            return f"it limits results to {low} .. {high}"
        return ""

    def estimate(self, region: Function) -> Estimate:
        macs = sum(_macs(c) for c in region)
        return Estimate(BYTE * boundary_bytes(region), LAUNCH, MAC * macs)

    def compile(self, region: Function) -> bytes:
        from .. import qdq_writer

        if reason := self.missing():
            raise MissingPackageError(reason, way_out="pip install armlet[qnn]")
        with tempfile.TemporaryDirectory(prefix="armlet-qnn-") as name:
            folder = Path(name)
            (folder / "region.onnx").write_bytes(qdq_writer.write(Graph(region)))
            command = [sys.executable, str(WORKER), "region.onnx", self.chip[1:], "made"]
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace"
            )
            if done.returncode or not (folder / "made.blob").is_file():
                lines = [line for line in done.stderr.splitlines() if line.strip()]
                raise ToolchainError(
                    f"QNN does not compile a region for {self}: {lines[-1] if lines else '?'}",
                    way_out="compile without --npu, and report this with the model",
                )
            facts = json.loads((folder / "made.json").read_text())
            return pack(region, facts, (folder / "made.blob").read_bytes())


BACK_END = Qnn


def pack(region: Function, facts: dict, binary: bytes) -> bytes:
    """The blob that ``armlet_npu_qnn.c`` reads; all numbers are uint32."""
    graph = facts["graph"].encode() + b"\0"
    graph += bytes(-len(graph) % 8)
    entries: list[int] = []
    for kind, values in (("input", region.params), ("output", region.results)):
        for i, value in enumerate(values):
            shape = value.type.static_shape
            flip = int(value.type.dtype == "int8")
            entries += [facts[f"{kind}s"][f"{kind}_{i}"], flip, value.type.bytes, len(shape)]
            entries += [*shape, *[1] * (4 - len(shape))]
    head = [len(region.params), len(region.results), len(graph), len(binary)]
    return b"AQN1" + np.array([*head, *entries], "<u4").tobytes() + graph + binary


def _macs(call: Call) -> int:
    if call.op.name != "conv2d":
        return 0
    return call.output.type.elements * math.prod(call.operands[1].type.static_shape[1:])
