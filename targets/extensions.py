"""Extensions of an architecture: what a name's ``+dotprod`` means.

Adding one is adding a row; templates ask ``Target.features`` for what they use.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from armlet.errors import TargetError

from .target import Target


@dataclass(frozen=True)
class Extension:
    text: str
    #: LLVM's, and how the kernel calls what the processor must have
    attributes: tuple[str, ...]
    features: tuple[str, ...]
    #: what else of a target it changes
    changes: dict[str, Any] = field(default_factory=dict)


_FP16 = ("fphp", "asimdhp")
_DOTPROD = ("asimddp",)

EXTENSIONS: dict[str, dict[str, Extension]] = {
    "x86_64": {
        "vnni": Extension("8-bit dot products, 512 bits", ("+avx512vnni",), ("avx512_vnni",)),
        "avxvnni": Extension("8-bit dot products, 256 bits", ("+avxvnni",), ("avx_vnni",)),
    },
    "arm64": {
        "v8.2": Extension(
            "what Armv8.2 adds to 8.0", ("+v8.2a",), ("atomics", "asimdrdm", "dcpop")
        ),
        "dotprod": Extension("8-bit dot products", ("+dotprod",), _DOTPROD),
        "fp16": Extension("arithmetic in float16", ("+fullfp16",), _FP16),
        "fhm": Extension(
            "products of float16 added in float32", ("+fp16fml",), (*_FP16, "asimdfhm")
        ),
        "i8mm": Extension("8-bit matrix products", ("+i8mm",), ("i8mm",)),
        "bf16": Extension("products of bfloat16", ("+bf16",), ("bf16",)),
        "sve2": Extension("vectors of any length", ("+sve2",), ("sve", "sve2")),
    },
    "armv7": {
        "v8.2": Extension("what 32-bit code gains on Armv8.2", ("+v8.2a",), ("vfpv4",)),
        "vfpv4": Extension("multiply-adds that round once", ("+vfp4",), ("vfpv4",)),
        "dotprod": Extension("8-bit dot products", ("+dotprod",), _DOTPROD),
        "fp16": Extension("arithmetic in float16", ("+fullfp16",), _FP16),
    },
    "riscv64": {
        "zvl256b": Extension(
            "vector registers of 256 bits", ("+zvl256b",), ("zvl256b",), {"lanes": 8}
        ),
    },
    "wasm32": {
        "relaxed": Extension(
            "fused multiply-adds where the processor has them",
            ("+relaxed-simd",),
            ("relaxed-simd",),
        ),
    },
}


def extended(target: Target, names: tuple[str, ...]) -> Target:
    """The target with these extensions; one that it has already changes nothing.

    ``TargetError`` for one that its architecture does not know.
    """
    known = EXTENSIONS.get(target.architecture, {})
    for name in names:
        if name not in known:
            raise TargetError(
                f"{target.architecture} has no extension {name!r}",
                way_out=f"use one of {', '.join(known)}" if known else "leave it out",
            )
        extension = known[name]
        if set(extension.features) <= set(target.features):
            continue
        target = dataclasses.replace(
            target,
            name=f"{target.name}+{name}",
            attributes=(*target.attributes, *extension.attributes),
            features=tuple(dict.fromkeys((*target.features, *extension.features))),
            **extension.changes,
        )
    return target
