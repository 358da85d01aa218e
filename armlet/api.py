"""The Python front door: ``check``, ``load``, ``compile``, ``open``."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from armlet import artifact, debug, emulator, frontends, steps
from armlet.artifact import CompiledModel
from armlet.compare import HALF_TOLERANCE, TOLERANCE, absolute, allowances
from armlet.compiler.build import Build, Progress, build, place, require_static
from armlet.compiler.dump import Dump
from armlet.compiler.gpu.back_end import OpenCl
from armlet.compiler.ir import Module
from armlet.compiler.link import formats, selftest
from armlet.compiler.link.linker import link
from armlet.compiler.partition.report import Report as PartitionReport
from armlet.compiler.passes import pipeline
from armlet.compiler.ranges import Half, findings
from armlet.compiler.records import Records, user_file
from armlet.compiler.tune.measure import Meter
from armlet.compiler.tune.ranker import require_xgboost
from armlet.compiler.tune.tasks import tasks_of
from armlet.compiler.tune.tuner import Budget, Job, Tuner, Update
from armlet.compiler.versions import single_versions, trimmed
from armlet.emulated import EmulatedModel
from armlet.errors import (
    InputError,
    ModelShapeError,
    OutputError,
    SettingError,
    SizeError,
    TargetError,
)
from armlet.frontends import Problem, Report, Shapes
from armlet.manifest import manifest
from armlet.quantization import INTEGER, WEIGHTS, Options, quantized_for
from armlet.reference import Arrays, is_quantised, reference_of, starts
from armlet.rpc.device import device
from armlet.rpc.meter import DeviceMeter
from armlet.rpc.registry import Entry, entry
from armlet.targets import Target, cpu_flags, is_native, versions_of
from armlet.targets import target as target_of
from armlet.targets.npu import BackEnd, back_end
from armlet.verify import Model, verify, verify_devices

PathLike = str | os.PathLike[str]

#: what models are computed in; those of integers take data to quantise by
PRECISIONS = ("fp32", "fp16", *INTEGER, *WEIGHTS)


def load(path: PathLike, shapes: Shapes | None = None) -> Module:
    """Reads a trained model.

    ``shapes`` gives inputs, by name, the shape to compile for. Raises ``ModelFileError``,
    ``ModelShapeError``, ``ExternalDataError`` or ``UnsupportedModelError`` (every problem).
    """
    module = frontends.load(path, shapes)
    return dataclasses.replace(module, metadata={**module.metadata, "path": str(path)})


def _quiet(stage: str, done: int, total: int) -> None:
    pass


def check(path: PathLike, shapes: Shapes | None = None) -> Report:
    """What ``compile`` would say of every operator and input; problems are told, not raised."""
    report = frontends.check(path, shapes)
    if not report.supported:
        return report
    module = load(path, shapes)
    try:
        require_static(module)
    except ModelShapeError as error:
        free = next(p.name for p in module.main.params if not p.type.is_static)
        problem = Problem(free, "input", "", error.what, way_out=error.way_out)
        return dataclasses.replace(report, problems=(problem,))
    return report


def _check_data(module: Module, data: Mapping[str, np.ndarray]) -> None:
    types = {p.name: p.type for p in module.main.params}
    for name, array in data.items():
        if name not in types:
            raise InputError(
                f"the model has no input {name!r}", way_out=f"inputs: {', '.join(types)}"
            )
        type = types[name]
        if str(array.dtype) != type.dtype or array.shape != type.shape:
            raise InputError(
                f"the sample of input {name!r} is {array.dtype}{list(array.shape)}, and "
                f"{type.dtype}[{', '.join(map(str, type.shape))}] is expected",
                way_out="convert it, or give the shape that it has (--shape)",
            )


def compile(
    model: Module | PathLike,
    target: str | Target = "host",
    *,
    shapes: Shapes | None = None,
    data: Mapping[str, np.ndarray] | None = None,
    tolerance: float | None = None,
    progress: Progress = _quiet,
    dump: PathLike | None = None,
    records: Records | None = None,
    precision: str = "fp32",
    check_range: bool = False,
    multiversion: bool = False,
    max_bytes: int | None = None,
    npu: Sequence[str | BackEnd] = (),
    require_npu: bool = False,
    gpu: str = "",
    name: str = "",
    quantization: Options | None = None,
) -> Model:
    """Compiles a model and runs it against its source before returning it.

    ``data`` are sample inputs by name for that comparison; inputs that are not given get
    random numbers in [-1, 1). ``tolerance`` is relative to the largest magnitude of each
    output. ``dump`` is a folder for the text of every stage. ``records`` are what tuning found,
    those shipped and the user's own if they are not given. With ``precision`` "fp16" layers are
    computed in float16, but for those that leave its range on the sample inputs, which are a
    ``RangeError`` with ``check_range``; where the target has no such arithmetic, weights are
    stored in float16. With ``multiversion`` the artifact runs on every processor of the
    target's family, with versions of its kernels for better ones; of these what saves least is
    left out for ``max_bytes``, the most that the artifact may take (``SizeError`` if it
    cannot). With "int8" layers are computed in integers where that is faster, and within the
    limit of ``quantization``; with "int8-only" all that can be. Then ``data`` are samples, as
    ``quantization.samples_of`` takes them. "int8-weights" and "int16-weights" keep weights in
    so few bits and calculate in floats. ``npu`` names back ends, such as
    "ethos-u:u55-128", which are asked in this order for the parts of the model that they take;
    the CPU does the rest, and everything where the device is not there. With ``require_npu``
    they must take all, however slow (``PartitionError`` with every reason). ``name`` is the
    file name that the artifact will have, by which Android and macOS look for it: libMODEL.so
    (or .dylib) unless given. Raises what ``load`` raises, ``InputError``, ``TargetError``,
    ``ToolchainError``, and ``VerificationError`` naming the culprit when the answers differ.
    What is compiled for another kind of machine is run by an emulator; ``not_run`` of the
    result says why, where there is none.
    """
    progress = debug.stages(progress)
    chosen = target if isinstance(target, Target) else target_of(target)
    module = model if isinstance(model, Module) else load(model, shapes)
    require_static(module)
    better = versions_of(chosen) if multiversion else []
    report = None
    if precision in (*INTEGER, *WEIGHTS):
        best = (better or [chosen])[-1]
        made_of = quantized_for(module, precision, data, quantization, best, records, progress)
        module, data, report = made_of.module, made_of.data, made_of.report
    _check_data(module, data or {})
    half = _half(module, precision, check_range, data or {})
    if half and not (better or [chosen])[-1].half_storage:
        raise TargetError(
            f"{chosen} neither calculates in float16 nor converts it", way_out="use precision fp32"
        )
    made = build(
        module, chosen, progress, Dump(Path(dump)) if dump else None, records, half, better,
        [*back_ends_of(npu), *_gpu(gpu, module, half)], require_npu,
    )  # fmt: skip
    if not half:
        made = dataclasses.replace(made, precision=precision, quantization=report)
    if tolerance is None:
        tolerance = HALF_TOLERANCE if half else TOLERANCE
    return finish(made, data, tolerance, progress, name, max_bytes)


def back_ends_of(names: Sequence[str | BackEnd]) -> list[BackEnd]:
    """``SettingError`` for a name or chip that is not known."""
    return [b if isinstance(b, BackEnd) else back_end(b) for b in names]


def _gpu(name: str, module: Module, half: Half | None) -> list[BackEnd]:
    """The GPU's back end; in float16 by what the whole model's sample inputs say."""
    if not name:
        return []
    if half is None:
        return [OpenCl(name)]
    found = findings(pipeline.run(module.main), half.samples)
    single, wide = ([v.name for c in calls for v in c.outputs] for calls in (
        [f.call for f in found.out], found.wide,
    ))  # fmt: skip
    return [OpenCl(name, True, single, wide)]


def check_npu(
    path: PathLike,
    npu: Sequence[str | BackEnd],
    target: str | Target = "host",
    shapes: Shapes | None = None,
    gpu: str = "",
) -> PartitionReport:
    """Which back end would do each call of a model, and why; nothing is compiled."""
    chosen = target if isinstance(target, Target) else target_of(target)
    module = load(path, shapes)
    return place(module, [*back_ends_of(npu), *_gpu(gpu, module, None)], chosen)


def _half(
    module: Module, precision: str, strict: bool, data: Mapping[str, np.ndarray]
) -> Half | None:
    if precision not in PRECISIONS:
        known = " or ".join(PRECISIONS)
        raise SettingError(f"precision {precision!r} is unknown", way_out=f"use {known}")
    if precision == "fp16":
        return Half({**selftest.inputs(module.main.params), **data}, strict)
    if strict:
        raise SettingError("there is no range to check in fp32", way_out="add precision fp16")
    return None


def tune(
    model: Module | PathLike,
    target: str | Target | None = None,
    *,
    devices: Sequence[str | Entry] = (),
    shapes: Shapes | None = None,
    trials: int | None = None,
    seconds: float | None = None,
    records: PathLike | None = None,
    executor: Executor | None = None,
    observe: Callable[[Update], None] = lambda update: None,
) -> list[Job]:
    """Measures ways to compute the model's operators; ``compile`` uses what is found.

    It measures on ``devices``, all of one kind, or here if there are none; without a ``target``
    it is the first device's, or this machine's. ``trials`` and ``seconds`` limit the search, which
    else ends when it promises no more. ``records`` is the file to add to, the user's own for the
    target if it is not given. ``executor`` builds kernels: any of ``concurrent.futures``, such as
    a cluster's. ``observe`` is called after every batch. Raises what ``load`` raises,
    ``TargetError`` where kernels of the target cannot run there, a ``DeviceError`` where no device
    can be used any more, and ``MissingPackageError`` without xgboost.
    """
    require_xgboost()
    entries = [d if isinstance(d, Entry) else entry(d) for d in devices]
    chosen = target if isinstance(target, Target) else _target_to_tune(target, entries)
    module = model if isinstance(model, Module) else load(model, shapes)
    output = Path(records) if records is not None else user_file(chosen)
    with _meter(chosen, entries, executor) as meter:
        tuner = Tuner(tasks_of(module, chosen), chosen, meter, output, observe=observe)
        return tuner.run(Budget(trials, seconds))


def _target_to_tune(name: str | None, devices: Sequence[Entry]) -> Target:
    if name is None and devices:
        with device(devices[0]) as first:
            return first.target
    return target_of(name or "host")


def _meter(target: Target, devices: Sequence[Entry], executor: Executor | None) -> Meter:
    if devices:
        return DeviceMeter(target, devices, executor)
    if is_native(target) and cpu_flags().issuperset(target.features):
        return Meter(target, executor)
    raise TargetError(
        f"kernels for {target} cannot be measured on this machine",
        way_out="give a device of that kind (--device; armlet device add), or bring records of "
        "one: armlet tune log merge",
    )


def finish(
    made: Build,
    data: Mapping[str, np.ndarray] | None = None,
    tolerance: float = TOLERANCE,
    progress: Progress = _quiet,
    name: str = "",
    max_bytes: int | None = None,
) -> Model:
    """Links what ``build`` made, opens it and compares it with its source."""
    progress("reference", 0, 1)
    reference = reference_of(made.module)
    state = starts(made.module)
    feeds = {**selftest.inputs(made.plan.inputs), **(data or {}), **state}
    right: Arrays = reference.run(feeds)
    right = {name: right[name] for name in made.module.outputs}
    allowed = allowances(reference, feeds, right, tolerance)
    rounds = is_quantised(made.module)
    if rounds:
        own = steps.check_layers(made, feeds, reference, tolerance)
        allowed = steps.allowances(allowed, right, own)
    # the artifact's own self-test runs on its own inputs, and on accelerators that are there
    loose = max((b.tolerance for b in made.back_ends), default=0.0) if made.plan.regions else 0.0
    on_device = {key: max(value, loose) for key, value in allowed.items()}
    expected = (
        None if data or state else selftest.expect([*right.values()], absolute(on_device, right))
    )
    progress("link", 0, 1)
    opened = linked(made, expected, reference.name, name)
    while max_bytes is not None and (surplus := opened.path.stat().st_size - max_bytes) > 0:
        made = _smaller(made, surplus, max_bytes)
        opened = linked(made, expected, reference.name, name)
    progress("verify", 0, 1)
    if not opened.not_run:
        for single in filter(_runs_here, single_versions(made)):
            verify(single, on_cpu(linked(single)), feeds, right, reference, allowed)
        cpu = on_cpu(opened)
        if rounds:
            steps.check_kernels(made, cpu, feeds, tolerance)
        opened.differences = tuple(verify(made, cpu, feeds, right, reference, allowed))
        if isinstance(opened, CompiledModel) and any(r.live for r in opened.regions):
            opened.differences = verify_devices(opened, feeds, right, on_device)
    progress("verify", 1, 1)
    return opened


def on_cpu(model: Model) -> Model:
    """The same artifact without accelerators; ``model`` must outlive it."""
    if isinstance(model, CompiledModel) and model.regions:
        return artifact.open(model.path, devices="leave", keep=model)
    return model


def _runs_here(made: Build) -> bool:
    """Whether its target's code does, or an emulator runs it."""
    return not is_native(made.target) or cpu_flags().issuperset(made.target.features)


