"""What is measured: a model of static shapes, its inputs, and the right answer to them.

A subject is named like a model of the zoo, or ``path.onnx[@input=1x2x3][@input=5][@input=x.npy]``:
a shape, the value of a scalar, or shape and data of an input. Other inputs are random.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

import armlet
from armlet.compare import TOLERANCE, Difference, allowances, difference
from armlet.errors import ArmletError, SettingError
from armlet.reference import OnnxRuntime

from . import store
from .process import ROOT
from .zoo import MODELS

#: whole numbers are drawn below it: a token of any vocabulary
TOKENS = 1000


@dataclass(frozen=True)
class Subject:
    name: str
    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def feeds(self) -> Path:
        return self.folder / "feeds.npz"

    @property
    def macs(self) -> int:
        return int(store.facts(self.folder)["macs"])

    def differences(self, answer: Path) -> list[Difference]:
        """How far outputs, saved in the model's order, are from ONNX Runtime's."""
        with np.load(self.folder / "right.npz") as right, np.load(answer) as found:
            return [
                difference(name, right[name], _shaped(found[given], right[name]))
                for name, given in zip(right, found, strict=True)
            ]

    def allowed(self, output: str) -> float:
        """The error that armlet may have there, relative to the range."""
        return float(store.facts(self.folder)[f"allowed {output}"])


def _shaped(found: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Some runtimes drop axes of one element."""
    return found.reshape(right.shape) if found.size == right.size else found


def subject(text: str) -> Subject:
    """The subject of that name, made if the cache lacks it."""
    if text in MODELS:
        sources = sorted((ROOT / "benchmarks" / "zoo").glob("*.py"))
        name, key = text, store.digest([text, *sources])
    else:
        path, *settings = text.split("@")
        if not Path(path).is_file():
            raise SettingError(
                f"there is no model {path!r}", way_out=f"a file, or one of: {', '.join(MODELS)}"
            )
        data = [Path(s.rpartition("=")[2]) for s in settings if s.endswith(".npy")]
        name, key = Path(path).stem, store.digest([text, Path(path), *data])
    found = Subject(name, store.cache() / "subjects" / f"{name}-{key}")
    if not store.finished(found.folder):
        store.fresh(found.folder)
        _make(text, found)
    return found


def _make(text: str, made: Subject) -> None:
    model, values = _model(text)
    onnx.save(model, made.model)
    feeds = _feeds(model, values)
    np.savez(made.feeds, **feeds)  # type: ignore[arg-type]
    reference = OnnxRuntime(made.model)
    right = reference.run(feeds)
    np.savez(made.folder / "right.npz", **right)  # type: ignore[arg-type]
    allowed = allowances(reference, feeds, right, TOLERANCE)
    facts = {f"allowed {name}": value for name, value in allowed.items()}
    store.finish(made.folder, macs=_macs(made.model), **facts)


def _macs(model: Path) -> int:
    """Multiply-accumulates of the operators as the model has them, where armlet knows them."""
    try:
        calls = list(armlet.load(model).main)
    except ArmletError:
        return 0
    return sum(
        c.op.macs([v.type for v in c.operands], [v.type for v in c.outputs])  # type: ignore[attr-defined]
        for c in calls
    )


def _model(text: str) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    if text in MODELS:
        return MODELS[text](), {}
    path, *settings = text.split("@")
    model, values = onnx.load(path), {}
    inputs = {i.name: i.type.tensor_type for i in model.graph.input}
    for setting in settings:
        name, _, value = setting.rpartition("=")
        if name not in inputs:
            raise SettingError(
                f"{path} has no input {name!r}", way_out=f"inputs: {', '.join(inputs)}"
            )
        dtype = onnx.helper.tensor_dtype_to_np_dtype(inputs[name].elem_type)
        if value.endswith(".npy"):
            values[name] = np.load(value).astype(dtype)
        elif "x" not in value:
            values[name] = np.array(int(value), dtype)
        shape = values[name].shape if name in values else [int(n) for n in value.split("x")]
        proto = onnx.helper.make_tensor_type_proto(inputs[name].elem_type, shape)
        inputs[name].CopyFrom(proto.tensor_type)
    return model, values


def _feeds(model: onnx.ModelProto, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    constants = {c.name for c in model.graph.initializer}
    feeds = {}
    for spec in model.graph.input:
        if spec.name in constants:
            continue
        type = spec.type.tensor_type
        shape = [d.dim_value for d in type.shape.dim]
        if not math.prod(shape) and spec.name not in values:
            raise SettingError(
                f"input {spec.name!r} has no fixed shape", way_out=f"@{spec.name}=1x3x224x224"
            )
        dtype = onnx.helper.tensor_dtype_to_np_dtype(type.elem_type)
        if dtype.kind == "f":
            data = rng.uniform(-1, 1, shape).astype(dtype)
        else:
            data = rng.integers(0, 2 if dtype.kind == "b" else TOKENS, shape).astype(dtype)
        feeds[spec.name] = values.get(spec.name, data)
    return feeds
