"""The blob of an Ethos-U region: what ``armlet_npu_ethos_u.c`` reads; all numbers are uint32.

    "AEU1", bytes of commands, weights, scratch and fast scratch, inputs, outputs
    of each input, then each output: offset in its memory, which memory, flip, N, C, H, W
    commands and weights, each from the next multiple of 16 on

``flip`` is 128 where the model's bytes are unsigned, 0 where they are signed as the NPU's. Memories
are numbered as Vela does it: 0 weights, 1 scratch, 2 fast scratch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from armlet.compiler.ir import Function, Value

MAGIC = b"AEU1"
ALIGNMENT = 16


def pack(region: Function, made: Mapping[str, np.ndarray]) -> bytes:
    """``made`` are the arrays of Vela's raw format."""
    commands, weights = made["cmd_data"].tobytes(), made["weight_data"].tobytes()
    sizes = [int(made[key].item()) for key in ("scratch_size", "scratch_fast_size")]
    counts = [len(region.params), len(region.results)]
    header = [len(commands), len(weights), *sizes, *counts]
    for kind, values in (("input", region.params), ("output", region.results)):
        for i, value in enumerate(values):
            place = int(made[f"{kind}_offset"][i]), int(made[f"{kind}_region"][i])
            header += [*place, 128 * (value.type.dtype == "uint8"), *_image(value)]
    parts = (MAGIC + np.array(header, "<u4").tobytes(), commands, weights)
    return b"".join(part + bytes(-len(part) % ALIGNMENT) for part in parts)


def _image(value: Value) -> tuple[int, ...]:
    shape = value.type.static_shape
    return shape if len(shape) == 4 else (1, value.type.elements, 1, 1)
