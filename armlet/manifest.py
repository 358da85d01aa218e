"""What an artifact says of itself: JSON that ``armlet_manifest`` returns.

Names of layers and templates are not repeated here: tasks are in the order of the profile's
entries.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import armlet
from armlet.compiler.build import Build
from armlet.compiler.ir import Const
from armlet.compiler.ir.group import Group
from armlet.compiler.link import formats


def manifest(made: Build, verified_by: str) -> dict[str, Any]:
    """``verified_by`` names whoever gave the answers that the artifact was compared with."""
    plan = made.plan
    return {
        "armlet": armlet.__version__,
        "target": made.target.name,
        "features": list(made.target.features),
        "precision": made.precision,
        "float32_layers": made.single,
        "quantization": made.quantization.as_dict() if made.quantization else None,
        "source": _source(made),
        "macs": sum(g.macs for g in made.groups),
        "parameters": sum(c.data.size for c in made.module.main.constants),
        "arena_bytes": plan.arena_bytes,
        "arena_lower_bound": plan.arena_lower_bound,
        "constant_bytes": plan.constant_bytes,
        "kernels": [
            {
                "template": k.template,
                "config": dict(k.config),
                "recorded": k.recorded,
                "code_bytes": formats.of_file(k.object).code_bytes(k.object),
                "scratch_bytes": k.scratch,
            }
            for k in plan.kernels
        ],
        "versions": [
            {
                "kernel": v.kernel,
                "target": v.target,
                "features": list(v.features),
                "template": v.better.template,
                "code_bytes": formats.of_file(v.better.object).code_bytes(v.better.object),
                "gain": round(v.gain, 4),
            }
            for v in plan.versions
        ],
        "regions": [
            {
                "back_end": r.program.back_end,
                "name": r.program.name,
                "first_task": r.first_task,
                "task_count": r.task_count,
                "program_bytes": len(r.program.blob),
            }
            for r in plan.regions
        ],
        "tasks": len(plan.tasks),
        "task_columns": list(TASK_COLUMNS),
        "task_rows": [
            [task.kernel, g.macs, _weight_bytes(g), _moved_bytes(g), live, g.op_names]
            for task, g, live in zip(plan.tasks, made.groups, plan.live_bytes, strict=True)
        ],
        "verified_by": verified_by,
    }


#: ``moved_bytes`` are those of the inputs and the output, ``live_bytes`` the arena's that matter
TASK_COLUMNS = ("kernel", "macs", "weight_bytes", "moved_bytes", "live_bytes", "operators")


def _moved_bytes(group: Group) -> int:
    return sum(v.type.bytes for v in (*group.inputs, group.output))


def _weight_bytes(group: Group) -> int:
    return sum(v.data.nbytes for v in group.inputs if isinstance(v, Const))


def _source(made: Build) -> dict[str, Any]:
    metadata = made.module.metadata
    found = metadata.get("path") or metadata.get("source")
    path = Path(found) if found else None
    return {
        "file": path.name if path else "",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest() if path else "",
        "format": metadata.get("format", ""),
        "opset": dict(metadata.get("opset", {})),
    }
