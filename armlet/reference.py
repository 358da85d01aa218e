"""The source model's own answer: by ONNX Runtime where it is installed, else by NumPy.

``values`` beside the outputs are the tensors inside the model, by the framework's names.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from armlet.compiler.ir import Module
from armlet.compiler.ops.interpreter import evaluate
from armlet.errors import ExecutionError

Arrays = dict[str, np.ndarray]


class Reference(Protocol):
    """Something that runs the source model."""

    #: who answers, for reports
    name: str

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """The outputs by name."""

    def values(self, feeds: Mapping[str, np.ndarray], names: Iterable[str]) -> Arrays:
        """Those of the named inner tensors that the model has."""


class OnnxRuntime:
    """ONNX Runtime on the model's file.

    ``literal``: as the file says, without its optimiser. Its integer kernels saturate sums of two
    products on x86 without VNNI, so that a quantised model's answer would be another one.
    """

    name = "ONNX Runtime"

    def __init__(self, path: Path, threads: int = 0, literal: bool = False) -> None:
        self.path, self.threads, self.literal = path, threads, literal
        self.session = self._open(path)

    def _open(self, model: Any) -> Any:
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 4
        if self.literal:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        source = model if isinstance(model, bytes) else str(model)
        try:
            return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common base but this
            raise ExecutionError(
                f"ONNX Runtime cannot open the model: {str(error).splitlines()[0]}",
                where=str(self.path),
                way_out="uninstall onnxruntime to verify against armlet's own evaluation",
            ) from error

    def _run(self, session: Any, feeds: Mapping[str, np.ndarray]) -> Arrays:
        known = {i.name for i in session.get_inputs()}
        names = [o.name for o in session.get_outputs()]
        try:
            outputs = session.run(names, {k: v for k, v in feeds.items() if k in known})
        except Exception as error:
            raise ExecutionError(
                f"ONNX Runtime cannot run the model: {str(error).splitlines()[0]}",
                where=str(self.path),
            ) from error
        return dict(zip(names, outputs))

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        return self._run(self.session, feeds)

    def values(self, feeds: Mapping[str, np.ndarray], names: Iterable[str]) -> Arrays:
        import onnx

        model = onnx.load(str(self.path))
        made = {name for node in model.graph.node for name in node.output if name}
        outputs = {o.name for o in model.graph.output}
        wanted = [n for n in dict.fromkeys(names) if n in made and n not in outputs]
        model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in wanted)
        return self._run(self._open(model.SerializeToString()), feeds)


class Interpreter:
    """The NumPy meaning of the imported module's operators."""

    name = "NumPy"

    def __init__(self, module: Module) -> None:
        self.module = module

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        return dict(zip(self.module.outputs, evaluate(self.module.main, feeds)))

    def values(self, feeds: Mapping[str, np.ndarray], names: Iterable[str]) -> Arrays:
        wanted, found = set(names), Arrays()

        def observe(var: Any, data: np.ndarray) -> None:
            if var.name in wanted:
                found[var.name] = data

        evaluate(self.module.main, feeds, observe)
        return found


def is_quantised(module: Module) -> bool:
    """Whether the model rounds tensors to few integers."""
    return any(call.op.name == "quantize" for call in module.main)


def reference_of(module: Module, threads: int = 0) -> Reference:
    """Whoever can answer for the model that ``module`` was loaded from."""
    path = module.metadata.get("path")
    has_runtime = importlib.util.find_spec("onnxruntime") is not None
    if path and module.metadata.get("format") == "onnx" and has_runtime:
        return OnnxRuntime(Path(path), threads, is_quantised(module))
    return Interpreter(module)