def _smaller(made: Build, surplus: int, limit: int) -> Build:
    plan = trimmed(made.plan, surplus)
    if plan.versions == made.plan.versions:
        sizes = [(formats.of_file(k.object).code_bytes(k.object), k.template) for k in plan.kernels]
        largest = ", ".join(f"{name} {size}" for size, name in sorted(sizes, reverse=True)[:3])
        raise SizeError(
            f"the artifact takes {surplus} bytes more than the {limit} that it may: weights "
            f"{plan.constant_bytes}, kernels {sum(size for size, _ in sizes)} (the "
            f"largest: {largest})",
            way_out="allow more, or compile a smaller model or in precision fp16",
        )
    return dataclasses.replace(made, plan=plan)


def linked(
    made: Build,
    expected: selftest.SelfTest | None = None,
    verified_by: str = "",
    name: str = "",
) -> Model:
    """The artifact of what ``build`` made, opened; it vanishes with the model."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="armlet-")
    except OSError as error:
        raise OutputError(
            f"no temporary folder can be made: {error.strerror or error}",
            way_out="set TMPDIR to a folder that can be written",
        ) from error
    output, target = Path(folder.name) / "model.so", made.target
    native = is_native(target)
    text = manifest(made, verified_by if native or not emulator.find(target).missing else "")
    # elsewhere a program that is linked with the artifact looks for it where it was then
    ending = {"android": ".so", "macos": ".dylib"}.get(target.system)
    soname = (name or f"lib{_stem(made.module)}{ending}") if ending else ""
    link(made.plan, target=target, manifest=text, selftest=expected, output=output, soname=soname)
    if native:
        return artifact.open(output, keep=folder)
    return EmulatedModel(output, made, text, keep=folder)


def _stem(module: Module) -> str:
    return Path(str(module.metadata.get("path") or "model")).stem


def open(path: PathLike, **options: Any) -> CompiledModel:
    """Opens an artifact; see ``artifact.open`` for the options."""
    return artifact.open(path, **options)
