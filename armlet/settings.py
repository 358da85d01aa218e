"""Every ``ARMLET_*`` environment variable, declared once.

``docs/reference/settings.md`` is generated from this table (``armlet doctor --settings``
prints it). Like ``errors``, this module imports nothing of ours but errors.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from armlet.errors import SettingError

T = TypeVar("T")


def _count(text: str) -> int:
    if not text.strip().isdecimal():
        raise ValueError("it must be a whole number from 0")
    return int(text)


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "armlet"


def _default_records() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "armlet" / "records"


def _default_devices() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "armlet" / "devices.toml"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Setting(Generic[T]):
    """An environment variable: read when asked, so that tests and programs may change it."""

    name: str
    parse: Callable[[str], T]
    default: Callable[[], T]
    #: the default as the documentation says it
    default_text: str
    help: str

    @property
    def value(self) -> T:
        text = os.environ.get(self.name, "")
        if not text:
            return self.default()
        try:
            return self.parse(text)
        except ValueError as error:
            raise SettingError(
                f"{self.name}={text!r} is not possible: {error}",
                way_out=f"unset it, or see: {self.help}",
            ) from None


CACHE = Setting(
    "ARMLET_CACHE", Path, _default_cache, "~/.cache/armlet",
    "folder of compiled kernels and runtime objects; may be deleted at any time",
)  # fmt: skip
JOBS = Setting(
    "ARMLET_JOBS", _count, _cores, "number of cores",
    "processes that compile kernels at the same time",
)  # fmt: skip
DEBUG = Setting(
    "ARMLET_DEBUG", _count, lambda: 0, "0",
    "1: stages and their time, 2: groups and templates, 3: IR after each pass, "
    "4: tracebacks of errors",
)  # fmt: skip

RECORDS = Setting(
    "ARMLET_RECORDS", Path, _default_records, "~/.local/share/armlet/records",
    "folder of tuning records, one file a target: what `armlet tune` found",
)  # fmt: skip
DEVICES = Setting(
    "ARMLET_DEVICES", Path, _default_devices, "~/.config/armlet/devices.toml",
    "file of devices: what `armlet device add` was told",
)  # fmt: skip

ALL: tuple[Setting, ...] = (CACHE, RECORDS, DEVICES, JOBS, DEBUG)
