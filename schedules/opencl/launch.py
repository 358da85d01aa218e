"""How well a launch fills a GPU."""

from __future__ import annotations

from armlet.targets.gpu import Gpu

#: waves of a core that hide what one waits for
WAVES = 6


def busy(gpu: Gpu, items: int) -> float:
    """The share of a GPU's throughput that so many work items can have."""
    waves = items / gpu.wave / gpu.cores
    return min(1.0, max(waves, 0.05) / WAVES) ** 0.7
