"""``armlet run``: an artifact on inputs from files, pictures or numbers made up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from armlet.errors import SettingError

from . import show
from .options import (
    BYTE,
    Accelerators,
    Bgr,
    DeviceCache,
    InputFile,
    Inputs,
    Json,
    Mean,
    OnDevice,
    Scale,
    Std,
    Threads,
    feeds_of,
    opened_at,
    placements,
    print_placements,
)

if TYPE_CHECKING:
    import numpy as np

#: suffixes of --output
_WRITTEN = (".npz", ".npy")


def run(
    artifact: Annotated[Path, typer.Argument(help="The compiled model.", metavar="M.so")],
    input: Inputs = None,
    inputs: InputFile = None,
    image: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="A picture as input, resized to the input's shape."),
    ] = None,
    scale: Scale = BYTE,
    mean: Mean = "0",
    std: Std = "1",
    bgr: Bgr = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.npz|.npy", help="Where to write the outputs."),
    ] = None,
    threads: Threads = 0,
    check_finite: Annotated[
        bool,
        typer.Option(
            "--check-finite",
            help="Fail if an output has NaN or infinities, and name the layer where they begin.",
        ),
    ] = False,
    top: Annotated[
        int, typer.Option(metavar="K", help="Largest elements shown of a vector.", min=0)
    ] = 5,
    accelerators: Accelerators = "use",
    device_cache: DeviceCache = None,
    device: OnDevice = "",
    json: Json = False,
) -> None:
    """Runs a compiled model and shows its outputs."""
    if output:
        _check_output(output)

    from armlet.finite import run_finite

    from .image import Pixels, picture

    pixels = Pixels(scale, mean, std, bgr)
    with opened_at(device, artifact, threads, accelerators, device_cache) as model:
        feeds = feeds_of(model, input, inputs)
        for text in image or ():
            name, array = picture(text, model.inputs, pixels)
            feeds[name] = array
        results = run_finite(model, feeds) if check_finite else model.run(feeds)
        regions = placements(model)
    if output:
        _write(results, output)
    described = [_describe(name, array, top) for name, array in results.items()]
    if json:
        show.as_json({"artifact": str(artifact), "regions": regions, "outputs": described})
    else:
        _print(described)
        print_placements(regions)


def _check_output(output: Path) -> None:
    from armlet.compiler.link.publish import check_writable

    if output.suffix not in _WRITTEN:
        raise SettingError(
            f"outputs cannot be written as {output.name!r}", way_out="end it with .npz or .npy"
        )
    check_writable(output)


def _write(results: dict[str, np.ndarray], output: Path) -> None:
    import zipfile

    import numpy as np

    from armlet.compiler.link.publish import writing

    if output.suffix == ".npy" and len(results) != 1:
        raise SettingError(
            f"{output} holds one array, and there are {len(results)} outputs", way_out="use .npz"
        )
    with writing(output) as file:
        if output.suffix == ".npy":
            (only,) = results.values()
            np.lib.format.write_array(file, only)
            return
        # not numpy.savez, which cannot store some names
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in results.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array)


def _describe(name: str, array: np.ndarray, top: int) -> dict[str, Any]:
    import numpy as np

    found: dict[str, Any] = {"name": name, "dtype": str(array.dtype), "shape": list(array.shape)}
    if array.size:
        values = array.astype(np.float64)
        found |= {"min": values.min(), "max": values.max(), "mean": values.mean()}
        found = {k: float(v) if isinstance(v, np.floating) else v for k, v in found.items()}
        found["nan"] = int(np.isnan(values).sum())
    if array.ndim and 1 < array.size == array.shape[-1]:
        flat = array.reshape(-1)
        order = np.argsort(-flat.astype(np.float64), kind="stable")[:top]
        found["top"] = [[int(i), flat[i].item()] for i in order]
    return found


def _print(described: list[dict[str, Any]]) -> None:
    columns = ("min", "max", "mean")
    show.table(
        ["output", "dtype", "shape", *(f">{c}" for c in columns), ">NaN"],
        [
            [d["name"], d["dtype"], show.shape(d["shape"])]
            + [f"{d[c]:.6g}" if c in d else "" for c in columns]
            + [d.get("nan", 0)]
            for d in described
        ],
    )
    for d in described:
        if d.get("top"):
            show.table(["index", f">{d['name']}"], [(i, f"{v:.6g}") for i, v in d["top"]])
