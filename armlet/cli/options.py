"""What several verbs share: option types, and reading shapes and arrays from options."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from armlet.errors import InputError, SettingError, TargetError

if TYPE_CHECKING:
    import numpy as np

    from armlet.compiler.ir import Module
    from armlet.here import Place
    from armlet.model import OpenModel, TensorInfo
    from armlet.targets import Target as CompilerTarget

    Arrays = dict[str, np.ndarray]

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="NAME=1x3x48x320",
        help="Shape of an input to compile for; may be given for several inputs.",
    ),
]
Target = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="What to compile for: 'host', or a name (`armlet targets` lists them)."
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|DIR",
        help="Sample inputs: .npz by name, .npy for a model of one input; of a model to be "
        "quantised many samples, one after the other, or a folder of pictures.",
    ),
]
Scale = Annotated[float, typer.Option(metavar="X", help="Pixels are multiplied by it.")]
Mean = Annotated[
    str, typer.Option(metavar="X,…", help="Then this is subtracted: one or one a channel.")
]
Std = Annotated[str, typer.Option(metavar="X,…", help="Then they are divided by this.")]
Bgr = Annotated[bool, typer.Option("--bgr", help="Channels are blue, green, red.")]
#: of ``Scale``: bytes become numbers from 0 to 1
BYTE = 1 / 255
Method = Annotated[
    str,
    typer.Option(
        metavar="mse|minmax|percentile|entropy",
        help="How ranges of tensors are chosen from what the data hold.",
    ),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="The most that the answers may change by on the data; the worst layers stay in "
        "float32 for it.",
    ),
]
Metric = Annotated[
    str,
    typer.Option(
        metavar="error|top1",
        help="What --max-drop is of: the root mean square error relative to the answers', or the "
        "share of rows whose largest element is another one.",
    ),
]
Equalize = Annotated[
    bool,
    typer.Option(
        "--equalize", help="First give the channels between two convolutions like weights."
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(
        metavar="X", help="Largest error, relative to the largest magnitude of the output."
    ),
]
HalfTolerance = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Largest error, relative to the largest magnitude of the output: 1e-4, or 3e-2 of "
        "fp16, if it is not given.",
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="fp32|fp16|int8|int8-only|int8-weights|int16-weights",
        help="What to calculate in. On CPUs that cannot calculate in fp16, what to store in. int8: "
        "layers that are faster so; int8-only: every layer that can be; with --data. int8-weights, "
        "int16-weights: weights alone, in the file and in memory.",
    ),
]
CheckRange = Annotated[
    bool,
    typer.Option(
        "--check-range",
        help="With fp16: fail where a layer leaves its range on the sample inputs, instead of "
        "computing it in float32.",
    ),
]
DumpPasses = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Write the model after every stage of the compiler to this folder."
    ),
]
Npu = Annotated[
    list[str] | None,
    typer.Option(
        "--npu",
        metavar="NAME[:CHIP]",
        help="An accelerator for what it does sooner than the CPU; may be given for several.",
    ),
]
GpuName = Annotated[
    str,
    typer.Option(
        "--gpu",
        metavar="NAME",
        help="The target's GPU, for what it does sooner than the CPU: adreno-660, mali-g610, …, "
        "or generic.",
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=FILE.npy|random|zeros",
        help="An input; without NAME=, the only one, or (random, zeros) all that are left.",
    ),
]
InputFile = Annotated[
    Path | None, typer.Option("--inputs", metavar="FILE.npz", help="Inputs by name.")
]
Threads = Annotated[int, typer.Option(metavar="N", help="Threads; 0 uses every CPU.", min=0)]
Accelerators = Annotated[
    str,
    typer.Option(
        metavar="use|require|leave",
        help="Use accelerators that the artifact has programs for, fail without them, or leave "
        "them to others.",
    ),
]
DeviceCache = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Keep there what an accelerator's driver compiles, for the next time."
    ),
]
OnDevice = Annotated[
    str,
    typer.Option(
        "--device", metavar="NAME", help="Do it on this device (`armlet device list` lists them)."
    ),
]
FILLERS = ("random", "zeros")


def place_of(device: str) -> contextlib.AbstractContextManager[Place]:
    """The device of this name; this machine for ""."""
    from armlet.here import Here

    if not device:
        return contextlib.nullcontext(Here())
    from armlet.rpc.device import device as connected

    return connected(device)


def target_at(device: str, name: str) -> CompilerTarget:
    """What to compile for: the device's own target, unless another one is named."""
    from armlet.targets import target

    if not device or name != "host":
        return target(name)
    from armlet.rpc.device import device as connected

    with connected(device) as found:
        return found.target


