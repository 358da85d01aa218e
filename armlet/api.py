"""The Python front door: ``load``, ``compile``, ``open``."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import armlet
from armlet import artifact, frontends
from armlet.artifact import CompiledModel
from armlet.compare import TOLERANCE, absolute, allowances
from armlet.compiler.build import Build, Progress, build
from armlet.compiler.ir import Module
from armlet.compiler.link import selftest
from armlet.compiler.link.linker import link
from armlet.errors import InputError
from armlet.frontends import Shapes
from armlet.reference import Arrays, reference_of
from armlet.targets import Target
from armlet.targets import target as target_of
from armlet.verify import verify

PathLike = str | os.PathLike[str]


def load(path: PathLike, shapes: Shapes | None = None) -> Module:
    """Reads a trained model.

    ``shapes`` gives inputs, by name, the shape to compile for. Raises ``ModelFileError``,
    ``ModelShapeError``, ``ExternalDataError`` or ``UnsupportedModelError`` (every problem).
    """
    module = frontends.load(path, shapes)
    return dataclasses.replace(module, metadata={**module.metadata, "path": str(path)})


def _quiet(stage: str, done: int, total: int) -> None:
    pass


def _manifest(made: Build, verified_by: str) -> dict[str, Any]:
    module, plan = made.module, made.plan
    source = Path(module.metadata["path"]) if "path" in module.metadata else None
    return {
        "armlet": armlet.__version__,
        "target": made.target.name,
        "features": list(made.target.features),
        "source": {
            "file": source.name if source else "",
            "sha256": hashlib.sha256(source.read_bytes()).hexdigest() if source else "",
            "format": module.metadata.get("format", ""),
            "opset": dict(module.metadata.get("opset", {})),
        },
        "macs": sum(g.macs for g in made.groups),
        "arena_bytes": plan.arena_bytes,
        "arena_lower_bound": plan.arena_lower_bound,
        "constant_bytes": plan.constant_bytes,
        "kernels": len(plan.kernels),
        "tasks": len(plan.tasks),
        "verified_by": verified_by,
    }


def _feeds(
    module: Module, data: Mapping[str, np.ndarray] | None, made: Build
) -> dict[str, np.ndarray]:
    """The self-test's inputs, with ``data`` in place of those that it names."""
    feeds = selftest.inputs(made.plan.inputs)
    for name, array in (data or {}).items():
        if name not in feeds:
            raise InputError(
                f"the model has no input {name!r}", way_out=f"inputs: {', '.join(feeds)}"
            )
        feeds[name] = array
    return feeds


def compile(
    model: Module | PathLike,
    target: str | Target = "host",
    *,
    shapes: Shapes | None = None,
    data: Mapping[str, np.ndarray] | None = None,
    tolerance: float = TOLERANCE,
    progress: Progress = _quiet,
) -> CompiledModel:
    """Compiles a model and runs it against its source before returning it.

    ``data`` are sample inputs by name for that comparison; inputs that are not given get
    random numbers in [-1, 1). ``tolerance`` is relative to the largest magnitude of each
    output. Raises what ``load`` raises, ``TargetError``, ``ToolchainError``, and
    ``VerificationError`` naming the culprit when the answers differ.
    """
    module = model if isinstance(model, Module) else load(model, shapes)
    chosen = target if isinstance(target, Target) else target_of(target)
    made = build(module, chosen, progress)
    return finish(made, data, tolerance, progress)


def finish(
    made: Build,
    data: Mapping[str, np.ndarray] | None = None,
    tolerance: float = TOLERANCE,
    progress: Progress = _quiet,
) -> CompiledModel:
    """Links what ``build`` made, opens it and compares it with its source."""
    progress("reference", 0, 1)
    reference = reference_of(made.module)
    feeds = _feeds(made.module, data, made)
    right: Arrays = reference.run(feeds)
    right = {name: right[name] for name in made.module.outputs}
    allowed = allowances(reference, feeds, right, tolerance)
    # the artifact's own self-test runs on its own inputs
    expected = None if data else selftest.expect([*right.values()], absolute(allowed, right))
    progress("link", 0, 1)
    folder = tempfile.TemporaryDirectory(prefix="armlet-")
    output = Path(folder.name) / "model.so"
    manifest = _manifest(made, reference.name)
    link(made.plan, target=made.target, manifest=manifest, selftest=expected, output=output)
    opened = artifact.open(output, keep=folder)
    progress("verify", 0, 1)
    verify(made, opened, feeds, right, reference, allowed)
    progress("verify", 1, 1)
    return opened


def open(path: PathLike, **options: Any) -> CompiledModel:
    """Opens an artifact; see ``artifact.open`` for the options."""
    return artifact.open(path, **options)
