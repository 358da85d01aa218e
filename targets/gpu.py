"""Graphics processors by name: ``gpus.toml`` as values.

adreno-660, mali-g610, powervr, generic; mali-g76-mp12 has another number of cores
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from armlet.errors import TargetError

from .cores import tomllib

_FILE = Path(__file__).with_name("gpus.toml")
#: the most texels along a side of an image that every GPU here has
IMAGE_SIDE = 16384


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU; the fields are those of ``gpus.toml``, sizes in bytes."""

    name: str
    title: str
    family: str
    cores: int
    lanes: int
    mhz: int
    gbps: float
    l2_bytes: int
    cache_bytes: int
    wave: int
    registers: int
    local_bytes: int
    work_group: int
    images: bool
    half: bool
    subgroups: bool
    dot: bool
    launch_us: float
    source: str

    def macs_per_ns(self, dtype: str) -> float:
        """Multiply-adds of all cores in a nanosecond."""
        return self.cores * self.lanes * self.mhz / 1e3 * (2 if dtype == "float16" else 1)

    @property
    def fingerprint(self) -> str:
        """What decides a kernel's speed, as text: tuning records serve equal fingerprints only."""
        storage = "images" if self.images else "buffers"
        return f"opencl:{self.family}:{self.name},wave={self.wave},{storage}"

    @property
    def key(self) -> str:
        """Text that differs between GPUs whose kernels differ."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return self.name


_KIB = {"l2": "l2_bytes", "cache": "cache_bytes", "local": "local_bytes"}


def _gpu(name: str, row: dict[str, object]) -> Gpu:
    fields = {_KIB.get(k, k): v << 10 if k in _KIB else v for k, v in row.items()}  # type: ignore[operator]
    return Gpu(name=name, **fields)  # type: ignore[arg-type]


GPUS = {name: _gpu(name, row) for name, row in tomllib.loads(_FILE.read_text()).items()}


def gpu(name: str) -> Gpu:
    """The GPU of a name, as makers write it or as ``gpus.toml`` does.

    ``TargetError`` if there is none.
    """
    plain = re.sub(r"[ _]+", "-", name.strip().lower())
    plain = plain.replace("immortalis-", "mali-")
    base, _, count = re.match(r"(.*?)(-m[pc](\d+))?$", plain).groups()  # type: ignore[union-attr]
    if base not in GPUS:
        close = difflib.get_close_matches(base, GPUS, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"use one of {', '.join(GPUS)}"
        raise TargetError(f"unknown GPU {name!r}", way_out=hint)
    found = GPUS[base]
    return dataclasses.replace(found, name=plain, cores=int(count)) if count else found