@contextlib.contextmanager
def opened_at(
    device: str,
    artifact: Path,
    threads: int,
    accelerators: str = "use",
    device_cache: Path | None = None,
) -> Iterator[OpenModel]:
    """The artifact, open there; bringing it to a device shows progress."""
    from armlet.here import Here
    from armlet.rpc.device import Device

    from . import show

    with place_of(device) as place, contextlib.ExitStack() as stack:
        if isinstance(place, Device):
            with show.working(f"bringing {artifact.name} to {device}") as progress:
                place.upload(artifact, lambda done, total: progress("bytes", done, total))
        if isinstance(place, Here):
            opened = place.open(
                artifact, threads=threads, devices=accelerators, device_cache=device_cache
            )
            yield stack.enter_context(opened)
            return
        if accelerators != "use" or device_cache:
            raise SettingError(
                "the agent of a device uses accelerators where they are, with a cache of its own",
                way_out="leave out --accelerators and --device-cache, or --device",
            )
        yield stack.enter_context(place.open(artifact, threads=threads))


def placements(model: OpenModel) -> list[dict[str, Any]]:
    """What does each region of an open model, and why, as JSON."""
    keys = ("name", "back_end", "live", "reason", "first_task", "task_count")
    return [{key: getattr(region, key) for key in keys} for region in model.regions]


def print_placements(regions: Iterable[Mapping[str, Any]]) -> None:
    for r in regions:
        where = f"on {r['back_end']}" if r["live"] else f"on the CPU, not on {r['back_end']}"
        print(f"{r['name']}: {where}{': ' if r['reason'] else ''}{r['reason']}")


def run_here(name: str) -> None:
    """``TargetError`` if what is compiled for this target cannot be loaded by this process."""
    from armlet.targets import is_native, target

    if not is_native(target(name)):
        raise TargetError(
            f"code for {name} does not run on this machine",
            way_out=f"armlet compile --target {name}, and use the artifact there",
        )


