"""What an artifact says of itself that this process cannot load: WebAssembly, by way of Node."""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armlet import emulator
from armlet.artifact import CompiledModel
from armlet.artifact import open as open_artifact
from armlet.compiler.link import formats, wasm
from armlet.compiler.link.format import FormatError
from armlet.compiler.link.seal import check_seal
from armlet.errors import ArtifactError, ExecutionError
from armlet.model import LayerTime, TensorInfo
from armlet.targets import target


@dataclass(frozen=True)
class Description:
    """What of ``CompiledModel`` tells of the model."""

    path: Path
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    manifest: dict[str, Any]
    tasks: list[LayerTime]


def opened(path: Path) -> contextlib.AbstractContextManager[CompiledModel | Description]:
    """The artifact, or what it says of itself."""
    try:
        data = memoryview(path.read_bytes())
        if formats.of_file(data) is not wasm.FORMAT:
            return open_artifact(path, threads=1)
        check_seal(data)
    except OSError:
        return open_artifact(path, threads=1)
    except FormatError as problem:
        text = f"the file is not an artifact that can be used: {problem}"
        raise ArtifactError(text, where=str(path), way_out="compile it again") from problem
    return contextlib.nullcontext(_described(path))


def _described(path: Path) -> Description:
    # any module is described by an engine that knows all extensions
    node = emulator.find(target("wasm32+relaxed"))
    if node.missing:
        raise ExecutionError(node.missing, where=str(path))
    with tempfile.TemporaryDirectory(prefix="armlet-") as name:
        file = Path(name, "described")
        node.run(["--describe", path, file])
        found = json.loads(file.read_text())
    ends = [
        tuple(TensorInfo(t["name"], t["dtype"], tuple(t["shape"])) for t in found[key])
        for key in ("inputs", "outputs")
    ]
    tasks = [
        LayerTime(t["value"], t["source"], t["template"], t["seconds"], 1, 1)
        for t in found["tasks"]
    ]
    return Description(path, ends[0], ends[1], found["manifest"], tasks)
