"""The source model's own answer: by its framework's runtime where installed, else by NumPy.

``values`` beside the outputs are the tensors inside the model, by the framework's names.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from armlet.compiler.ir import Module
from armlet.compiler.ops.interpreter import evaluate
from armlet.errors import ExecutionError, MissingPackageError

Arrays = dict[str, np.ndarray]


class Reference(Protocol):
    """Something that runs the source model."""

    #: who answers, for reports
    name: str

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """The outputs by name."""

    def values(self, feeds: Mapping[str, np.ndarray], names: Iterable[str]) -> Arrays:
        """Those of the named inner tensors that the model has."""


class Runtime:
    """A framework's own runtime on the model's file: a reference, and a peer to measure."""

    name: str
    #: the format that it reads, the package that it is, and armlet's extra that installs it
    format: ClassVar[str]
    package: ClassVar[str]
    extra: ClassVar[str]

    def __init__(self, path: Path, threads: int = 0) -> None:
        self.path, self.threads = path, threads

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        raise NotImplementedError

    def values(self, feeds: Mapping[str, np.ndarray], names: Iterable[str]) -> Arrays:
        raise NotImplementedError

    def bound(self, feeds: Mapping[str, np.ndarray]) -> Callable[[], Any]:
        """One run whose inputs lie there already, as armlet's are bound."""
        raise NotImplementedError

    def cannot(self, what: str, error: Exception) -> ExecutionError:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        way_out = f"uninstall {self.package} to verify against armlet's own evaluation"
        return ExecutionError(
            f"{self.name} cannot {what} the model: {lines[0]}",
            where=str(self.path),
            way_out=way_out if what == "open" else "",
        )


class OnnxRuntime(Runtime):
    """ONNX Runtime on the model's file.

    ``literal``: as the file says, without its optimiser. Its integer kernels saturate sums of two
    products on x86 without VNNI, so that a quantised model's answer would be another one;
    and it rounds what is multiplied by weights that alone are quantised.
    """

    name = "ONNX Runtime"
    format, package, extra = "onnx", "onnxruntime", "verify"

    def __init__(self, path: Path, threads: int = 0, literal: bool = False) -> None:
        super().__init__(path, threads)
        self.literal = literal
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
            raise self.cannot("open", error) from error

    def _run(self, session: Any, feeds: Mapping[str, np.ndarray]) -> Arrays:
        known = {i.name for i in session.get_inputs()}
        names = [o.name for o in session.get_outputs()]
        try:
            outputs = session.run(names, {k: v for k, v in feeds.items() if k in known})
        except Exception as error:
            raise self.cannot("run", error) from error
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

    def bound(self, feeds: Mapping[str, np.ndarray]) -> Callable[[], Any]:
        binding = self.session.io_binding()
        known = {i.name for i in self.session.get_inputs()}
        for name, data in feeds.items():
            if name in known:
                binding.bind_cpu_input(name, np.ascontiguousarray(data))
        for output in self.session.get_outputs():
            binding.bind_output(output.name)
        return lambda: self.session.run_with_iobinding(binding)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is written to the standard error: LiteRT tells there of delegates, unasked."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class LiteRT(Runtime):
    """LiteRT on the model's file; variables are zero at the start of every run.

    ``literal``: by its reference kernels, which define what a quantised model computes. Its other
    kernels round otherwise, and not the same on every machine.
    """

    name = "LiteRT"
    format, package, extra = "tflite", "ai_edge_litert", "litert"

    def __init__(
        self,
        path: Path,
        threads: int = 0,
        literal: bool = False,
        kept: Mapping[str, str] | None = None,
    ) -> None:
        """``kept``: outputs that are the next values of variables -> tensors of the model's."""
        from armlet.frontends.tflite import reader

        super().__init__(path, threads)
        self.literal, self.kept = literal, kept or {}
        model = reader.read(path)
        self.inputs, self.outputs = model.input_names(), model.output_names()
        self.interpreter = self._open()

    def _open(self, inside: bool = False) -> Any:
        """``inside``: its inner tensors can be read, which a delegate does not keep."""
        from ai_edge_litert.interpreter import Interpreter as Interpreted
        from ai_edge_litert.interpreter import OpResolverType

        options: dict[str, Any] = {"experimental_preserve_all_tensors": inside}
        if self.literal:
            options["experimental_op_resolver_type"] = OpResolverType.BUILTIN_REF
        elif inside:
            own = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            options["experimental_op_resolver_type"] = own
        try:
            with _quiet():
                return Interpreted(str(self.path), num_threads=self.threads or None, **options)
        except (ValueError, RuntimeError) as error:
            raise self.cannot("open", error) from error

    def _fed(self, interpreter: Any, feeds: Mapping[str, np.ndarray]) -> None:
        try:
            details = interpreter.get_input_details()
            for name, each in zip(self.inputs, details):
                if tuple(each["shape"]) != feeds[name].shape:
                    interpreter.resize_tensor_input(each["index"], feeds[name].shape)
            with _quiet():
                interpreter.allocate_tensors()
            for name, each in zip(self.inputs, details):
                interpreter.set_tensor(each["index"], np.ascontiguousarray(feeds[name]))
        except (ValueError, RuntimeError) as error:
            raise self.cannot("run", error) from error

    def _invoke(self, interpreter: Any, feeds: Mapping[str, np.ndarray]) -> Arrays:
        self._fed(interpreter, feeds)
        try:
            interpreter.reset_all_variables()
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise self.cannot("run", error) from error
        found = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
        return dict(zip(self.outputs, found))

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        if not self.kept:
            return self._invoke(self.interpreter, feeds)
        # an interpreter of its own: variables have in it what they start with
        found = self.values(feeds, self.kept.values())
        return {**found, **{name: found[tensor] for name, tensor in self.kept.items()}}

    def values(self, feeds: Mapping[str, np.ndarray], names: Iterable[str]) -> Arrays:
        interpreter = self._open(inside=True)
        try:
            found, wanted = self._invoke(interpreter, feeds), set(names)
        except ExecutionError:  # some operators are known to the delegate alone
            return self._invoke(self.interpreter, feeds)
        for details in interpreter.get_tensor_details():
            if details["name"] in wanted and details["name"] not in found:
                try:
                    found[details["name"]] = interpreter.get_tensor(details["index"])
                except ValueError:  # it lies in another graph, or was never made
                    continue
        return found

    def bound(self, feeds: Mapping[str, np.ndarray]) -> Callable[[], Any]:
        self._fed(self.interpreter, feeds)
        return self.interpreter.invoke  # type: ignore[no-any-return]


