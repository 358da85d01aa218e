"""Arm Ethos-U55, U65 and U85, through Vela, Arm's open-source compiler (package ``ethos-u-vela``).

Regions are layers of bytes. They become an int8 TFLite file, Vela makes a command stream of it, and
``blob.py`` packs that for the shim. Compiled by the vendor's tool, not executed: there is no
simulator of an Ethos-U in any package. Numbers are checked on the TFLite file instead, which LiteRT
interprets (``tests/targets/test_ethos_u.py``).
"""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.util
import io
import math
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from armlet.compiler.ir import Function
from armlet.errors import MissingPackageError, ToolchainError

from .. import tflite_writer
from ..base import Estimate, boundary_bytes
from ..int8 import Graph, Int8BackEnd, Layer
from .blob import pack

#: seconds of a byte that the CPU turns on its way to the NPU's memory or back, and of a start
BYTE, LAUNCH = 1e-9, 50e-6
#: a step of fewer multiply-adds is not worth its start on any of the chips
LEAST_MACS = 200_000
#: ``vela --supported-ops-report`` of version 5.2 has these limits of strides and of the sum of a
#: channel's absolute weights; windows are kept well below its limit of pooling, the only one it has
MOST_STRIDE, MOST_WEIGHT, MOST_HEIGHT, MOST_TAPS = 3, 8323072, 64, 64 * 64


class EthosU(Int8BackEnd):
    name = "ethos-u"
    chips = (
        "u55-128", "u55-32", "u55-64", "u55-256", "u65-256", "u65-512",
        "u85-128", "u85-256", "u85-512", "u85-1024", "u85-2048",
    )  # fmt: skip
    api = "armlet_npu_ethos_u"
    shim = (Path(__file__).parent / "armlet_npu_ethos_u.c",)
    least_macs = LEAST_MACS
    #: one step of a byte in each layer, which a deep network amplifies
    tolerance = 0.1

    @property
    def version(self) -> str:
        return f"1, vela {importlib.metadata.version('ethos-u-vela')}"

    def missing(self) -> str:
        if importlib.util.find_spec("ethosu") is None:
            return "Arm's compiler is missing: pip install ethos-u-vela"
        return ""

    def refuses(self, layer: Layer) -> str:
        op: Any = layer.anchor.op
        if reason := tflite_writer.refused(layer):
            return reason
        if any(v.type.static_shape[:1] != (1,) for v in (*layer.inputs, layer.output)):
            return "it has a batch of more than one"
        if layer.weights is not None or layer.kind == "max_pool2d":
            kernel = op.kernel if layer.weights is None else layer.weights.shape[2:]
            reach = [(k - 1) * d + 1 for k, d in zip(kernel, op.dilations)]
            if max(op.strides) > MOST_STRIDE:
                return f"it has strides {op.strides}, and {MOST_STRIDE} is the most"
            if reach[0] > MOST_HEIGHT or math.prod(reach) > MOST_TAPS:
                return f"it has a window of {reach[0]}x{reach[1]}"
        if layer.weights is not None:
            weight = np.abs(layer.weights.astype(np.int64)).reshape(len(layer.weights), -1).sum(1)
            if weight.max() > MOST_WEIGHT:
                return f"its weights sum up to {weight.max()}, and {MOST_WEIGHT} is the most"
        return ""

    def estimate(self, region: Function) -> Estimate:
        """By Vela's model of the chip and its memory."""
        summary = _vela(tflite_writer.write(Graph(region)), self.chip)[1]
        work = float(summary["inference_time"])
        return Estimate(BYTE * boundary_bytes(region), LAUNCH, work)

    def compile(self, region: Function) -> bytes:
        return pack(region, _vela(tflite_writer.write(Graph(region)), self.chip)[0])


BACK_END = EthosU


@lru_cache(maxsize=16)
def _vela(model: bytes, chip: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What Vela makes of a TFLite file: the arrays of its raw format, and its summary."""
    if importlib.util.find_spec("ethosu") is None:
        raise MissingPackageError(
            "Arm's compiler for Ethos-U is not installed", way_out="pip install ethos-u-vela"
        )
    with tempfile.TemporaryDirectory(prefix="armlet-vela-") as name:
        folder = Path(name)
        (folder / "region.tflite").write_bytes(model)
        program = "from ethosu.vela.vela import main; import sys; sys.exit(main())"
        command = [sys.executable, "-c", program, "region.tflite", "--output-format", "raw"]
        command += ["--accelerator-config", f"ethos-{chip}", "--output-dir", "out"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
        made = folder / "out" / "region_vela.npz"
        if done.returncode or not made.is_file() or "CPU operators = 0 " not in done.stdout:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            reason = lines[-1] if lines else "no reason"
            raise ToolchainError(
                f"Vela does not compile a region for {chip}: {reason}",
                way_out="compile without --npu, and report this with the model",
            )
        with np.load(made, allow_pickle=True) as arrays:
            found = {key: arrays[key] for key in arrays.files if "quantization" not in key}
        (summary,) = (folder / "out").glob("*_summary_*.csv")
        (row,) = csv.DictReader(io.StringIO(summary.read_text()))
    return found, row
