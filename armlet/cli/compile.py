"""``armlet compile``: a model's file to one shared library, compared with its source."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .options import (
    CheckRange,
    Data,
    DumpPasses,
    HalfTolerance,
    Json,
    Precision,
    Shapes,
    Target,
    bytes_of,
    check_tolerance,
    named,
    read_arrays,
    shapes_of,
)

if TYPE_CHECKING:
    from armlet.verify import Model


def compile(
    model: Annotated[Path, typer.Argument(help="The model's file.", metavar="MODEL")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="M.so", help="Where to write the artifact.")
    ],
    target: Target = "host",
    shape: Shapes = None,
    data: Data = None,
    precision: Precision = "fp32",
    check_range: CheckRange = False,
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
    tolerance: HalfTolerance = None,
    dump_passes: DumpPasses = None,
    json: Json = False,
) -> None:
    """Compiles a model and compares its answers with the source's before writing it."""
    from armlet.compiler.link.publish import check_writable

    shapes = shapes_of(shape)
    tolerance = None if tolerance is None else check_tolerance(tolerance)
    limit = bytes_of("--max-so", max_so) if max_so else None
    arrays = read_arrays(data) if data else None
    check_writable(output)

    from armlet import api

    begun = time.perf_counter()
    with show.working(f"compiling {model.name}") as progress:
        module = api.load(model, shapes)
        inputs = [p.name for p in module.main.params]
        samples = named(arrays, inputs, data) if data and arrays is not None else None
        made = api.compile(
            module, target, data=samples, tolerance=tolerance, progress=progress,
            dump=dump_passes, precision=precision, check_range=check_range,
            multiversion=multiversion, max_bytes=limit, name=output.name,
        )  # fmt: skip
        made.save(output)
    found = summary(made, output, time.perf_counter() - begun)
    if json:
        show.as_json(found)
    else:
        _print(found)


def summary(model: Model, output: Path, seconds: float) -> dict[str, Any]:
    """What there is to say of an artifact just made."""
    manifest = model.manifest
    total = output.stat().st_size
    return {
        "output": str(output),
        "target": manifest["target"],
        "precision": manifest["precision"],
        "float32_layers": manifest["float32_layers"],
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
        "macs": manifest["macs"],
        "verified_by": manifest["verified_by"],
        "not_run": model.not_run,
        "outputs": [
            {"name": d.name, "absolute_error": d.absolute, "relative_error": d.relative}
            for d in model.differences
        ],
    }


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
        ]
    )
    for layer in found["float32_layers"]:
        print(f"note: layer {layer!r} is in float32, as it leaves the range of float16")
    if found["not_run"]:
        print(f"note: not run here, and so not compared with its source: {found['not_run']}")
    for output in found["outputs"]:
        print(
            f"output {output['name']}: largest error {output['absolute_error']:.3g}, "
            f"{output['relative_error']:.2g} of the range, against {found['verified_by']}"
        )


def _versions(versions: list[dict[str, Any]]) -> list[tuple[str, object]]:
    """A line for each better target that kernels have versions for."""
    rows: list[tuple[str, object]] = []
    for name in dict.fromkeys(v["target"] for v in versions):
        mine = [v for v in versions if v["target"] == name]
        size, gain = (sum(v[key] for v in mine) for key in ("code_bytes", "gain"))
        text = f"{len(mine)} kernels, {show.size(size)}, to save {gain:.0%} of the time there"
        rows.append((f"for {name}", text))
    return rows
