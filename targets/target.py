"""A target: what the compiler must know of a machine, as plain data.

A family (``families.py``) is an operating system on an architecture; a core (``cores.toml``), a
device (``devices.toml``) or an extension (``extensions.py``) makes one more special. Nothing
elsewhere asks for a CPU by name.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

#: what /proc/cpuinfo calls arithmetic on vectors of float16
HALF_FEATURE = "asimdhp"
#: and instructions that convert them, where not every processor of an architecture has them
HALF_CONVERSIONS = frozenset({"f16c", HALF_FEATURE})


@dataclass(frozen=True)
class Target:
    """One kind of processor under one operating system."""

    name: str
    #: linux, android, macos, ios or web
    system: str
    #: as in the names of families: x86_64, arm64, armv7, riscv64, wasm32
    architecture: str
    #: LLVM's triple, processor and attributes
    triple: str
    cpu: str
    attributes: tuple[str, ...]
    #: the C toolchain's triple, with the oldest libc that artifacts must run on
    zig_triple: str
    #: what the processor must have at run time, by the names of /proc/cpuinfo
    features: tuple[str, ...]
    #: float32 lanes of a vector register (``computing`` gives those of other dtypes)
    lanes: int
    vector_registers: int
    #: TVM's option and LLVM's name of the calling convention, where the triple does not say it
    abi: tuple[str, str] | None = None
    pointer_bytes: int = 8
    #: of the largest pages that the system maps libraries in
    page_bytes: int = 4 << 10
    #: instructions that a core starts in a cycle
    issue_width: int = 5
    #: whether they start in the order of the code, each waiting for those before it
    in_order: bool = False
    #: of a core that starts them in order: what it starts together with a 128-bit multiply-add,
    #: beside integer instructions (``schedules/cpu/inorder/pipeline.py`` has the kinds)
    pairs: tuple[str, ...] = ()
    #: fused multiply-adds that start each cycle, and cycles until the next may add to its result
    fma_units: float = 2
    fma_latency: int = 4
    #: vector loads each cycle
    load_units: float = 2
    #: whether one instruction may multiply a vector by a scalar in memory
    broadcasts_from_memory: bool = False
    #: whether one instruction may multiply a vector by one lane of another, so that a vector
    #: of scalars is loaded at once
    lane_fma: bool = False
    #: bytes of what ``lanes`` counts
    element_bytes: int = 4
    l1_bytes: int = 32 << 10
    l2_bytes: int = 256 << 10
    #: of a further cache, where what L2 does not hold is found again as fast as in a copy
    l3_bytes: int = 0
    #: those that a model may share, which are the big ones of a phone
    cores: int = 4
    #: work of one core that is worth a thread: sharing a call costs a barrier, which takes about
    #: half of this (``benchmarks/executor_overhead.py``), and lines that other caches hold
    sharing_cycles: int = 4000

    @property
    def half_arithmetic(self) -> bool:
        """Whether vectors of float16 are calculated with, and not only stored."""
        return HALF_FEATURE in self.features

    @property
    def half_storage(self) -> bool:
        """Whether vectors of float16 are converted to float32 and back."""
        return self.architecture == "arm64" or not HALF_CONVERSIONS.isdisjoint(self.features)

    @property
    def byte_products(self) -> str:
        """How products of bytes are added up in int32: by which instruction.

        "sdot" and "vpdpbusd" add four products, of signed bytes, or of unsigned by signed ones;
        "pmaddwd" two products of int16; "" is a multiply-add for each.
        """
        if self.architecture == "arm64" and "asimddp" in self.features:
            return "sdot"
        vnni = {16: "avx512_vnni", 8: "avx_vnni"}.get(self.lanes)
        if self.architecture == "x86_64":
            return "vpdpbusd" if vnni in self.features else "pmaddwd"
        return ""

    @property
    def byte_dtype(self) -> str:
        """The bytes that products want as their left operand, or "" where it does not matter."""
        wanted = {"sdot": "int8", "vpdpbusd": "uint8", "pmaddwd": "uint8"}
        return wanted.get(self.byte_products, "")

    def computing(self, dtype: str) -> Target:
        """The target as kernels of a dtype see it: float16 has twice the lanes, if there is any."""
        if dtype != "float16" or not self.half_arithmetic:
            return self
        return dataclasses.replace(self, lanes=2 * self.lanes, element_bytes=2)

    @property
    def vector_bytes(self) -> int:
        return self.lanes * self.element_bytes

    @property
    def machine(self) -> str:
        """The architecture, as ``platform.machine`` calls it."""
        return self.triple.split("-")[0]

    @property
    def tvm(self) -> dict[str, Any]:
        """The target as TVM's LLVM back end takes it."""
        return {
            "kind": "llvm",
            "mtriple": self.triple,
            "mcpu": self.cpu,
            "mattr": list(self.attributes),
            "opt-level": 3,
            # TVM knows those of other architectures, and warns of a guess
            "vector-width": 32 * self.lanes,
            **(dict([self.abi]) if self.abi else {}),
        }

    @property
    def fingerprint(self) -> str:
        """What decides a kernel's speed, as text: tuning records serve equal fingerprints only."""
        caches = f"l1={self.l1_bytes >> 10}K,l2={self.l2_bytes >> 10}K"
        core = ",".join([self.cpu, *self.attributes, f"lanes={self.lanes}", caches])
        return f"{self.family}:{core}"

    @property
    def family(self) -> str:
        """The architecture: what is learned on one of a family helps on another."""
        return self.triple.partition("-")[0]

    @property
    def key(self) -> str:
        """Text that differs between targets whose kernels differ."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return self.name
