"""``armlet compile``: a model's file to one shared library, compared with its source."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from armlet.errors import SettingError

from . import show
from .options import (
    BYTE,
    Bgr,
    CheckRange,
    Data,
    DumpPasses,
    Equalize,
    GpuName,
    HalfTolerance,
    Json,
    MaxDrop,
    Mean,
    Method,
    Metric,
    Npu,
    Precision,
    Scale,
    Shapes,
    Std,
    bytes_of,
    check_tolerance,
    shapes_of,
)
from .quantize import facts, layers

if TYPE_CHECKING:
    from armlet.targets import Target
    from armlet.verify import Model

Targets = Annotated[
    str,
    typer.Option(
        "--target",
        metavar="NAME,…",
        help="What to compile for: 'host', or names (`armlet targets` lists them) and commas.",
    ),
]
Package = Annotated[
    str | None,
    typer.Option(metavar="aar", help="Write an archive for Android projects, with Java classes."),
]


def compile(
    model: Annotated[Path, typer.Argument(help="The model's file.", metavar="MODEL")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="M.so", help="Where to write the artifact.")
    ],
    target: Targets = "host",
    device: Annotated[
        str, typer.Option(metavar="NAME", help="Compile for this device's own target.")
    ] = "",
    package: Package = None,
    shape: Shapes = None,
    data: Data = None,
    precision: Precision = "fp32",
    check_range: CheckRange = False,
    method: Method = "mse",
    max_drop: MaxDrop = None,
    metric: Metric = "error",
    equalize: Equalize = False,
    scale: Scale = BYTE,
    mean: Mean = "0",
    std: Std = "1",
    bgr: Bgr = False,
    multiversion: Annotated[
        bool,
        typer.Option(
            "--multiversion",
            help="Run on every processor of a family, with versions of kernels for better ones.",
        ),
    ] = False,
    max_so: Annotated[
        str,
        typer.Option(
            metavar="BYTES",
            help="The most that the artifact may take, such as 900k: versions are left out to fit.",
        ),
    ] = "",
    npu: Npu = None,
    gpu: GpuName = "",
    require_npu: Annotated[
        bool,
        typer.Option(
            "--require-npu",
            help="Have it do all, however slow; fail, with all reasons, if it cannot.",
        ),
    ] = False,
    tolerance: HalfTolerance = None,
    dump_passes: DumpPasses = None,
    json: Json = False,
) -> None:
    """Compiles a model and compares its answers with the source's before writing it.

    The artifacts for several targets are called like the output, each in a folder beside it that
    is called like the target. Nothing is written unless all are right.
    """
    shapes = shapes_of(shape)
    tolerance = None if tolerance is None else check_tolerance(tolerance)
    limit = bytes_of("--max-so", max_so) if max_so else None
    places = _places(_names(target, device), output, package)

    from armlet import aar, api
    from armlet.quantization import Options

    from .image import Pixels
    from .samples import read_data

    options = Options(method, metric, max_drop, equalize)
    models, found = {}, []
    with show.working(f"compiling {model.name}") as progress:
        module = api.load(model, shapes)
        samples = read_data(data, module, Pixels(scale, mean, std, bgr)) if data else None
        for chosen, place in places.items():
            begun = time.perf_counter()
            dump = dump_passes / chosen.name if dump_passes and len(places) > 1 else dump_passes
            made = models[chosen] = api.compile(
                module, chosen, data=samples, tolerance=tolerance, progress=progress, dump=dump,
                precision=precision, check_range=check_range, multiversion=multiversion,
                max_bytes=limit, npu=npu or (), require_npu=require_npu,
                gpu=gpu, name=place.name,
                quantization=options,
            )  # fmt: skip
            found.append(summary(made, place, time.perf_counter() - begun))
        if package:
            classes = aar.write(models, output)
        else:
            _save(models, places)
    if package:
        _show_package(found, output, classes, json)
    else:
        _show(found, json)


def _names(target: str, device: str) -> str:
    if not device:
        return target
    if target != "host":
        raise SettingError("a device is compiled for by its own target", way_out="without --target")
    from armlet.rpc.device import device as connected

    with connected(device) as found:
        return str(found.target)


def _places(text: str, output: Path, package: str | None) -> dict[Target, Path]:
    """Each target's artifact, on disk or in the archive."""
    from armlet import aar
    from armlet.compiler.link.publish import check_writable
    from armlet.targets import target

    targets = dict.fromkeys(target(name) for name in text.split(","))
    check_writable(output)
    if package not in (None, "aar"):
        raise SettingError(f"--package {package} is unknown", way_out="use --package aar")
    if package:
        return {t: Path("jni", aar.abi_of(t), aar.library_name(output)) for t in targets}
    if len(targets) == 1:
        return dict.fromkeys(targets, output)
    return {t: output.parent / t.name / output.name for t in targets}


