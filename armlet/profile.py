"""Where a model's time goes: every task beside the least time that this machine needs for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from armlet.errors import ArtifactError

if TYPE_CHECKING:
    from armlet.described import Description
    from armlet.model import OpenModel
    from armlet.roofline import Machine


@dataclass(frozen=True)
class LayerProfile:
    """One task. Times in seconds, work in multiply-accumulates of the plain algorithm."""

    layer: str
    value: str
    operators: str
    template: str
    config: str
    threads: int
    #: mean of a run, and when it begins in a run
    seconds: float
    start: float
    #: of the whole run
    share: float
    macs: int
    moved_bytes: int
    live_bytes: int
    #: the roofline's least seconds, and what sets them: "compute", "cache" or "memory"
    bound: float
    limit: str

    @property
    def gflops(self) -> float:
        return 2 * self.macs / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def gbytes(self) -> float:
        """GB/s of inputs and output, each moved once."""
        return self.moved_bytes / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def efficiency(self) -> float:
        """Share of the roofline; above one where an algorithm saves arithmetic (Winograd)."""
        return self.bound / self.seconds if self.seconds else 0.0

    @property
    def loss(self) -> float:
        """Seconds beyond the roofline."""
        return max(0.0, self.seconds - self.bound)

    def as_dict(self) -> dict[str, Any]:
        derived = ("gflops", "gbytes", "efficiency", "loss")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}


def profile(
    model: OpenModel, feeds: Mapping[str, Any] | None, machine: Machine, runs: int = 10
) -> list[LayerProfile]:
    """Every task in order of execution; ``feeds`` as ``OpenModel.run`` takes them."""
    tasks, kernels = tasks_of(model), model.manifest["kernels"]
    entries = model.profile(feeds, runs=runs)
    whole = sum(e.seconds for e in entries) or 1.0
    found, start = [], 0.0
    for entry, task in zip(entries, tasks, strict=True):
        bound, limit = machine.bound(task["macs"], task["moved_bytes"])
        found.append(
            LayerProfile(
                entry.source or entry.value, entry.value, task["operators"], entry.template,
                config_text(kernels[task["kernel"]]), entry.threads, entry.seconds, start,
                entry.seconds / whole, task["macs"], task["moved_bytes"], task["live_bytes"],
                bound, limit,
            )
        )  # fmt: skip
        start += entry.seconds
    return found


def tasks_of(model: OpenModel | Description) -> list[dict[str, Any]]:
    """What the manifest says of every task, by the names in ``armlet/manifest.py``."""
    manifest = model.manifest
    columns = manifest.get("task_columns", [])
    if "live_bytes" not in columns:
        raise ArtifactError(
            "its manifest is not this version's", where=str(model.path), way_out="compile it again"
        )
    return [dict(zip(columns, row, strict=True)) for row in manifest["task_rows"]]


def config_text(kernel: Mapping[str, Any]) -> str:
    """The knobs of a kernel, as the manifest has them."""
    knobs = " ".join(f"{knob}={value}" for knob, value in kernel["config"].items())
    return f"{knobs} (tuned)" if kernel["recorded"] else knobs