def shapes_of(texts: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """``["x=1x3x48x320"]`` -> ``{"x": (1, 3, 48, 320)}``."""
    found: dict[str, tuple[int, ...]] = {}
    for text in texts or ():
        # names may hold "=", shapes never do
        name, _, shape = text.rpartition("=")
        try:
            sizes = tuple(int(size) for size in shape.replace(",", "x").split("x"))
        except ValueError:
            sizes = ()
        if not name or not sizes:
            raise SettingError(f"--shape {text!r} is no shape", way_out="--shape NAME=1x3x48x320")
        if name in found:
            raise SettingError(f"--shape is given twice for {name!r}", way_out="give it once")
        found[name] = sizes
    return found


def check_tolerance(tolerance: float) -> float:
    if not 0 <= tolerance < float("inf"):
        raise SettingError(
            f"--tolerance {tolerance} is not possible", way_out="a small number such as 1e-4"
        )
    return tolerance


def bytes_of(option: str, text: str) -> int:
    """``"900k"`` -> 900 * 1024."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgG]?)(?:i?[bB])?", text)
    if not found:
        raise SettingError(f"{option} {text!r} is no size", way_out=f"for example {option} 900k")
    return int(float(found[1]) * 1024 ** " kmg".index(found[2].lower() or " "))


def counts_of(option: str, text: str) -> list[int]:
    """``"1,2"`` -> ``[1, 2]``."""
    parts = text.split(",")
    if not all(p.strip().isdigit() and int(p) > 0 for p in parts):
        raise SettingError(
            f"{option} {text!r} is no list of counts", way_out=f"for example {option} 1,2"
        )
    return [int(p) for p in parts]


def source_of(
    compiled: OpenModel, path: Path, shapes: Mapping[str, Sequence[int]] | None = None
) -> Module:
    """The model that an artifact was compiled from, at the artifact's shapes."""
    from armlet import api
    from armlet.errors import ModelShapeError

    others = f"it is not the model that {compiled.path} was compiled from"
    wanted = {i.name: i.shape for i in compiled.inputs if i.shape} | dict(shapes or {})
    try:
        module = api.load(path, wanted)
    except ModelShapeError as error:
        raise InputError(f"{others}: {error.what}", where=str(path)) from error
    for ours, theirs in (
        ([i.name for i in compiled.inputs], [p.name for p in module.main.params]),
        ([o.name for o in compiled.outputs], list(module.outputs)),
    ):
        if ours != theirs:
            what = f"it has {', '.join(theirs)} instead of {', '.join(ours)}"
            raise InputError(f"{others}: {what}", where=str(path))
    return module


# -- arrays ---------------------------------------------------------------------------------------


def read_arrays(path: Path) -> np.ndarray | Arrays:
    """The array in an .npy file, or those in an .npz file by name."""
    import zipfile

    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else {k: loaded[k] for k in loaded.files}
    except OSError as error:
        reason = error.strerror or "it is no .npy or .npz file"
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, MemoryError) as error:
        reason = f"it is no .npy or .npz file, or a damaged one ({error})"
    raise InputError(
        f"arrays cannot be read: {reason}",
        where=str(path),
        way_out="write it with numpy.save or numpy.savez",
    )


def named(
    arrays: np.ndarray | Mapping[str, np.ndarray], inputs: Sequence[str], path: Path
) -> Arrays:
    """Arrays by name; a lone one belongs to the only input."""
    if isinstance(arrays, dict):
        return arrays
    return {_only(inputs, path): arrays}  # type: ignore[dict-item]


def _only(inputs: Sequence[str], what: object) -> str:
    if len(inputs) != 1:
        raise InputError(
            f"{what} is given without a name, and the model has {len(inputs)} inputs",
            way_out=f"name it, one of {', '.join(inputs)}",
        )
    return inputs[0]


def split(text: str, inputs: Sequence[str]) -> tuple[str, str]:
    """``NAME=VALUE`` -> (name, value), the name of the only input where none is given."""
    for name in inputs:
        if text.startswith(f"{name}="):
            return name, text[len(name) + 1 :]
    name, equals, value = text.partition("=")
    return (name, value) if equals else (_only(inputs, text), text)


def filled(info: TensorInfo, index: int, how: str) -> np.ndarray:
    """An input of random numbers (those of the self-test) or zeros."""
    import numpy as np

    from armlet.compiler.link.selftest import random_array

    if how == "zeros":
        return np.zeros(info.shape, info.dtype)
    return random_array(info.dtype, info.shape, index)


def feeds_of(model: OpenModel, texts: Iterable[str] | None, file: Path | None) -> dict[str, Any]:
    """The inputs that ``--input`` and ``--inputs`` give; what is missing is not their matter."""
    names = [i.name for i in model.inputs]
    given: dict[str, Any] = named(read_arrays(file), names, file) if file else {}
    rest = ""
    for text in texts or ():
        if text in FILLERS:
            rest = text
            continue
        name, value = split(text, names)
        if value in FILLERS and name in names:
            index = names.index(name)
            given[name] = filled(model.inputs[index], index, value)
        else:
            given[name] = _lone(read_arrays(Path(value)), name, value)
    for index, info in enumerate(model.inputs):
        if rest and info.name not in given:
            given[info.name] = filled(info, index, rest)
    return given


def _lone(arrays: np.ndarray | Arrays, name: str, file: str) -> np.ndarray:
    if not isinstance(arrays, dict):
        return arrays
    if name not in arrays:
        raise InputError(
            f"there is no array {name!r} in it",
            where=file,
            way_out=f"it has {', '.join(arrays) or 'none'}",
        )
    return arrays[name]
