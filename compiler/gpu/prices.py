"""What things on a GPU are expected to take."""

from __future__ import annotations

from armlet.compiler.ir.group import Group
from armlet.targets.gpu import Gpu

#: bytes in a second that go to a GPU's buffers or come from them: copies in one memory
COPY = 4e9
#: seconds of starting a region and waiting for its end
START = 100e-6
#: shares of a GPU's arithmetic and memory that kernels reach, as those of good libraries do
ARITHMETIC, MEMORY = 0.12, 0.6


def seconds(group: Group, gpu: Gpu) -> float:
    """Of a group's launches together: its arithmetic or its bytes, whichever takes longer."""
    arithmetic = group.macs / (gpu.macs_per_ns(group.dtype) * 1e9 * ARITHMETIC)
    moved = sum(v.type.bytes for v in (*group.inputs, group.output))
    return max(arithmetic, moved / (gpu.gbps * 1e9 * MEMORY))
