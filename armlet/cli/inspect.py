"""``armlet inspect``: what is in an artifact, or in a model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .options import DumpPasses, Json, Shapes, Target, shapes_of

if TYPE_CHECKING:
    from armlet.artifact import CompiledModel
    from armlet.compiler.ir import Function
    from armlet.described import Description


def inspect(
    path: Annotated[Path, typer.Argument(help="An artifact or a model.", metavar="FILE")],
    shape: Shapes = None,
    target: Target = "host",
    graph: Annotated[bool, typer.Option("--graph", help="Print a model as text.")] = False,
    dump_passes: DumpPasses = None,
    json: Json = False,
) -> None:
    """Shows what is in an artifact (sizes, kernels, memory) or in a model (operators, MACs)."""
    shapes = shapes_of(shape)

    from .bench import is_artifact

    if is_artifact(path):
        found = _artifact(path)
        show.as_json(found) if json else _print_artifact(found)
        return
    from armlet import api

    module = api.load(path, shapes)
    if dump_passes:
        from armlet.compiler.build import prepare
        from armlet.compiler.dump import Dump
        from armlet.targets import target as target_of

        prepare(module, target_of(target), dump=Dump(dump_passes))
    if graph and not json:
        from armlet.compiler.ir import print_function

        print(print_function(module.main), end="")
        return
    found = _model(path, module.main, module.outputs)
    if json and graph:
        from armlet.compiler.ir import print_function

        found["graph"] = print_function(module.main)
    show.as_json(found) if json else _print_model(found)


# -- a model --------------------------------------------------------------------------------------


def _macs(function: Function) -> int | None:
    """Multiply-accumulates of a run; None where they depend on free dimensions."""
    try:
        return sum(
            c.op.macs([v.type for v in c.operands], [v.type for v in c.outputs])  # type: ignore[attr-defined]
            for c in function
        )
    except ValueError:
        return None


def _model(path: Path, function: Function, outputs: tuple[str, ...]) -> dict[str, Any]:
    constants = function.constants
    return {
        "kind": "model",
        "path": str(path),
        "inputs": {p.name: str(p.type) for p in function.params},
        "outputs": {n: str(v.type) for n, v in zip(outputs, function.results)},
        "parameters": sum(c.data.size for c in constants),
        "parameter_bytes": sum(c.data.nbytes for c in constants),
        "macs": _macs(function),
        "operators": dict(Counter(c.op.name for c in function).most_common()),
    }


def _print_model(found: dict[str, Any]) -> None:
    macs = "depend on free dimensions" if found["macs"] is None else show.number(found["macs"])
    show.pairs(
        [
            *((f"input {n}", t) for n, t in found["inputs"].items()),
            *((f"output {n}", t) for n, t in found["outputs"].items()),
            (
                "parameters",
                f"{show.number(found['parameters'])}, {show.size(found['parameter_bytes'])}",
            ),
            ("MACs", macs),
        ]
    )
    show.table(["operator", ">count"], found["operators"].items())


# -- an artifact ----------------------------------------------------------------------------------


def _sizes(path: Path) -> dict[str, int]:
    """Bytes of the file by what they are for."""
    from armlet.compiler.link import formats

    data = memoryview(path.read_bytes())
    found = dict.fromkeys(("code", "tables", "weights"), 0)
    found |= {what: e.size for what, e in formats.of_file(data).parts(data).items()}
    return {"file": len(data), **found, "rest": len(data) - sum(found.values())}


def _kernels(model: CompiledModel | Description) -> list[dict[str, Any]]:
    """Every kernel with what runs it, the largest first."""
    facts = model.manifest["kernels"]
    from armlet.profile import tasks_of

    kernels = [{**k, "tasks": 0, "weight_bytes": 0, "layers": []} for k in facts]
    for task, values in zip(model.tasks, tasks_of(model), strict=True):
        kernel = kernels[values["kernel"]]
        kernel["operators"] = values["operators"]
        kernel["tasks"] += 1
        kernel["weight_bytes"] += values["weight_bytes"]
        kernel["layers"].append(task.source or task.value)
    return sorted(kernels, key=lambda k: -k["code_bytes"])


def _artifact(path: Path) -> dict[str, Any]:
    from armlet.described import opened
    from armlet.profile import tasks_of

    with opened(path) as model:
        tasks, kernels = tasks_of(model), model.manifest["kernels"]
        layers = [
            {
                "layer": t.source,
                "value": t.value,
                "template": t.template,
                "config": kernels[facts["kernel"]]["config"],
                "recorded": kernels[facts["kernel"]]["recorded"],
                **facts,
            }
            for t, facts in zip(model.tasks, tasks, strict=True)
        ]
        manifest = {k: v for k, v in model.manifest.items() if not k.startswith("task_")}
        return {
            "kind": "artifact",
            "path": str(path),
            "inputs": {i.name: {"dtype": i.dtype, "shape": list(i.shape)} for i in model.inputs},
            "outputs": {o.name: {"dtype": o.dtype, "shape": list(o.shape)} for o in model.outputs},
            "bytes": _sizes(path),
            **manifest,
            "kernels": _kernels(model),
            "layers": layers,
        }


def _print_artifact(found: dict[str, Any]) -> None:
    from armlet.profile import config_text

    source, sizes = found["source"], found["bytes"]
    tensors = [
        (f"{kind} {name}", f"{t['dtype']} {show.shape(t['shape'])}")
        for kind in ("input", "output")
        for name, t in found[f"{kind}s"].items()
    ]
    opsets = ", ".join(f"{domain} {version}" for domain, version in source["opset"].items())
    lower = found["arena_lower_bound"]
    over = f" ({found['arena_bytes'] / lower:.3f} of it)" if lower else ""
    show.pairs(
        [
            *tensors,
            ("made by", f"armlet {found['armlet']} from {source['file'] or 'memory'}"),
            (
                "source",
                f"{source['format']}, {opsets or 'no opset'}, sha256 {source['sha256'][:16]}",
            ),
            ("target", f"{found['target']}: {' '.join(found['features']) or 'any CPU'}"),
            ("verified by", found["verified_by"] or "nobody"),
            ("parameters", show.number(found["parameters"])),
            ("MACs", show.number(found["macs"])),
            ("file", ", ".join(f"{show.size(n)} {what}" for what, n in sizes.items())),
            ("arena", f"{show.size(found['arena_bytes'])}, lower bound {show.size(lower)}{over}"),
        ]
    )
    show.table(
        [">code", ">weights", ">tasks", "template", "config", "operators", "layers"],
        [
            (
                show.size(k["code_bytes"]),
                show.size(k["weight_bytes"]),
                k["tasks"],
                k["template"],
                config_text(k),
                k.get("operators", ""),
                ", ".join(k["layers"][:3]) + (", …" if len(k["layers"]) > 3 else ""),
            )
            for k in found["kernels"]
        ],
        title=f"{len(found['kernels'])} kernels for {found['tasks']} tasks",
    )
