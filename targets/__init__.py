"""Targets: plain data on the machines that artifacts run on."""

from .cores import CORES, Core
from .devices import DEVICES, Device
from .extensions import EXTENSIONS
from .families import FAMILIES
from .host import cores, cpu_flags, is_native
from .named import NAMED, cores_of, described, of_fingerprint, target, versions_of
from .target import Target

__all__ = [
    "CORES",
    "DEVICES",
    "EXTENSIONS",
    "FAMILIES",
    "NAMED",
    "Core",
    "Device",
    "Target",
    "cores",
    "cores_of",
    "cpu_flags",
    "described",
    "is_native",
    "of_fingerprint",
    "target",
    "versions_of",
]