def _save(models: Mapping[Target, Model], places: Mapping[Target, Path]) -> None:
    for target, model in models.items():
        if len(places) > 1:
            places[target].parent.mkdir(exist_ok=True)
        model.save(places[target])


def summary(model: Model, output: Path, seconds: float) -> dict[str, Any]:
    """What there is to say of an artifact just made."""
    manifest = model.manifest
    total = model.path.stat().st_size
    return {
        "output": str(output),
        "target": manifest["target"],
        "precision": manifest["precision"],
        "float32_layers": manifest["float32_layers"],
        "quantization": manifest["quantization"],
        "seconds": round(seconds, 3),
        "bytes": total,
        "weight_bytes": manifest["constant_bytes"],
        "code_bytes": total - manifest["constant_bytes"],
        "arena_bytes": manifest["arena_bytes"],
        "kernels": len(manifest["kernels"]),
        "kernel_bytes": sum(k["code_bytes"] for k in manifest["kernels"]),
        "versions": [
            {key: v[key] for key in ("target", "kernel", "template", "code_bytes", "gain")}
            for v in manifest["versions"]
        ],
        "tasks": manifest["tasks"],
        "regions": [
            {**r, "live": s.live, "reason": s.reason}
            for r, s in zip(manifest["regions"], model.regions)
        ],
        "macs": manifest["macs"],
        "verified_by": manifest["verified_by"],
        "not_run": model.not_run,
        "outputs": [
            {"name": d.name, "absolute_error": d.absolute, "relative_error": d.relative}
            for d in model.differences
        ],
    }


def _show(found: list[dict[str, Any]], json: bool) -> None:
    if json:
        show.as_json(found[0] if len(found) == 1 else {"artifacts": found})
        return
    for one in found:
        _print(one)


def _show_package(found: list[dict[str, Any]], output: Path, classes: bool, json: bool) -> None:
    total = output.stat().st_size
    if json:
        facts = {"output": str(output), "bytes": total, "classes": classes}
        show.as_json({**facts, "artifacts": found})
        return
    _show(found, json)
    print(f"archived in {output}, {show.size(total)}")
    if not classes:
        print("note: it has no classes.jar, as there is no Java compiler (javac) here")


def _print(found: dict[str, Any]) -> None:
    whole, code, weights = (show.size(found[k]) for k in ("bytes", "code_bytes", "weight_bytes"))
    show.pairs(
        [
            ("wrote", f"{found['output']} for {found['target']} in {found['seconds']:.1f} s"),
            ("size", f"{whole}: {code} of code and tables, {weights} of weights"),
            ("arena", show.size(found["arena_bytes"])),
            ("kernels", f"{found['kernels']} for {found['tasks']} tasks"),
            ("MACs", show.number(found["macs"])),
            *_versions(found["versions"]),
            *_regions(found["regions"]),
            *(facts(found["quantization"]) if found["quantization"] else []),
        ]
    )
    for layer in found["float32_layers"]:
        print(f"note: layer {layer!r} is in float32, as it leaves the range of float16")
    if found["quantization"]:
        layers(found["quantization"])
    if found["not_run"]:
        print(f"note: not run here, and so not compared with its source: {found['not_run']}")
    for output in found["outputs"]:
        print(
            f"output {output['name']}: largest error {output['absolute_error']:.3g}, "
            f"{output['relative_error']:.2g} of the range, against {found['verified_by']}"
        )


def _regions(regions: list[dict[str, Any]]) -> list[tuple[str, object]]:
    """A line for each part that an accelerator may do."""
    return [
        (f"on {r['back_end']}", f"{r['name']}, {r['task_count']} tasks of the CPU's, program of "
         f"{show.size(r['program_bytes'])}" + ("" if r["live"] else f"; not here: {r['reason']}"))
        for r in regions
    ]  # fmt: skip


def _versions(versions: list[dict[str, Any]]) -> list[tuple[str, object]]:
    """A line for each better target that kernels have versions for."""
    rows: list[tuple[str, object]] = []
    for name in dict.fromkeys(v["target"] for v in versions):
        mine = [v for v in versions if v["target"] == name]
        size, gain = (sum(v[key] for v in mine) for key in ("code_bytes", "gain"))
        text = f"{len(mine)} kernels, {show.size(size)}, to save {gain:.0%} of the time there"
        rows.append((f"for {name}", text))
    return rows