_ALL: list[type[OnnxRuntime] | type[LiteRT]] = [OnnxRuntime, LiteRT]
#: format -> who runs its models
RUNTIMES = {runtime.format: runtime for runtime in _ALL}


def is_installed(runtime: type[Runtime]) -> bool:
    return importlib.util.find_spec(runtime.package) is not None


def require(runtime: type[Runtime]) -> None:
    """``MissingPackageError`` where the runtime is not installed."""
    if not is_installed(runtime):
        raise MissingPackageError(
            f"comparing needs {runtime.name}",
            way_out=f"python -m pip install 'armlet[{runtime.extra}]'",
        )


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


#: operators that round to few integers
_ROUNDING = ("quantize", "requantize_fixed", "multiply_fixed", "multiply_wide", "lookup")


def is_quantised(module: Module) -> bool:
    """Whether the model rounds tensors to few integers."""
    return any(call.op.name in _ROUNDING for call in module.main)


def reference_of(module: Module, threads: int = 0) -> Reference:
    """Whoever can answer for the model that ``module`` was loaded from."""
    path = module.metadata.get("path")
    runtime = RUNTIMES.get(str(module.metadata.get("format")))
    if not path or runtime is None or not is_installed(runtime):
        return Interpreter(module)
    literal = is_quantised(module) or any(c.op.name == "dequantize" for c in module.main)
    if runtime is OnnxRuntime:
        return OnnxRuntime(Path(path), threads, literal)
    variables = module.metadata.get("variables", {}).values()
    return LiteRT(Path(path), threads, literal, {v.output: v.tensor for v in variables})


def starts(module: Module) -> Arrays:
    """What the inputs that stand for variables start with; only so can the source be run."""
    return {name: v.start for name, v in module.metadata.get("variables", {}).items()}
