"""Families of targets: an operating system on an architecture, and what any such machine has.

A family's figures are a careful guess at the machines it is made for: a core's own, where one
is named, replace them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from .cores import CORES
from .target import Target

_ARCHITECTURES: dict[str, dict[str, Any]] = {
    "x86_64": {"cpu": "x86-64", "attributes": (), "features": (), "vector_registers": 16},
    # any processor of Armv8.0 has these
    "arm64": {
        "cpu": "generic", "attributes": ("+neon",), "features": ("fp", "asimd"),
        "vector_registers": 32, "issue_width": 3, "lane_fma": True,
    },
    # Armv7-A with NEON, which a phone's always has; a multiply-add rounds twice before VFPv4
    "armv7": {
        "cpu": "generic", "attributes": ("+v7", "+neon"), "features": ("neon",),
        "vector_registers": 16, "pointer_bytes": 4, "issue_width": 2,
        "fma_units": 0.5, "load_units": 1,
    },
    # the profile RVA22 with vectors; V alone promises registers of 128 bits
    "riscv64": {
        "cpu": "generic-rv64", "attributes": ("+m", "+a", "+f", "+d", "+c", "+v"),
        "features": ("v",), "vector_registers": 32, "abi": ("mabi", "lp64d"), "issue_width": 2,
        "fma_units": 1, "load_units": 1,
    },
    # WebAssembly with 128-bit vectors: engines have the registers of the x86 below them (16 of 128
    # bits) and no fused multiply-add
    "wasm32": {
        "cpu": "generic", "attributes": ("+simd128", "+bulk-memory"), "features": (),
        "vector_registers": 16, "pointer_bytes": 4,
    },
}  # fmt: skip


def _family(system: str, architecture: str, triple: str, zig_triple: str, **values: Any) -> Target:
    name = f"{system}-{architecture}"
    values = {"name": name, "lanes": 4, **_ARCHITECTURES[architecture], **values}
    return Target(
        system=system,
        architecture=architecture,
        triple=triple,
        zig_triple=zig_triple,
        **values,
    )


def _every_mac(family: Target) -> Target:
    """There is none with less than the first one's processor."""
    return dataclasses.replace(CORES["apple-m1"].on(family), name=family.name)


#: Android 15 loads nothing that is aligned to less than pages of 16 KiB
_ANDROID = {"page_bytes": 16 << 10}
#: the A9 of the oldest that iOS 15 runs on; this and macOS 12 are the first that tell by Arm's
#: names what a processor has
_IPHONE = {"issue_width": 6, "fma_units": 3, "l1_bytes": 64 << 10, "l2_bytes": 3 << 20, "cores": 2}
#: a browser is no part of the name, and has one thread for us
_WEB = {"name": "wasm32", "cores": 1}

FAMILIES: dict[str, Target] = {
    t.name: t
    for t in (
        _family("linux", "x86_64", "x86_64-linux-gnu", "x86_64-linux-gnu.2.17"),
        _family(
            "linux", "arm64", "aarch64-linux-gnu", "aarch64-linux-gnu.2.17", page_bytes=64 << 10
        ),
        _family(
            "linux",
            "armv7",
            "armv7l-linux-gnueabihf",
            "arm-linux-gnueabihf.2.17",
            abi=("mfloat-abi", "hard"),
        ),
        _family("linux", "riscv64", "riscv64-linux-gnu", "riscv64-linux-gnu.2.27"),
        _family(
            "android", "arm64", "aarch64-linux-android", "aarch64-linux-android.21", **_ANDROID
        ),
        # armeabi-v7a passes floats in integer registers: the triple says so
        _family(
            "android", "armv7", "armv7l-linux-androideabi", "arm-linux-androideabi.21", **_ANDROID
        ),
        # what the ABI promises of any processor
        _family(
            "android",
            "x86_64",
            "x86_64-linux-android",
            "x86_64-linux-android.21",
            attributes=("+sse4.2", "+popcnt"),
            features=("sse4_2", "popcnt"),
            **_ANDROID,
        ),
        _every_mac(
            _family("macos", "arm64", "aarch64-apple-macosx12.0.0", "aarch64-macos.12.0-none")
        ),
        _family("ios", "arm64", "aarch64-apple-ios15.0.0", "aarch64-ios.15.0-none", **_IPHONE),
        _family("web", "wasm32", "wasm32-unknown-unknown", "wasm32-freestanding-none", **_WEB),
    )
}
