"""Targets: plain data on the machines that artifacts run on."""

from .host import cores, cpu_flags, is_native
from .named import NAMED, of_fingerprint, target
from .target import Target

__all__ = ["NAMED", "Target", "cores", "cpu_flags", "is_native", "of_fingerprint", "target"]
