"""What a back end is: the contract between the compiler and an accelerator's tools.

A model always has a plan for the CPU. The partitioner asks a back end of every call whether it
takes it (``query``, ``patterns``), joins what is taken to *regions* (convex sets of calls), and
keeps those that the back end promises (``estimate``) to run faster than the CPU would. ``compile``
makes a *blob* of each, which the artifact holds. At run time a shim in C, an ``armlet_npu_api``
(``runtime/include/armlet_npu.h``), brings the blob to the device; where it cannot, the CPU runs
its own copy of the region.

A region's function is canonical IR: tensors are plain and row-major ([N, C, H, W]), constants are
operands, and quantised arithmetic is in integers where ``passes/integer_arithmetic.py`` knows how.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from armlet.compiler.ir import Call, Function
from armlet.errors import SettingError


@dataclass(frozen=True)
class Supported:
    """The back end takes the call."""


@dataclass(frozen=True)
class Rejected:
    """It does not; the reason is a part of a sentence: "a kernel of 9x9, and 8x8 is the most"."""

    reason: str


@dataclass(frozen=True)
class Estimate:
    """Seconds of one run of a region on the device."""

    #: from the CPU's memory to the device and back
    transfer: float
    #: starting it, and waiting for its end
    launch: float
    work: float

    @property
    def seconds(self) -> float:
        return self.transfer + self.launch + self.work

    def __str__(self) -> str:
        parts = (self.work, self.transfer, self.launch)
        return "{:.3g} ms of work, {:.3g} of transfers, {:.3g} to start".format(
            *(1e3 * p for p in parts)
        )


class BackEnd(ABC):
    """One kind of accelerator. Everything but ``compile`` is quick, and none needs the device."""

    #: chips that can be named after the colon, the first one being the default
    chips: ClassVar[tuple[str, ...]] = ("",)
    #: as reports and the artifact call it
    name: ClassVar[str]
    #: the ``armlet_npu_api`` of its shim, and the C files that define it
    api: ClassVar[str]
    shim: ClassVar[tuple[Path, ...]]
    #: multiply-adds below which a region is not worth a step
    least_macs: ClassVar[int] = 0
    #: how far results may be from the CPU's, relative to the largest magnitude of an output
    tolerance: ClassVar[float] = 1e-4

    def __init__(self, chip: str = "") -> None:
        """``SettingError`` for a chip that is not known."""
        self.chip = chip or self.chips[0]
        if self.chip not in self.chips:
            raise SettingError(
                f"back end {self.name} has no chip {chip!r}",
                way_out=f"chips: {', '.join(self.chips)}",
            )

    def __str__(self) -> str:
        return f"{self.name}:{self.chip}" if self.chip else self.name

    @property
    @abstractmethod
    def version(self) -> str:
        """Of whatever decides on a blob's bytes: the back end's code and the vendor's tools."""

    def missing(self) -> str:
        """What ``compile`` lacks here, and the way out: "X is missing: pip install x"; or ""."""
        return ""

    @abstractmethod
    def query(self, call: Call) -> Supported | Rejected:
        """Whether the device does this call, by its operator, types and constants."""

    def patterns(self, function: Function) -> Iterator[tuple[Call, ...]]:
        """Calls that are taken together or not at all, though ``query`` may reject each of them."""
        return iter(())

    @abstractmethod
    def estimate(self, region: Function) -> Estimate:
        """What one run of the region takes on the device."""

    @abstractmethod
    def compile(self, region: Function) -> bytes:
        """The blob: the same bytes for the same region and ``version``.

        ``MissingPackageError`` without the vendor's tools, ``ToolchainError`` if they fail.
        """


def boundary_bytes(region: Function) -> int:
    """Bytes of what goes into a region and comes out of it."""
    return sum(v.type.bytes for v in (*region.params, *region.results))
