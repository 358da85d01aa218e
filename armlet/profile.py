"""Where a model's time goes: every task beside the least time that this machine needs for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from armlet.errors import ArtifactError

if TYPE_CHECKING:
    from armlet.described import Description
    from armlet.model import OpenModel, RegionState
    from armlet.roofline import Machine


@dataclass(frozen=True)
class LayerProfile:
    """A task, or a step inside an accelerator, of which only the time is known.

    Times in seconds, work in multiply-accumulates of the plain algorithm.
    """

    layer: str
    value: str
    operators: str
    template: str
    config: str
    threads: int
    #: what does it: "CPU", or an accelerator as the artifact names it
    device: str
    #: mean of a run, and when it begins in a run
    seconds: float
    start: float
    #: of the whole run
    share: float
    macs: int
    moved_bytes: int
    live_bytes: int
    #: the roofline's least seconds, and what sets them: "compute", "cache" or "memory"; 0 and
    #: "device" for an accelerator
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
        """Seconds beyond the roofline; all, where none is known."""
        return max(0.0, self.seconds - self.bound)

    def as_dict(self) -> dict[str, Any]:
        derived = ("gflops", "gbytes", "efficiency", "loss")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}


def profile(
    model: OpenModel, feeds: Mapping[str, Any] | None, machine: Machine, runs: int = 10
) -> list[LayerProfile]:
    """What a run does, in order; ``feeds`` as ``OpenModel.run`` takes them."""
    tasks, kernels = tasks_of(model), model.manifest["kernels"]
    entries = model.profile(feeds, runs=runs)
    live = {region.first_task: region for region in model.regions if region.live}
    found: list[LayerProfile] = []
    end = 0
    for at, (entry, task) in enumerate(zip(entries, tasks, strict=True)):
        if at in live:
            found += _inside(live[at], task["live_bytes"])
            end = at + live[at].task_count
        if at >= end:
            bound, limit = machine.bound(task["macs"], task["moved_bytes"])
            found.append(
                LayerProfile(
                    entry.source or entry.value, entry.value, task["operators"], entry.template,
                    config_text(kernels[task["kernel"]]), entry.threads, "CPU", entry.seconds,
                    0.0, 0.0, task["macs"], task["moved_bytes"], task["live_bytes"], bound, limit,
                )
            )  # fmt: skip
    return _in_time(found)


def _inside(region: RegionState, live_bytes: int) -> list[LayerProfile]:
    """The steps of a region that an accelerator does, and what it takes beyond them."""
    rest = max(0.0, region.seconds - sum(seconds for _, seconds in region.steps))
    return [
        LayerProfile(
            layer, region.name, "", "", "", 0, region.back_end, seconds, 0.0, 0.0, 0, 0,
            live_bytes, 0.0, "device",
        )
        for layer, seconds in (*region.steps, (f"{region.name}: start and wait", rest))
    ]  # fmt: skip


def _in_time(layers: Sequence[LayerProfile]) -> list[LayerProfile]:
    """With when each begins, and its share of the run."""
    whole = sum(layer.seconds for layer in layers) or 1.0
    starts = accumulate((layer.seconds for layer in layers), initial=0.0)
    return [
        replace(layer, start=start, share=layer.seconds / whole)
        for layer, start in zip(layers, starts)
    ]


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
