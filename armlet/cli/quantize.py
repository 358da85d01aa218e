"""``armlet quantize``: a float model and data to an ONNX file with integers where they do."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from armlet.errors import SettingError

from . import show
from .options import (
    BYTE,
    Bgr,
    Data,
    Equalize,
    Json,
    MaxDrop,
    Mean,
    Method,
    Metric,
    Scale,
    Shapes,
    Std,
    shapes_of,
)


def quantize(
    model: Annotated[Path, typer.Argument(help="The ONNX model's file.", metavar="MODEL")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="Q.onnx", help="Where to write it.")
    ],
    data: Data = None,
    shape: Shapes = None,
    precision: Annotated[
        str,
        typer.Option(
            metavar="int8|int8-weights|int16-weights",
            help="Layers by data, or weights alone without.",
        ),
    ] = "int8",
    target: Annotated[
        str,
        typer.Option(metavar="NAME", help="Leave layers in float32 that it computes faster so."),
    ] = "",
    method: Method = "mse",
    max_drop: MaxDrop = None,
    metric: Metric = "error",
    equalize: Equalize = False,
    scale: Scale = BYTE,
    mean: Mean = "0",
    std: Std = "1",
    bgr: Bgr = False,
    json: Json = False,
) -> None:
    """Quantises a float model after training: int8 layers, with scales from the data.

    Writes ONNX with QuantizeLinear and DequantizeLinear, for armlet and any other tool.
    """
    from armlet import api, quantization
    from armlet.compiler.link.publish import check_writable
    from armlet.quantization import Options

    from .image import Pixels
    from .samples import read_data

    options = Options(method, metric, max_drop, equalize)
    _check(precision, data)
    check_writable(output)
    with show.working(f"quantising {model.name}") as progress:
        module = api.load(model, shapes_of(shape))
        if data is None:
            count = quantization.round_weights(module, output, precision)
            _show(model, output, {"rounded_layers": count}, json)
            return
        samples = read_data(data, module, Pixels(scale, mean, std, bgr))
        made = quantization.quantize(
            module, output, samples, target=target or None, options=options, progress=progress
        )
    _show(model, output, made.report.as_dict(), json)


def _check(precision: str, data: Path | None) -> None:
    from armlet.quantization import WEIGHTS

    if precision not in ("int8", *WEIGHTS):
        known = ", ".join(("int8", *WEIGHTS))
        raise SettingError(f"precision {precision!r} is unknown", way_out=f"use one of {known}")
    if (data is None) != (precision in WEIGHTS):
        what = "needs data" if data is None else "takes no data"
        way_out = "--data FILE.npz or a folder of pictures for int8, and nothing for weights alone"
        raise SettingError(f"precision {precision} {what}", way_out=way_out)


def _show(model: Path, output: Path, report: dict[str, Any], json: bool) -> None:
    sizes = model.stat().st_size, output.stat().st_size
    if json:
        show.as_json({"output": str(output), "bytes": sizes[1], **report})
        return
    whole = f"{show.size(sizes[1])}, {sizes[1] / sizes[0]:.0%} of {model.name}"
    lines: list[tuple[str, object]] = [("wrote", str(output)), ("size", whole)]
    if "layers" not in report:
        show.pairs([*lines, ("layers", f"weights of {report['rounded_layers']}")])
        return
    show.pairs([*lines, *facts(report)])
    layers(report)


def facts(report: dict[str, Any]) -> list[tuple[str, object]]:
    """Lines on a quantised model as a whole."""
    kind = {"error": "root mean square error", "top1": "share of rows that change"}
    limit = "" if report["max_drop"] is None else f", at most {report['max_drop']:g} allowed"
    found = (
        f"{report['drop']:.3g} ({kind[report['metric']]} over {report['samples']} samples{limit})"
    )
    culprits = [r for r in _worst_first(report) if r["why"] == "inaccurate"]
    named = ", ".join(f"{r['layer']} ({_decibels(r)})" for r in culprits)
    return [
        ("layers", f"{report['integer_layers']} of {len(report['layers'])} in int8"),
        ("drop", found),
        *[("culprits", named)] * bool(culprits),
    ]


def layers(report: dict[str, Any]) -> None:
    """A table of all layers, the worst ones first."""
    show.table(
        ["layer", "operator", "in", ">SQNR", ">cosine", ">range use", "why"],
        [
            (r["layer"], r["operator"], r["precision"], _decibels(r), f"{r['cosine']:.5f}",
             f"{r['range_use']:.0%}", r["reason"])
            for r in _worst_first(report)
        ],
    )  # fmt: skip


def _worst_first(report: dict[str, Any]) -> list[dict[str, Any]]:
    exact = math.inf
    return sorted(report["layers"], key=lambda r: exact if r["sqnr"] is None else r["sqnr"])


def _decibels(layer: dict[str, Any]) -> str:
    return "exact" if layer["sqnr"] is None else f"{layer['sqnr']:.1f} dB"
